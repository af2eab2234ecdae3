"""Features of a run -> what its user asked for: neighbours, property models, and the map.

The last stages of ``run``, on own or on default weights, each done once. The models are those of
``crystalssl fit``; beside each lie a learning curve and the overlap with pre-training, and their
predictions colour the map.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crystalssl.files import write_json, write_text
from crystalssl.pipeline.progress import Progress, counted

if TYPE_CHECKING:
    from crystalssl.features.features import Features
    from crystalssl.pipeline.stages import Stages
    from crystalssl.structures.crystals import Crystals

MODELS, MAP, NEIGHBOURS = "models", "map.html", "neighbours.parquet"
"""Names in the folder of a run."""
CURVE, OVERLAP, OUT_OF_FOLD = "learning_curve.parquet", "overlap.json", "out_of_fold.parquet"
"""Names in the folder of a model."""
NEAREST = 10
"""Neighbours of each crystal in the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFile:
    """Where labels are, if structures do not carry them.

    Attributes:
        path: CSV, Parquet or Excel; None where structures carry the labels.
        id_column: its column of ids or file names.
        unit: unit of the labels; None to read it from the column's name.
    """

    path: Path | None = None
    id_column: str | None = None
    unit: str | None = None

    def digest(self) -> str:
        """Digest of its content and of how it is read."""
        from crystalssl.files import sha256

        return "" if self.path is None else f"{sha256(self.path)} {self.id_column}"


def check_property(crystals: Crystals, target: str, labels: LabelFile, progress: Progress) -> None:
    """Find out before the work whether a property is known for enough crystals.

    Raises:
        InputError: if labels cannot be read or are too few.
        UnknownNameError: if there is no such column.
    """
    from crystalssl.errors import InputError
    from crystalssl.pipeline.properties import LEAST_LABELS
    from crystalssl.properties.labels import LabelSource, read_labels

    source = LabelSource(target=target, file=labels.path, id_column=labels.id_column)
    known = int(np.isfinite(read_labels(crystals, source).values).sum())
    if known < LEAST_LABELS:
        raise InputError(
            f"{target!r} is known for {known:,} of {len(crystals):,} structures; expected at least "
            f"{LEAST_LABELS} numbers. Check --target, --labels and --id."
        )
    progress.note(f"{target}: known for {known:,} of {counted(len(crystals), 'structure')}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The last stages of a run.

    Attributes:
        stages: stages of the run, in whose folder everything goes.
        table: structure table of the run.
        weights: weights that the features of the run come from, as ``fit`` takes them.
        inputs: digests of the stages that made table and features.
        electronic: where numbers of the electrons come from, as ``fit`` takes it.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of everything.
        threads: threads to use; all cores if None.
        progress: told what is done.
    """

    stages: Stages
    table: Path
    weights: str | Path
    inputs: Sequence[str]
    electronic: str
    symprec: float
    seed: int
    threads: int | None
    progress: Progress

    def all(
        self, features: Features, targets: Sequence[str], labels: LabelFile, budget: float | None
    ) -> None:
        """Neighbours, a model of every property, and the map; arguments as of :meth:`model`."""
        self.neighbours(features)
        for target in targets:
            self.model(features, target, labels, budget)
        self.map(features, targets)

    def neighbours(self, features: Features) -> None:
        """Table of the nearest crystals of each."""
        from crystalssl.maps.nearest import nearest_of
        from crystalssl.structures.table import ID

        path = self.stages.folder / NEIGHBOURS

        def work() -> list[Path]:
            from crystalssl.evaluation.tables import write_table

            with self.progress.step("Neighbours"):
                nearest = nearest_of(features, NEAREST)
            count = 0 if nearest is None else nearest.rows.shape[1]
            rows = np.zeros((0, 0), np.int64) if nearest is None else nearest.rows
            distances = np.zeros(0) if nearest is None else nearest.distances.ravel()
            columns = {
                ID: pa.array(np.repeat(features.ids, count).tolist(), pa.string()),
                "rank": pa.array(np.tile(np.arange(1, count + 1), len(rows)), pa.int32()),
                "neighbour": pa.array(features.ids[rows.ravel()].tolist(), pa.string()),
                "distance": pa.array(distances, pa.float64()),
            }
            write_table(pa.table(columns), path)
            self.progress.note(f"The {count} nearest of each crystal: {path}")
            return [path]

        self.stages.once("neighbours", {"count": NEAREST}, self.inputs, work)

    def model(
        self, features: Features, target: str, labels: LabelFile, budget: float | None
    ) -> str:
        """A property model with its learning curve and overlap.

        Args:
            features: of the run.
            target: label column, or ``log10(COLUMN)``.
            labels: where labels are.
            budget: minutes that the fit may take.

        Returns:
            Name of the stage.
        """
        from crystalssl.pipeline.properties import fit

        name = f"model-{slug(target)}"
        folder = self.stages.folder / MODELS / slug(target)

        def work() -> list[Path]:
            fit(
                self.table, folder, target=target, labels=labels.path,
                id_column=labels.id_column, unit=labels.unit, budget=budget, weights=self.weights,
                electronic=self.electronic, symprec=self.symprec, seed=self.seed,
                threads=self.threads, progress=self.progress, finetune="never",
            )  # fmt: skip
            self._curve(features, folder)
            self._overlap(features, folder)
            return [folder]

        settings = {"target": target, "budget": budget, "seed": self.seed, "unit": labels.unit}
        if self.stages.once(name, settings, [*self.inputs, labels.digest()], work):
            self.progress.note(f"Property model, as before: {folder}")
        return name

    def _curve(self, features: Features, folder: Path) -> None:
        """Error of ridge by number of labels."""
        from crystalssl.evaluation.learning_curve import learning_curve
        from crystalssl.evaluation.tables import write_table

        known = _first_repeat(folder)
        if known.schema.field("true").type == pa.string():
            return  # classes have no error that falls with the number of labels
        row_of = {name: row for row, name in enumerate(features.ids.tolist())}
        rows = np.array([row_of.get(n, -1) for n in known["immutable_id"].to_pylist()])
        held = np.flatnonzero(rows >= 0)
        labels = known["true"].to_numpy()[held]
        formulas = np.array(known["formula"].to_pylist(), dtype=np.str_)[held]
        with self.progress.step("Learning curve") as advance:
            matrix = features.take(rows[held]).matrix
            curve = learning_curve(matrix, labels, formulas, self.seed, advance)
        write_table(curve, folder / CURVE)

    def _overlap(self, features: Features, folder: Path) -> None:
        """How many of the labelled crystals the weights saw in pre-training."""
        from crystalssl.evaluation.overlap import find_overlap
        from crystalssl.structures.formulas import reduced_formulas
        from crystalssl.structures.table import read_table

        crystals = read_table(self.table).crystals
        labelled = set(_first_repeat(folder)["immutable_id"].to_pylist())
        rows = np.flatnonzero([name in labelled for name in crystals.ids.tolist()])
        chosen = crystals.take(rows)
        overlap = find_overlap(features.origins, chosen)
        counts = overlap.counts(np.arange(len(chosen)), reduced_formulas(chosen))
        settings = {"weights": overlap.weights, "unknown": overlap.unknown}
        write_json({"counts": counts, **settings}, folder / OVERLAP)

    def map(self, features: Features, targets: Sequence[str]) -> None:
        """The map, coloured by what is known and predicted.

        Args:
            features: of the run.
            targets: what has models.
        """
        from crystalssl.maps.page import render_map
        from crystalssl.pipeline.map import gather_map, made_from
        from crystalssl.structures.table import read_table

        path, models = self.stages.folder / MAP, self.stages.folder / MODELS

        def work() -> list[Path]:
            crystals = read_table(self.table).crystals
            color: list[str] = []
            units: dict[str, str] = {}
            for target in targets:
                crystals, names, unit = with_predictions(crystals, models / slug(target))
                color += names
                units |= dict.fromkeys(names, unit)
            shown = gather_map(
                features, crystals, color=color, units=units,
                title=self.stages.folder.resolve().name, symprec=self.symprec,
                cache=self.stages.folder, progress=self.progress,
            )  # fmt: skip
            write_text(render_map(shown, made_from(features)), path)
            self.progress.note(f"Map: {path}")
            return [path]

        made = [self.stages.outcome(f"model-{slug(target)}") for target in targets]
        if self.stages.once("map", {"targets": list(targets)}, [*self.inputs, *made], work):
            self.progress.note(f"Map, as before: {path}")


def slug(target: str) -> str:
    """A target as the name of a folder."""
    return re.sub(r"\W+", "_", target).strip("_") or "property"


def _first_repeat(folder: Path) -> pa.Table:
    """Out-of-fold predictions of a model in its first repeat: every labelled crystal once."""
    table = pq.read_table(folder / OUT_OF_FOLD)
    first = min(table["repeat"].to_pylist(), default=0)
    return table.filter(pc.field("repeat") == first)


def with_predictions(crystals: Crystals, model: Path) -> tuple[Crystals, list[str], str]:
    """Crystals with labels, out-of-fold predictions and their errors as columns.

    Of classes the error is the probability that the model leaves to the wrong ones.

    Args:
        crystals: n crystals.
        model: folder of a property model.

    Returns:
        The crystals, the names of the columns, and the unit of those with numbers.
    """
    from crystalssl.report.page import without_unit, words
    from crystalssl.report.sections.property.data import ClassRun, read_property

    run = read_property(model)
    position = {name: at for at, name in enumerate(run.ids.tolist())}
    at = np.array([position.get(name, -1) for name in crystals.ids.tolist()], dtype=np.int64)
    index = pa.array(at, mask=at < 0)  # (n,) row of each crystal in the run, null without a label
    label: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    if isinstance(run, ClassRun):
        label, predicted = run.classes[run.true], run.classes[run.predicted]
        error = 1.0 - run.probabilities[np.arange(len(run)), run.true]
    else:
        label, predicted, error = run.true, run.predicted, np.abs(run.error)
    name = words(without_unit(run.target))
    columns = {name: label, f"{name}, predicted": predicted, f"{name}, error": error}
    carried = pa.table({}) if crystals.columns is None else crystals.columns
    if not carried.num_columns:
        carried = pa.table({"_": pa.nulls(len(crystals))})
    for name, values in columns.items():
        if name in carried.column_names:
            carried = carried.drop_columns([name])
        carried = carried.append_column(name, pa.array(values.tolist()).take(index))
    if "_" in carried.column_names:
        carried = carried.drop_columns(["_"])
    return crystals.with_columns(carried), list(columns), run.unit
