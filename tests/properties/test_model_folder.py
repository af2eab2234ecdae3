"""A model folder: nothing of it is trusted, a stopped fit goes on to the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crystalssl import pipeline
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.pipeline import Progress
from crystalssl.pipeline.progress import Silent
from crystalssl.properties import cross_validation
from crystalssl.properties.property_model import PropertyModel, copy_encoders, extractor_config
from crystalssl.structures.table import write_table
from small_properties import TARGET, labelled, write_labels


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


def test_files_are_of_formats_that_run_nothing(model: Path) -> None:
    endings = {path.suffix for path in model.iterdir() if path.is_file()}
    assert endings <= {".json", ".safetensors", ".txt", ".parquet", ".csv", ".lock", ""}


@pytest.mark.parametrize("name", ["model.safetensors", "out_of_fold.parquet"])
def test_a_changed_or_missing_file_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        PropertyModel.load(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=name):
        PropertyModel.load(copy)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format", 99, "newer"), ("kind", "encoder", "no property model"),
        ("weights", {"name": "tiny"}, "encoders"), ("candidates", "none", "candidates"),
        ("files", {}, "names no model"),
    ],
)  # fmt: skip
def test_a_card_that_says_something_else_is_refused(
    copy: Path, field: str, value: object, said: str
) -> None:
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    card[field] = value
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        PropertyModel.load(copy)


def test_other_encoders_than_those_it_was_fitted_with_are_refused(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    card["weights"]["sha256"][0] = "0" * 64
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="other weights"):
        PropertyModel.load(copy)


class Stop(Silent):
    """Stops the fit as Ctrl-C would, once so many steps of it were told of."""

    def __init__(self, after: int) -> None:
        self.left, self.lock = after, threading.Lock()

    def step(self, title: str, bars: object = ()) -> object:
        from contextlib import nullcontext

        def advance(done: int, total: int, text: str = "") -> None:
            with self.lock:
                self.left -= title == "Fitting"
                if self.left < 0:
                    raise KeyboardInterrupt

        return nullcontext(advance)


def test_a_stopped_fit_goes_on_to_the_same_bytes(
    model: Path, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stopped"
    stop: Progress = Stop(40)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        pipeline.fit(
            [structures], folder, target=TARGET, weights="tiny", repeats=1, threads=1, progress=stop
        )
    assert not (folder / "card.json").exists()
    assert len(list((folder / ".cache").glob("property-*.npz"))) >= 40
    fitted = []
    fit = cross_validation._fit_and_predict
    monkeypatch.setattr(
        cross_validation, "_fit_and_predict", lambda *a: (fitted.append(1), fit(*a))[1]
    )
    pipeline.fit([structures], folder, target=TARGET, weights="tiny", repeats=1, threads=1)
    card = PropertyModel.load(folder).card
    fits = (15 + card.plan["clusters"]) * len(card.candidates)
    assert len(fitted) <= fits - 40, "what was fitted before is not fitted again"
    assert digests(folder) == digests(model)


def test_labels_of_a_table_give_the_model_that_labels_of_structures_give(
    model: Path, tmp_path: Path
) -> None:
    crystals = labelled(60)
    rows = [
        (str(n), repr(float(v))) for n, v in zip(crystals.ids, crystals.column(TARGET), strict=True)
    ]
    rows += [("stranger", "1.0")]
    table = write_labels(tmp_path / "labels.csv", ["id", TARGET], rows[::-1])
    bare = write_table(crystals.with_columns(None), tmp_path / "bare.parquet")
    folder = tmp_path / "model"
    pipeline.fit([bare], folder, target=TARGET, labels=table, weights="tiny", repeats=1, threads=1)
    assert digests(folder)["model.safetensors"] == digests(model)["model.safetensors"]
    assert "stranger,label,no structure of this id,1.0" in (folder / "unmatched.csv").read_text()


def test_too_few_labels_are_an_error_that_says_where_the_others_are(tmp_path: Path) -> None:
    crystals = labelled(30)
    values = np.where(np.arange(30) < 9, crystals.column(TARGET), np.nan)
    path = write_table(
        crystals.with_columns(pa.table({"y": values})), tmp_path / "structures.parquet"
    )
    with pytest.raises(InputError, match=r"known for 9 of 30.*unmatched\.csv"):
        pipeline.fit([path], tmp_path / "model", target="y", weights="tiny")
    assert (tmp_path / "model" / "unmatched.csv").read_text().count("\n") == 22


def test_streamed_predictions_are_those_of_memory(
    model: Path, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crystalssl.pipeline import predictions

    whole = pipeline.predict(model, [structures], threads=1)
    monkeypatch.setattr(predictions, "STREAMED", 10)
    pipeline.predict(model, [structures], tmp_path / "streamed.parquet", threads=1)
    assert pq.read_table(tmp_path / "streamed.parquet").equals(whole)


def test_encoders_of_a_run_go_with_the_model(
    structures: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    copy_encoders("tiny", run)
    folder = tmp_path / "model"
    pipeline.fit([structures], folder, target=TARGET, weights=run, repeats=1, threads=1)
    shutil.rmtree(run)
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    table, expected = (pipeline.predict(f, [structures], threads=1) for f in (moved, model))
    np.testing.assert_allclose(table[TARGET].to_numpy(), expected[TARGET].to_numpy(), rtol=1e-9)


def test_the_level_of_intervals_can_be_chosen(model: Path, structures: Path) -> None:
    narrow, wide = (
        pipeline.predict(model, [structures], level=level, threads=1) for level in (0.6, 0.9)
    )
    widths = [
        np.subtract(t[f"{TARGET}_upper"].to_numpy(), t[f"{TARGET}_lower"].to_numpy())
        for t in (narrow, wide)
    ]
    assert (widths[0] < widths[1]).all()


def test_contributions_add_up_to_the_prediction(model: Path, structures: Path) -> None:
    loaded = PropertyModel.load(model)
    some = labelled(60).take(np.arange(3))
    table = pipeline.explain(loaded, some, threads=1).to_pandas()
    predicted = pipeline.predict(loaded, some, threads=1)
    for name, value in zip(
        predicted["immutable_id"].to_pylist(), predicted[TARGET].to_pylist(), strict=True
    ):
        rows = table[table["immutable_id"] == name]
        for kind, base in (
            ("view", "views"),
            ("site", "elements and sites"),
            ("element", "elements and sites"),
        ):
            start = rows[(rows["kind"] == "base") & (rows["name"] == base)]["contribution"].sum()
            total = start + rows[rows["kind"] == kind]["contribution"].sum()
            assert total == pytest.approx(value, abs=2e-4), (kind, name)


def test_predictions_take_the_electrons_from_where_the_fit_took_them(model: Path) -> None:
    card = PropertyModel.load(model).card
    assert card.weights["electrons_from"] == "taught"
    older = {key: value for key, value in card.weights.items() if key != "electrons_from"}
    ways = [{"electrons_from": "exact"}, {"electrons_from": "taught"}, {}]
    cards = [replace(card, weights={**older, **way}) for way in ways]
    configs = [extractor_config(card, model, None) for card in cards]
    assert [config.electronic for config in configs] == ["exact", "taught", "taught"]


def test_an_unknown_way_to_the_electrons_is_refused(structures: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="exact"):
        pipeline.fit(
            [structures], tmp_path / "model", target=TARGET, weights="tiny", electronic="exactly"
        )


def test_a_model_on_computed_electrons_computes_them_for_new_crystals(
    structures: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "exact"
    exact = pipeline.fit(
        [structures], folder, target=TARGET, weights="tiny", electronic="exact", repeats=1,
        threads=1,
    )  # fmt: skip
    named = next(section for section in exact.stacked.sections if section.name == "physics")
    assert "gap_tight_binding_eV" in named.columns
    assert exact.describer().electrons
    assert not PropertyModel.load(model).describer().electrons
    one = labelled(60).take(np.array([3]))
    [lower, value, upper] = (
        exact.predict(one)[f"{TARGET}{end}"].to_pylist()[0] for end in ("_lower", "", "_upper")
    )
    assert lower < value < upper
