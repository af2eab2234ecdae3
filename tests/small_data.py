"""Small data sets for evaluations: features that hold known parts of a made-up label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation.data import Dataset, FeatureSet, Section, Target


def formulas(count: int, each: int = 3) -> npt.NDArray[np.str_]:
    """(count,) formulas, each of some crystals in a row."""
    return np.repeat([f"A{number}B" for number in range(-(-count // each))], each)[:count]


def feature_set(
    name: str,
    matrix: npt.NDArray[np.floating],
    valid: npt.NDArray[np.bool_] | None = None,
    sections: dict[str, int] | None = None,
) -> FeatureSet:
    """A feature set that holds all crystals unless told otherwise; sections are learned blocks."""
    return FeatureSet(
        name=name,
        label=name,
        matrix=matrix.astype(np.float32),
        valid=np.ones(len(matrix), bool) if valid is None else valid,
        width=matrix.shape[1],
        sections=tuple(
            Section(name=block, columns=width, width=width, learned=True)
            for block, width in (sections or {}).items()
        ),
    )


def target(values: npt.NDArray[np.float64], name: str = "energy") -> Target:
    """A property in eV."""
    return Target(name=name, unit="eV", values=values)


def dataset(sets: Sequence[FeatureSet], *targets: Target) -> Dataset:
    """Feature sets and targets of crystals with counted ids, three to a formula."""
    count = len(sets[0].matrix)
    return Dataset(
        ids=np.array([f"id-{row}" for row in range(count)]),
        groups=formulas(count),
        targets=targets,
        sets=tuple(sets),
    )
