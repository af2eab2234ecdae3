"""Encoders that are trained on with labels: what they learn, how they join, what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from crystalssl import pipeline
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.cache import Cache
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.hub.weights import load_cards, load_run
from crystalssl.properties.blending import Tuned, blend
from crystalssl.properties.candidates import shrunk
from crystalssl.properties.cross_validation import Experiment, usual_plan
from crystalssl.properties.describing import Describer
from crystalssl.properties.finetuning import Finetuning, Tuning, layer_rates, tunable_blocks
from crystalssl.properties.fitting import Fit, fit_property
from crystalssl.properties.folder import Described, write_model
from crystalssl.properties.inputs import Descriptors
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


def test_shallow_layers_learn_more_slowly_and_no_parameter_is_left_out(world: World) -> None:
    for block in world.tuning.blocks.values():
        groups = layer_rates(block, SETTINGS)
        rates = [group["lr"] for group in groups]
        assert rates == sorted(rates)
        assert rates[-1] == SETTINGS.encoder_rate
        assert rates[0] < 0.8 * SETTINGS.encoder_rate
        counted = sum(len(group["params"]) for group in groups)  # type: ignore[arg-type]
        assert counted == len(list(block.parameters()))


def test_the_held_out_fold_is_never_trained_on(world: World) -> None:
    """Labels of the fold may be anything: the encoders that predict it are the same."""
    run = world.fit.out_of_fold[0]
    rows = np.flatnonzero(run.folds != 0)
    assert world.tuned.rows == (run.folds == 0).sum()
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


class Noting(pipeline.progress.Silent):
    """Keeps what is said."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def note(self, text: str, *, warning: bool = False) -> None:
        self.notes.append(text)


def test_an_unknown_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="always"):
        pipeline.fit([tmp_path], tmp_path / "m", target="y", finetune="alway")
