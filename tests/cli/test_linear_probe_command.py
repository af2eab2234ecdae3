"""``evaluate linear-probe``: from features files to tables, differences and words on overlap."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.evaluation.results import Results, select
from crystalssl.evaluation.splits import RepeatedSplits
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import save_features
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import save_weights
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.table import write_table

Invoke = Callable[..., Any]
TARGET = "formation_energy_per_atom"


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    """Sixty small crystals with their formation energies."""
    found = load_bundled()
    small = np.flatnonzero(np.isfinite(found.column(TARGET)) & (found.site_counts <= 6))[:60]
    return found.take(small).with_columns(found.take(small).columns.select([TARGET]))


@pytest.fixture
def table(crystals: Crystals, tmp_path: Path) -> Path:
    return write_table(crystals, tmp_path / "structures.parquet")


@pytest.fixture
def features(crystals: Crystals, registered_toy: Any, tmp_path: Path) -> Path:
    """Features that hold the answer, from weights that saw the first twenty crystals."""
    block = registered_toy(registered_toy.Config())
    seen = Seen.from_crystals(crystals.take(np.arange(20)))
    card = save_weights(block, tmp_path / "run" / "toy", seen=seen)
    answer = crystals.column(TARGET)
    noise = np.random.default_rng(0).normal(size=(len(crystals), 3))
    made = Features(
        ids=crystals.ids,
        blocks={"toy": np.column_stack([answer, noise]).astype(np.float32)},
        origins=(Origin(weights=str(tmp_path / "run"), sha256={"toy": card.sha256}),),
    )
    return save_features(made, tmp_path / "features.parquet")


def counted(crystals: Crystals) -> tuple[int, int]:
    """Crystals tested in any of the nested splits of one seed, and those the weights saw."""
    formulas = reduced_formulas(crystals)
    splits = RepeatedSplits(repeats=1).splits(np.arange(len(crystals)), formulas)
    tested = np.unique(np.concatenate([split.test for split in splits]))
    return len(tested), int((tested < 20).sum())


def words(features: Path, table: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        "evaluate", "linear-probe", features, "-s", table, "-t", TARGET, "--out", out,
        "--no-untrained", *more,
    )  # fmt: skip


def test_all_comparisons_are_made_stored_and_shown_and_a_second_run_reuses_them(
    crystals: Crystals, features: Path, table: Path, tmp_path: Path, invoke: Invoke
) -> None:
    out = tmp_path / "out"
    first = invoke(*words(features, table, out, "--also", f"again={features}"))
    assert first.exit_code == 0, first.output
    probe = Results.load(out, "linear_probe")
    rows = select(probe.rows, feature_set="again", head="ridge", metric="rmse")
    assert {(r.split, r.train_fraction) for r in rows} == {
        (kind, fraction) for kind in ("random", "grouped") for fraction in (0.9, 0.8, 0.7, 0.6)
    }
    assert {d.feature_set for d in probe.differences} == {"ssl", "again"}
    assert "Pre-trained encoders, ridge: comparisons of RMSE" in first.output
    assert "RMSE, 90 %" in first.output
    tested, seen = counted(crystals)
    assert f"Of {tested} test crystals, {seen} were in the pre-training" in first.output
    assert probe.record.counts["tested structures seen"] == seen
    before = (out / "linear_probe.parquet").read_bytes()
    again = invoke(*words(features, table, out, "--also", f"again={features}"))
    assert re.search(r"(\d+) of \1 fits from before", again.output)
    assert (out / "linear_probe.parquet").read_bytes() == before


def test_held_out_folds_come_first_where_there_is_a_split_column(
    crystals: Crystals, features: Path, tmp_path: Path, invoke: Invoke
) -> None:
    parts = pa.array(["train"] * 30 + ["test"] * 30)
    marked = crystals.with_columns(crystals.columns.append_column("split", parts))
    table = write_table(marked, tmp_path / "split.parquet")
    both = invoke(*words(features, table, tmp_path / "both"))
    assert both.exit_code == 0, both.output
    kinds = [row.split for row in Results.load(tmp_path / "both", "linear_probe").rows]
    assert list(dict.fromkeys(kinds)) == ["held-out", "random", "grouped"]
    only = invoke(*words(features, table, tmp_path / "one", "--protocol", "held-out"))
    assert only.exit_code == 0, only.output
    kinds = [row.split for row in Results.load(tmp_path / "one", "linear_probe").rows]
    assert set(kinds) == {"held-out"}


def test_seen_crystals_are_dropped_on_demand(
    crystals: Crystals, features: Path, table: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke(*words(features, table, tmp_path / "out", "--drop-seen", "structures"))
    assert result.exit_code == 0, result.output
    counts = Results.load(tmp_path / "out", "linear_probe").record.counts
    tested, seen = counted(crystals)
    assert counts["tested structures seen"] == 0 and counts["tested"] == tested - seen


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--protocol", "held-out"), "need a column 'split'"),
        (("--protocol", "heldout"), "Did you mean 'held-out'"),
        (("--also", "nothing"), "expected NAME=FILE"),
        (("--also", "ssl=x.parquet"), "is in use"),
        (("--drop-seen", "all"), "choice of --drop-seen"),
    ],
)
def test_choices_that_cannot_be_met_are_one_message(
    features: Path, table: Path, tmp_path: Path, invoke: Invoke, more: tuple[str, ...], message: str
) -> None:
    result = invoke(*words(features, table, tmp_path / "out", *more))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_features_without_origin_are_unknown_unless_their_weights_are_named(
    crystals: Crystals, features: Path, table: Path, tmp_path: Path, invoke: Invoke
) -> None:
    bare = tmp_path / "bare.npy"
    np.save(bare, np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    (tmp_path / "bare_ids.txt").write_text("\n".join(crystals.ids.tolist()))
    short = ("--protocol", "repeated")
    unknown = invoke(*words(bare, table, tmp_path / "a", *short))
    assert unknown.exit_code == 0, unknown.output
    assert "is unknown: the features do not say" in " ".join(unknown.output.split())
    named = invoke(*words(bare, table, tmp_path / "b", *short, "--weights", tmp_path / "run"))
    _, seen = counted(crystals)
    assert f"{seen} were in the pre-training" in " ".join(named.output.split())


def test_what_is_skipped_in_two_steps_is_listed_once_and_whole(
    crystals: Crystals, table: Path, tmp_path: Path, invoke: Invoke, skipped: Any
) -> None:
    broken = tmp_path / "broken.cif"
    broken.write_text("data_nothing\n")
    made = Features(ids=crystals.ids, blocks={"x": np.ones((60, 2), np.float32)})
    made.blocks["x"][:, 0] = np.arange(60)
    features = save_features(made, tmp_path / "x.parquet")
    out = tmp_path / "out"
    result = invoke(
        "evaluate", "linear-probe", features, "-s", table, "-s", broken, "-t", TARGET,
        "--out", out, "--protocol", "repeated",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(skipped(out)) == 1 and skipped(out)[0]["file"].endswith("broken.cif")
    assert result.output.count("Skipped 1 of 61 structures") == 1
    assert (out / ".cache" / "untrained_features.parquet").is_file()


def test_an_empty_folder_has_no_data_to_describe(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke("info", "data", tmp_path / "empty")
    assert result.exit_code == 2 and "Columns" not in result.output
