"""A model folder and structures -> a table of predictions, in memory or streamed.

:class:`PropertyModel` is what people load. Crystals are described and predicted in batches of fixed
length, so one worker, many, or everything in memory give the same numbers. Top of this package;
pipeline/properties.py puts files and progress around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crystalssl.errors import InputError, Skip
from crystalssl.features.block_choice import CONFIG, ELECTRONS_FROM, electrons_of
from crystalssl.features.bottleneck import (
    find_bottlenecks,
    load_bottleneck,
    load_card,
    save_bottleneck,
)
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import ID
from crystalssl.features.physics import TAUGHT
from crystalssl.features.stream import PIECE, Piece, count_rows, in_order, pieces
from crystalssl.features.student import (
    STUDENT,
    find_student,
    load_student,
    load_student_card,
    save_student,
)
from crystalssl.files import write_json
from crystalssl.hub.weights import export_run, find_run
from crystalssl.processes import obey_parent, worker_pool
from crystalssl.properties.calibration import probabilities
from crystalssl.properties.card import PropertyCard
from crystalssl.properties.describing import Describer, take
from crystalssl.properties.descriptors import DescriptorPlan, describe_crystals
from crystalssl.properties.inputs import ABSENT, COMPUTED, IDLE, PHYSICS, Inputs
from crystalssl.properties.intervals import LEVEL
from crystalssl.properties.model import Predictions, StackedModel, load_model
from crystalssl.properties.physics import physics_names
from crystalssl.properties.tables import Table
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.table import from_arrow

ENCODERS = "encoders"
"""Folder in a model with encoders that are not bundled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyModel:
    """A fitted property model.

    Attributes:
        card: what it is and how good.
        stacked: what predicts.
        config: what turns structures into features.
        descriptors: how the user's own columns are read.
        folder: where it lies.
    """

    card: PropertyCard
    stacked: StackedModel
    config: ExtractorConfig
    descriptors: DescriptorPlan
    folder: Path

    @staticmethod
    def load(folder: str | Path, device: str | None = None) -> PropertyModel:
        """Load a model; nothing in it is run or unpickled, and every file is checked.

        Args:
            folder: what ``crystalssl fit`` wrote.
            device: where encoders run; a CUDA GPU if there is one by default.

        Raises:
            InputError: if a file is missing or changed, or the encoders are other ones.
        """
        folder = Path(folder)
        card = PropertyCard.load(folder)
        config = extractor_config(card, folder, device)
        return PropertyModel(
            card=card,
            stacked=load_model(folder, card),
            config=config,
            descriptors=DescriptorPlan.of_json(card.descriptors),
            folder=folder,
        )

    def describer(self) -> Describer:
        """What turns structures into the columns that the model reads, and computes no others."""
        kinds = {section.kind for section in self.stacked.sections}
        read = {kind for kinds, _ in self.stacked.models for kind in kinds}
        physics = ABSENT if PHYSICS not in kinds else COMPUTED if PHYSICS in read else IDLE
        tuned = self.stacked.tuned
        if tuned is not None and physics == IDLE:
            physics = COMPUTED
        columns = next((s.columns for s in self.stacked.sections if s.kind == PHYSICS), ())
        return Describer(
            extractor=self.config.extractor(), physics=physics,
            electrons=len(columns) > len(physics_names()), tuned=tuned,
        )  # fmt: skip

    def predict(
        self, structures: Any, *, also: Table | None = None, level: float = LEVEL
    ) -> pa.Table:
        """Predictions of structures in memory.

        Args:
            structures: paths, ``Crystals``, or objects of pymatgen or ASE.
            also: the user's own columns with ids, if the model reads some that structures lack.
            level: share of crystals that intervals are to hold.

        Returns:
            One row for each structure that can be used, in input order; see :func:`table_of`.

        Raises:
            InputError: if structures cannot be read.
        """
        from crystalssl.datasets.load import read_any

        canonical = canonicalize(read_any(structures).crystals, symprec=self.config.symprec)
        tables = [
            table_of(self.card, batch) for batch, _ in predict_batches(self, canonical, also, level)
        ]
        return pa.concat_tables(tables)


def extractor_config(card: PropertyCard, folder: Path, device: str | None) -> ExtractorConfig:
    """What turns structures into features, checked against the card.

    Raises:
        InputError: if the weights are others than those that the model was fitted with.
    """
    named = card.weights
    try:
        weights = str(folder / ENCODERS) if named["copied"] else str(named["name"])
        blocks = tuple(str(name) for name in named["blocks"])
        config = ExtractorConfig(
            weights=weights, blocks=blocks, symprec=float(named["symprec"]), device=device,
            output=str(named["output"]), electronic=str(named.get("electrons_from", TAUGHT)),
        )  # fmt: skip
        expected = [str(entry) for entry in named["sha256"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The card in {folder} does not say its encoders ({error}).") from error
    if config.checksums() != expected:
        raise InputError(
            f"The model in {folder} was fitted with other weights than {weights!r} of this "
            "installation. Use the version of crystalssl that it names, or fit again."
        )
    return config


def copy_encoders(weights: str | Path, folder: Path) -> Path:
    """Copy what features of a run are made with, so that a model can be moved without it.

    Encoders, bottlenecks, student, and where the electrons come from.

    Args:
        weights: folder of a run.
        folder: where they go.

    Raises:
        InputError: if a file of the run is damaged.
    """
    export_run(weights, folder)
    for name, source in find_bottlenecks(find_run(weights)).items():
        save_bottleneck(load_bottleneck(source), folder / name, load_card(source))
    student = find_student(weights)
    if student is not None:
        save_student(load_student(student), folder / STUDENT, load_student_card(student))
    electrons = electrons_of(weights)
    if electrons is not None:
        write_json({ELECTRONS_FROM: electrons}, folder / CONFIG)
    return folder


def predict_batches(
    model: PropertyModel, canonical: CanonicalResult, also: Table | None, level: float
) -> Iterator[tuple[Predictions, list[Skip]]]:
    """Predictions of canonical crystals, ``PIECE`` at a time; at least one batch."""
    describer = model.describer()
    count = len(canonical.crystals)
    for start in range(0, max(count, 1), PIECE):
        rows = np.arange(start, min(start + PIECE, count))
        inputs, odd = describe(model, describer, take(canonical, rows), also)
        yield model.stacked.predict(inputs, level), odd


def describe(
    model: PropertyModel, describer: Describer, canonical: CanonicalResult, also: Table | None
) -> tuple[Inputs, list[Skip]]:
    """Inputs of canonical crystals; those without finite features are skipped."""
    described = describe_crystals(model.descriptors, canonical.crystals, also)
    return describer.describe(canonical, described)


def table_of(card: PropertyCard, predictions: Predictions) -> pa.Table:
    """Predictions as a table.

    Columns: ``immutable_id``, the target, ``<target>_lower`` and ``_upper`` (regression) or a
    probability of each class, ``in_domain``, ``nearest`` (ids of labelled crystals, nearest
    first), ``distance_percentile``, ``unseen_elements`` and ``known_formula``.
    """
    columns: dict[str, Any] = {ID: pa.array(predictions.ids.tolist(), pa.string())}
    target = card.target
    if card.task == "classification":
        values = probabilities(predictions.values, least=0.0)
        best = values.argmax(axis=1)
        columns[target] = pa.array([card.classes[at] for at in best.tolist()], pa.string())
        for at, name in enumerate(card.classes):
            columns[f"{target}_probability_{name}"] = pa.array(values[:, at])
    else:
        values = predictions.values[:, 0]
        columns[target] = pa.array(values)
        columns[f"{target}_lower"] = pa.array(predictions.lower)
        columns[f"{target}_upper"] = pa.array(predictions.upper)
    placement = predictions.placement
    columns["in_domain"] = pa.array(placement.inside)
    columns["nearest"] = pa.array(placement.nearest.tolist(), pa.list_(pa.string()))
    columns["distance_percentile"] = pa.array(placement.percentile)
    columns["unseen_elements"] = pa.array(placement.unseen, pa.list_(pa.string()))
    columns["known_formula"] = pa.array(predictions.known_formula)
    return pa.table(columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """A batch of a stream.

    Attributes:
        table: predictions.
        skipped: rows that cannot be used.
        rows: rows of the batch.
    """

    table: pa.Table
    skipped: list[Skip]
    rows: int


def stream(
    model: PropertyModel, path: Path, *, workers: int, also: Table | None, level: float
) -> Iterator[tuple[Predicted, int]]:
    """Predictions of a structure table of any length, and the number of its rows.

    Args:
        model: what predicts.
        path: structure table.
        workers: processes; 1 works in this one.
        also: the user's own columns.
        level: share of crystals that intervals are to hold.

    Raises:
        InputError: if the file is no structure table.
    """
    total = count_rows(path)
    if workers <= 1:
        _load(model, also, level, threads=None)
        for piece in pieces(path):
            yield _predict_piece(piece), total
        return
    with worker_pool(workers, _load_worker, model.folder, also, level) as pool:
        for predicted in in_order(pool, _predict_piece, pieces(path), 2 * workers):
            yield predicted, total


_STATE: dict[str, Any] = {}  # of a process


def _load_worker(folder: Path, also: Table | None, level: float) -> None:
    """Make a worker process ready: one thread, model in memory."""
    import torch

    obey_parent(cores=1)
    torch.set_num_threads(1)
    _load(PropertyModel.load(folder, "cpu"), also, level, threads=1)


def _load(model: PropertyModel, also: Table | None, level: float, threads: int | None) -> None:
    _STATE.update(model=model, describer=model.describer(), also=also, level=level)


def _predict_piece(piece: Piece) -> Predicted:
    """Predictions of some rows of a table."""
    model: PropertyModel = _STATE["model"]
    read = from_arrow(piece.table, piece.source, piece.first_row)
    canonical = canonicalize(read.crystals, symprec=model.config.symprec)
    inputs, odd = describe(model, _STATE["describer"], canonical, _STATE["also"])
    late = [replace(skip, file=piece.source) for skip in (*canonical.skipped, *odd)]
    predictions = model.stacked.predict(inputs, _STATE["level"])
    return Predicted(
        table=table_of(model.card, predictions),
        skipped=[*read.skipped, *late],
        rows=len(piece.table),
    )
