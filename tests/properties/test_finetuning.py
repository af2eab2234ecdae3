"""Encoders that are trained on with labels: what they learn, how they join, what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl import CrystalRegressor, pipeline
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.cache import Cache
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.hub.weights import load_cards, load_run
from crystalssl.properties import blending, finetuning, finetuning_plan, finetuning_steps
from crystalssl.properties.blending import Tuned, blend, held_folds, trainings
from crystalssl.properties.candidates import shrunk
from crystalssl.properties.cross_validation import Experiment, usual_plan
from crystalssl.properties.describing import Describer, take
from crystalssl.properties.explanation import explain_crystals
from crystalssl.properties.finetuning import Tuning, tunable_blocks
from crystalssl.properties.finetuning_plan import plan_finetuning
from crystalssl.properties.finetuning_steps import Finetuning, layer_rates
from crystalssl.properties.fitting import Fit, fit_property
from crystalssl.properties.folder import Described, write_model
from crystalssl.properties.inputs import ALSO, MIXED, Descriptors, Section, frozen_columns
from crystalssl.properties.labels import Labels
from crystalssl.properties.property_model import PropertyModel
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from small_properties import TARGET, labelled

SETTINGS = Finetuning(hidden=(16,), batch_size=8, epochs=2, steps=12)


@dataclass
class World:
    """A small fit with encoders trained on."""

    canonical: CanonicalResult
    experiment: Experiment
    tuning: Tuning
    fit: Fit
    tuned: Tuned


def silent(done: int, text: str) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    crystals = labelled(60)
    canonical = canonicalize(crystals)
    config = ExtractorConfig.of("tiny")
    none = Descriptors.none(len(canonical.crystals))
    inputs, _ = Describer(extractor=config.extractor()).describe(canonical, none)
    experiment = Experiment(
        inputs=inputs, labels=crystals.column(TARGET)[canonical.kept][:, None],
        groups=inputs.formulas, cache=Cache(tmp_path_factory.mktemp("cache")), seed=0,
    )  # fmt: skip
    plan = shrunk(usual_plan(experiment), experiment.groups, 3, 1, ["ridge"])
    tuning = Tuning(
        experiment=experiment, corpus=Corpus.from_crystals(canonical, targets=False),
        blocks=tunable_blocks(config.encoders()), origin=tuple(config.checksums()),
        settings=SETTINGS,
    )  # fmt: skip
    fit, tuned = blend(experiment, fit_property(experiment, plan, silent), tuning, silent)
    return World(canonical, experiment, tuning, fit, tuned)


def written(world: World, folder: Path) -> PropertyModel:
    """The fit as a folder, with encoders in it whatever they bring."""
    encoders = world.tuning.fit(np.arange(len(world.experiment.labels)), silent)
    stack = world.fit.stack
    weights = np.append(stack.weights[: len(world.fit.plan.candidates)], 0.5)
    fit = Fit(**{f: getattr(world.fit, f) for f in Fit.__slots__} | {"stack": type(stack)(
        weights=weights, centre=stack.centre, low=stack.low, high=stack.high
    )})  # fmt: skip
    tuned = Tuned(**{f: getattr(world.tuned, f) for f in Tuned.__slots__} | {"encoders": encoders})
    labels = Labels(
        target=TARGET, column=TARGET, unit="eV/atom", values=np.zeros(0), texts=[],
        groups=np.zeros(0, np.str_),
    )  # fmt: skip
    weights_card = {
        "name": "tiny", "copied": False, "blocks": list(ExtractorConfig.of("tiny").blocks),
        "output": "auto", "symprec": 0.01, "sha256": ExtractorConfig.of("tiny").checksums(),
    }  # fmt: skip
    described = Described(
        labels=labels, structures=60, key="", weights=weights_card,
        descriptors={"columns": [], "id_column": None}, scores={}, tuned=tuned,
    )  # fmt: skip
    write_model(folder, fit, world.experiment, described)
    return PropertyModel.load(folder)


def test_encoders_that_learn_elements_are_trained_and_pretrained_ones_stay(world: World) -> None:
    assert set(world.tuning.blocks) < set(load_run("tiny"))
    encoders = world.tuning.fit(np.arange(40), silent)
    for name, block in world.tuning.blocks.items():
        before, after = block.state_dict(), encoders.network.encoders()[name].state_dict()
        assert any(not np.array_equal(before[key], after[key]) for key in before)
        original = load_run("tiny")[name].state_dict()
        assert all(np.array_equal(before[key], original[key]) for key in before)


def test_training_again_reads_the_cache_and_gives_the_same_numbers(world: World) -> None:
    rows = np.arange(40)
    first = world.tuning.fit(rows, silent)
    entries = len(list(world.experiment.cache.folder.iterdir()))  # type: ignore[union-attr]
    again = world.tuning.fit(rows, silent)
    assert len(list(world.experiment.cache.folder.iterdir())) == entries  # type: ignore[union-attr]
    for key, values in first.arrays().items():
        np.testing.assert_array_equal(values, again.arrays()[key])


@pytest.mark.parametrize("stopped_in", [1, 3])
def test_a_stopped_training_goes_on_to_the_same_weights(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int
) -> None:
    rows, settings = np.arange(40), replace(SETTINGS, epochs=4)
    whole = replace(world.tuning, settings=settings).fit(rows, silent)
    monkeypatch.setattr(finetuning, "KEPT_EVERY", 0.0)
    fresh = replace(world.experiment, cache=Cache(tmp_path))
    tuning = replace(world.tuning, experiment=fresh, settings=settings)
    epochs: list[str] = []

    def stop(done: int, text: str) -> None:
        epochs.append(text)
        if text.startswith(f"encoders, epoch {stopped_in + 1} "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuning.fit(rows, stop)
    told: list[tuple[int, str]] = []
    again = tuning.fit(rows, lambda done, text: told.append((done, text)))
    assert told[0] == (stopped_in, "encoders, from before")
    assert sum(done for done, _ in told) == settings.epochs_for(len(rows))
    for key, values in whole.arrays().items():
        np.testing.assert_array_equal(values, again.arrays()[key])
    for name, block in whole.network.encoders().items():
        other = again.network.encoders()[name].state_dict()
        assert all(bool((value == other[key]).all()) for key, value in block.state_dict().items())


def test_shallow_layers_learn_more_slowly_and_no_parameter_is_left_out(world: World) -> None:
    for block in world.tuning.blocks.values():
        groups = layer_rates(block, SETTINGS)
        rates = [group["lr"] for group in groups]
        assert rates == sorted(rates)
        assert rates[-1] == SETTINGS.encoder_rate
        assert rates[0] < 0.95 * SETTINGS.encoder_rate
        counted = sum(len(group["params"]) for group in groups)  # type: ignore[arg-type]
        assert counted == len(list(block.parameters()))


def test_the_held_out_fold_is_never_trained_on(world: World) -> None:
    """Labels of the fold may be anything: the encoders that predict it are the same."""
    run = world.fit.out_of_fold[0]
    rows = np.flatnonzero(run.folds != 0)
    other = world.experiment.labels.copy()
    other[run.folds == 0] = 1e3
    changed = Experiment(
        **{f: getattr(world.experiment, f) for f in Experiment.__slots__} | {"labels": other}
    )
    tuning = Tuning(
        **{f: getattr(world.tuning, f) for f in Tuning.__slots__} | {"experiment": changed}
    )
    ours, theirs = world.tuning.fit(rows, silent), tuning.fit(rows, silent)
    np.testing.assert_array_equal(ours.arrays()["0.weight"], theirs.arrays()["0.weight"])


def test_few_labels_are_all_held_out_and_many_in_one_fold(world: World) -> None:
    """Weights of the stack need predictions of crystals that were not trained on."""
    assert world.tuned.rows == len(world.experiment.labels)
    few, many = np.arange(60) % 3, np.arange(40_000) % 4
    assert (held_folds(few), held_folds(many)) == (3, 1)
    assert held_folds(np.arange(2_000) % 5) == 3
    assert trainings(world.fit) == 4


def test_encoders_that_make_held_out_errors_larger_are_left_out(world: World) -> None:
    assert world.tuned.metrics["mae"] > world.tuned.without["mae"]  # two epochs teach little
    assert world.tuned.encoders is None
    assert len(world.fit.stack.weights) == len(world.fit.plan.candidates)


def test_the_network_reads_own_columns_and_no_other_frozen_ones(world: World) -> None:
    inputs = world.experiment.inputs
    assert not len(world.tuning.fit(np.arange(40), silent).scaler.columns)
    own = np.random.default_rng(0).normal(size=(len(inputs), 2)).astype(np.float32)
    first = inputs.columns([MIXED])[0].start
    at = [s.kind for s in inputs.sections].index(MIXED)
    sections = list(inputs.sections)
    sections.insert(at, Section(name="also", kind=ALSO, columns=("t", "p")))
    wider = replace(
        inputs, sections=tuple(sections), matrix=np.insert(inputs.matrix, [first, first], own, 1)
    )
    tuning = replace(world.tuning, experiment=replace(world.experiment, inputs=wider))
    encoders = tuning.fit(np.arange(40), silent)
    frozen = wider.matrix[:, frozen_columns(wider)]
    np.testing.assert_array_equal(frozen[:, encoders.scaler.columns], own)
    moved = frozen.copy()
    moved[:, encoders.scaler.columns] += 1.0
    before = encoders.predict(world.tuning.corpus, frozen)
    assert (before != encoders.predict(world.tuning.corpus, moved)).any()


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(40)
    whole = world.tuning.fit(rows, silent).arrays()["1.weight"]
    monkeypatch.setattr(finetuning_steps, "SITES", 20)
    uncached = replace(world.tuning, experiment=replace(world.experiment, cache=Cache(None)))
    parts = uncached.fit(rows, silent).arrays()["1.weight"]
    np.testing.assert_allclose(parts, whole, atol=2e-4)


def test_a_budget_takes_epochs_away_and_then_the_training(world: World) -> None:
    tuning = replace(world.tuning, settings=replace(SETTINGS, epochs=20))
    count = len(world.experiment.labels)
    shorter = tuning.shortened(0.5)
    assert shorter is not None
    assert shorter.settings.epochs_for(count) == 10
    assert tuning.shortened(0.3) is None


def test_a_folder_with_tuned_encoders_predicts_and_says_whose_labels_they_saw(
    world: World, tmp_path: Path
) -> None:
    model = written(world, tmp_path / "model")
    table = model.predict(world.canonical.crystals.take(np.arange(9)))
    assert len(table) == 9
    assert np.isfinite(table[TARGET].to_numpy()).all()
    folder = tmp_path / "model" / "finetuned"
    assert {card.labels for card in load_cards(folder).values()} == {TARGET}
    assert model.card.finetuned["labels"] == TARGET
    notes: list[str] = []
    pipeline.extract(
        world.canonical.crystals.take(np.arange(2)), weights=folder, progress=Noting(notes)
    )
    assert any(f"trained on labels of {TARGET}" in note for note in notes)
    content = bytearray((folder / "head.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "head.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="finetuned"):
        PropertyModel.load(tmp_path / "model")


def test_the_encoder_is_a_view_of_its_own_in_explanations(world: World, tmp_path: Path) -> None:
    model = written(world, tmp_path / "model")
    few = take(world.canonical, np.arange(4))
    table = explain_crystals(model, few, by_site=False).to_pandas()
    table = table[table["immutable_id"].notna()]
    predicted = model.predict(few.crystals)[TARGET].to_numpy()
    sums = table.groupby("immutable_id", sort=False)["contribution"].sum()
    np.testing.assert_allclose(sums.to_numpy(), predicted, atol=1e-4)
    bases = table[table["kind"] == "base"]["contribution"]
    assert bases.nunique() == 1  # the same for all: nothing of the crystal is left in it
    assert (table[table["name"] == "finetuned"]["contribution"] != 0).all()


class Noting(pipeline.progress.Silent):
    """Keeps what is said."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def note(self, text: str, *, warning: bool = False) -> None:
        self.notes.append(text)


def test_an_estimator_trains_encoders_on_and_predicts_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetuning_plan, "Finetuning", lambda: SETTINGS)
    monkeypatch.setattr(blending, "_helps", lambda tuned: True)
    crystals = labelled(60)
    settings: dict[str, Any] = {"folds": 3, "repeats": 1, "candidates": ["ridge"], "n_jobs": 1}
    model = CrystalRegressor("tiny", finetune="always", **settings)
    model.fit(crystals, crystals.column(TARGET))
    assert model.tuned_ is not None
    assert model.tuned_.rows == len(model.rows_)
    assert model.model_.tuned is not None
    assert np.isfinite(model.predict(crystals.take(np.arange(5)))).all()
    without = CrystalRegressor("tiny", finetune="auto", **settings)
    assert without.fit(crystals, crystals.column(TARGET)).tuned_ is None  # so few labels
    with pytest.raises(UnknownNameError, match="always"):
        CrystalRegressor("tiny", finetune="alway").fit(crystals, crystals.column(TARGET))


def test_a_plan_says_why_nothing_is_trained(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config, lone = ExtractorConfig.of("tiny"), ExtractorConfig.of("tiny", "lattice")
    given = world.experiment, world.fit, world.canonical
    assert plan_finetuning(*given, config, "never") == (None, [])
    assert plan_finetuning(*given, config, "auto") == (None, [])
    assert "learns elements" in plan_finetuning(*given, lone, "always")[1][0]
    monkeypatch.setattr(finetuning_plan, "LEAST_LABELS", 10)
    monkeypatch.setattr(finetuning_plan, "Finetuning", lambda: replace(SETTINGS, epochs=40))
    whole, notes = plan_finetuning(*given, config, "auto", 1e6)
    assert whole is not None
    assert not notes
    minutes = 4 * whole.seconds(np.arange(len(world.experiment.labels))) / 60.0
    shorter, notes = plan_finetuning(*given, config, "auto", 0.5 * minutes)
    assert shorter is not None
    assert shorter.settings.epochs in (19, 20)
    assert "instead of 40" in notes[0]
    none, notes = plan_finetuning(*given, config, "auto", 1e-3 * minutes)
    assert none is None
    assert "minutes are needed" in notes[0]


def test_an_unknown_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="always"):
        pipeline.fit([tmp_path], tmp_path / "m", target="y", finetune="alway")
