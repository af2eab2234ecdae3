"""What a property model says of itself: target, data, candidates, errors, coverage, checksums.

Plain JSON beside the model's arrays, written last and checked in full when it is read. The report
reads it and ``out_of_fold.parquet`` and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crystalssl.errors import InputError
from crystalssl.files import check_version, read_json
from crystalssl.hub.card import record_of

CARD_FILE = "card.json"
"""File name of the card."""
MODEL_FORMAT = 1
"""Version of the folders that this package writes."""
KIND = "property model"
"""What the card calls itself, so that a folder of encoders is not taken for one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionCard:
    """Columns of one origin; see ``inputs.Section``."""

    name: str
    kind: str
    columns: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateCard:
    """One candidate.

    Attributes:
        name: head and columns.
        kinds: sections that it reads.
        weight: in the stack; 0 where it is not used.
        stored: kind of the stored head; empty where it is not used.
        settings: settings of the head.
        metrics: out-of-fold RMSE, MAE and R2, mean over repeats.
    """

    name: str
    kinds: list[str]
    weight: float
    stored: str
    settings: dict[str, Any]
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricCard:
    """A metric over repeats with its 95 % interval."""

    mean: float
    standard_deviation: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreCard:
    """Out-of-fold metrics of the model or of a baseline.

    Attributes:
        rows: crystals that it was judged on.
        metrics: by name.
        note: what is particular to it.
    """

    rows: int
    metrics: dict[str, MetricCard]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyCard:
    """Card of a property model.

    Attributes:
        target: what is predicted, as the user named it.
        column: label column.
        unit: unit of the target.
        transform: ``log10`` or ``none``: how the target came from the column.
        task: ``regression`` or ``classification``.
        classes: names of the classes, in the order of probabilities.
        package_version: version that fitted it.
        key: digest of everything that the model depends on.
        seed: seed of everything.
        counts: structures, labelled, labels and structures without the other, bounds.
        weights: encoders: name, blocks, output, symprec, checksums, and what labels they saw.
        sections: columns that are read.
        descriptors: how the user's own columns are made from a table.
        candidates: what was tried.
        plan: folds, repeats, clusters, and what was left out for want of time.
        metrics: of ``model`` and of baselines.
        coverage: level of intervals and the share of labels in them: nested, and with whole
            clusters left out; errors inside and outside of the domain.
        domain: limit, nearest, and elements seen.
        stack: centre and ends of the labels.
        intervals: expected residual, its floor, and the number of independent residuals.
        notes: what the user was told.
        finetuned: encoders trained on with labels: what they saw, their weight in the stack, and
            errors on the fold that was held out, with and without them; empty without such.
        files: size and checksum of every other file.
    """

    target: str
    column: str
    unit: str
    transform: str
    task: str
    classes: list[str]
    package_version: str
    key: str
    seed: int
    counts: dict[str, int]
    weights: dict[str, Any]
    sections: list[SectionCard]
    descriptors: dict[str, Any]
    candidates: list[CandidateCard]
    plan: dict[str, Any]
    metrics: dict[str, ScoreCard]
    coverage: dict[str, Any]
    domain: dict[str, Any]
    stack: dict[str, Any]
    intervals: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    finetuned: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The card with its kind and the version of its format."""
        return {**asdict(self), "kind": KIND, "format": MODEL_FORMAT}

    @staticmethod
    def load(folder: Path) -> PropertyCard:
        """Read the card of a folder.

        Raises:
            InputError: if it is missing, of another kind or newer, or does not hold what it must.
            UnknownNameError: if a field does not exist.
        """
        path = Path(folder) / CARD_FILE
        value = read_json(path)
        if value.pop("kind", None) != KIND:
            raise InputError(f"{folder} holds no property model; make one with crystalssl fit.")
        check_version(value.pop("format", None), MODEL_FORMAT, path)
        return record_of(PropertyCard, value, path)
