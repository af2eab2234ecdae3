"""Crystals, labels and features -> the data of an experiment: targets, groups and feature sets.

All feature sets are aligned with the same crystals, a row each; a crystal that a set cannot hold is
marked, and an experiment uses the crystals that every set holds. After features/, before fits.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError, unknown_name
from crystalssl.evaluation.cache import digest
from crystalssl.features.features import Features
from crystalssl.structures.crystals import Crystals

SSL, BOTTLENECK, UNTRAINED = "ssl", "bottleneck", "untrained"
"""Names of the feature sets that come from encoders."""
RAW, PCA, MAGPIE, HYBRID = "raw_ftcp", "raw_ftcp_pca", "magpie", "hybrid"
"""Names of the baselines, and of raw FTCP beside features."""
LABELS = {
    SSL: "Pre-trained encoders",
    BOTTLENECK: "Bottleneck features",
    UNTRAINED: "Untrained encoders",
}
"""Readable names of the feature sets that come from encoders."""
RESERVED = (SSL, HYBRID, RAW, PCA, MAGPIE, "mean")
"""Names that no further feature set may have."""
LEAST_LABELS = 10
"""Labelled crystals below which a target is refused."""
LOG10 = re.compile(r"log10\((.+)\)")
"""A target that is the decimal logarithm of a column, such as ``log10(bulk_modulus_vrh)``."""

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Columns of a feature set that have one origin; sections follow one another.

    Attributes:
        name: ``raw_ftcp``, or the name of a block of features.
        columns: columns in the matrix.
        width: columns before those that are constant everywhere were left out.
        learned: whether an encoder made them.
    """

    name: str
    columns: int
    width: int
    learned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSet:
    """One set of features, a row per crystal. Sets may share a matrix.

    Attributes:
        name: short name, unique in an experiment.
        label: name for people.
        matrix: (n, p) float32; rows of crystals it cannot hold are zero.
        valid: (n,) whether it holds the crystal.
        width: columns before those that are constant everywhere were left out.
        rank: None, or the number of principal axes of the training rows to use instead of the
            columns.
        columns: None, or the columns of the matrix that are used, rising.
        sections: origin of the columns, in order; empty where they have but one.
    """

    name: str
    label: str
    matrix: Matrix
    valid: Mask
    width: int
    rank: int | None = None
    columns: Index | None = None
    sections: tuple[Section, ...] = ()

    def spans(self) -> dict[str, Index]:
        """Columns of the matrix in each section, by its name."""
        edges = np.cumsum([0, *(section.columns for section in self.sections)])
        return {
            section.name: np.arange(low, high)
            for section, low, high in zip(self.sections, edges[:-1], edges[1:], strict=True)
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One property.

    Attributes:
        name: label column.
        unit: its unit.
        values: (n,) labels, NaN where unknown.
    """

    name: str
    unit: str
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What an experiment is about.

    Attributes:
        ids: (n,) ids of the crystals.
        groups: (n,) reduced formula of each.
        targets: properties to predict.
        sets: feature sets; those on one matrix stand together.
        missing: why a baseline is not among them, one sentence each.
        hashes: digest of each feature set by name.
    """

    ids: Texts
    groups: Texts
    targets: tuple[Target, ...]
    sets: tuple[FeatureSet, ...]
    missing: tuple[str, ...] = ()
    hashes: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Check that all parts belong together, and digest the matrices, each once.

        Raises:
            InputError: if there is no set or target, a name repeats, or numbers of rows differ.
        """
        if not self.sets or not self.targets:
            raise InputError("Expected at least one feature set and one target.")
        names = [each.name for each in self.sets]
        if len(set(names)) < len(names):
            raise InputError(f"Feature sets {names} repeat a name; expected each once.")
        lengths = {len(self.groups), *(len(each.matrix) for each in self.sets)}
        lengths |= {len(target.values) for target in self.targets}
        if lengths != {len(self.ids)}:
            raise InputError(
                f"Feature sets, labels and formulas have {sorted(lengths)} rows for "
                f"{len(self.ids)} crystals; expected one row each, in the same order."
            )
        matrices = {id(each.matrix): each.matrix for each in self.sets}
        content = {key: digest([matrix]) for key, matrix in matrices.items()}
        hashes = {
            each.name: digest(
                [content[id(each.matrix)], str(each.rank)]
                + ([] if each.columns is None else [each.columns])
            )
            for each in self.sets
        }
        object.__setattr__(self, "hashes", hashes)

    @property
    def valid(self) -> Mask:
        """(n,) crystals that every feature set holds."""
        return np.asarray(np.logical_and.reduce([each.valid for each in self.sets]))

    def named(self, name: str) -> FeatureSet:
        """A feature set by name.

        Raises:
            UnknownNameError: if there is none of this name.
        """
        by_name = {each.name: each for each in self.sets}
        if name not in by_name:
            raise unknown_name("feature set", name, by_name)
        return by_name[name]

    def label_groups(self) -> Iterator[tuple[tuple[Target, ...], Index]]:
        """Targets known for the same crystals, with their rows: these share their splits.

        Raises:
            InputError: if a target is known for too few crystals.
        """
        known = {target.name: self.valid & np.isfinite(target.values) for target in self.targets}
        for name, mask in known.items():
            if mask.sum() < LEAST_LABELS:
                raise InputError(
                    f"Label {name!r} is known for {mask.sum()} crystals that every feature set "
                    f"holds; expected at least {LEAST_LABELS}. Choose another --target."
                )
        masks = {mask.tobytes(): mask for mask in known.values()}
        for key, mask in masks.items():
            same = tuple(t for t in self.targets if known[t.name].tobytes() == key)
            yield same, np.flatnonzero(mask).astype(np.int64)

    def counts(self) -> dict[str, int]:
        """Crystals given, compared, not held by a set, and labelled, for the record."""
        valid = self.valid
        counts = {"crystals": len(valid), "compared": int(valid.sum())}
        counts |= {
            f"not held by {each.name}": int((~each.valid).sum())
            for each in self.sets
            if not each.valid.all()
        }
        return counts | {
            f"with {t.name}": int((valid & np.isfinite(t.values)).sum()) for t in self.targets
        }

    def data_hash(self) -> str:
        """Digest of feature sets, ids, formulas and labels."""
        contents = [f"{name} {content}" for name, content in self.hashes.items()]
        labels = [value for t in self.targets for value in (t.name, t.values)]
        return digest([*contents, *labels, self.ids, self.groups, self.valid])


def targets_of(crystals: Crystals, names: Sequence[str]) -> list[Target]:
    """Label columns as targets, or their decimal logarithms: ``log10(COLUMN)``.

    Where a logarithm does not exist the label counts as unknown.

    Raises:
        UnknownNameError: if a column is not carried.
        InputError: if a column holds no numbers.
    """
    targets = []
    for name in names:
        logarithm = LOG10.fullmatch(name)
        column = logarithm[1] if logarithm else name
        unit = UNITS.get(column, "")
        try:
            numbers = crystals.column(column).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Column {column!r} holds no numbers; expected labels. Choose another --target."
            ) from error
        if logarithm:
            numbers = np.log10(np.where(numbers > 0, numbers, np.nan))
            unit = f"log10 {unit}" if unit else ""
        targets.append(Target(name=name, unit=unit, values=numbers))
    return targets


def labelled(crystals: Crystals, names: Sequence[str]) -> Crystals:
    """The crystals that carry at least one of the labels; raises as :func:`targets_of`."""
    values = np.stack([target.values for target in targets_of(crystals, names)])
    return crystals.take(np.isfinite(values).any(axis=0))


def aligned(
    name: str, features: Features, crystals: Crystals, label: str | None = None
) -> FeatureSet:
    """Features brought into the order of the crystals by id.

    Args:
        name: short name.
        features: features of m crystals; crystals that are not among them are marked.
        crystals: n crystals of the experiment.
        label: name for people; None for the usual one.

    Raises:
        InputError: if ids repeat, values are not finite, or no crystal is among the features.
    """
    matrix, ids = features.matrix, features.ids
    position = {str(key): row for row, key in enumerate(ids)}
    if len(position) < len(ids):
        raise InputError(
            f"Feature set {name!r} has {len(ids) - len(position)} repeated ids; expected each once."
        )
    rows = np.array([position.get(str(key), -1) for key in crystals.ids], dtype=np.int64)
    valid = rows >= 0
    if not valid.any():
        raise InputError(
            f"None of the {len(crystals)} structures is among the {len(ids)} ids of feature set "
            f"{name!r}. Give the structures that the features were extracted from."
        )
    if np.array_equal(rows, np.arange(len(matrix))):
        ordered = np.ascontiguousarray(matrix, dtype=np.float32)
    else:
        ordered = np.zeros((len(crystals), matrix.shape[1]), np.float32)
        ordered[valid] = matrix[rows[valid]]
    if not np.isfinite(ordered).all():
        raise InputError(
            f"Feature set {name!r} holds values that are not finite; expected numbers only. "
            "Extract the features again."
        )
    return FeatureSet(
        name=name,
        label=label or LABELS.get(name, name.replace("_", " ").capitalize()),
        matrix=ordered,
        valid=valid,
        width=matrix.shape[1],
        sections=tuple(
            Section(name=block, columns=width, width=width, learned=True)
            for block, width in features.widths.items()
        ),
    )
