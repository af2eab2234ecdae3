"""Raw FTCP and features -> one matrix side by side that knows which columns are whose.

Columns that never vary are not stored, but they count in every width. After
feature_sets.py, before shap_share.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.evaluation.feature_sets import FeatureSet, side_by_side


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Columns of one origin.

    Attributes:
        name: ``raw_ftcp``, or the name of a block of features.
        label: name for people.
        start: first column in the matrix.
        stop: column after its last.
        width: columns before constant ones were left out.
        learned: whether encoders made it.
    """

    name: str
    label: str
    start: int
    stop: int
    width: int
    learned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Hybrid:
    """Raw FTCP and features side by side.

    Attributes:
        both: the joint feature set; its matrix is (n, p) float32.
        raw: raw FTCP alone, a view of it.
        ssl: features alone, a view of it.
        sections: origin of the columns, in order.
    """

    both: FeatureSet
    raw: FeatureSet
    ssl: FeatureSet
    sections: tuple[Section, ...]

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """(n, p) the joint matrix."""
        return self.both.matrix

    @property
    def name(self) -> str:
        """Name of the joint set."""
        return self.both.name

    @property
    def width(self) -> int:
        """Columns in all, constant ones included."""
        return self.both.width

    def mask(self, section: Section) -> npt.NDArray[np.bool_]:
        """(p,) which columns of the matrix belong to a section."""
        place = np.arange(self.matrix.shape[1])
        return np.asarray((place >= section.start) & (place < section.stop))

    def feature_sets(self) -> tuple[FeatureSet, ...]:
        """Raw FTCP, features, both."""
        return self.raw, self.ssl, self.both


def hybrid(raw: FeatureSet, ssl: FeatureSet, widths: Mapping[str, int]) -> Hybrid:
    """Put raw FTCP and features into one matrix; the parts are views of it.

    Args:
        raw: raw FTCP, without the columns that never vary.
        ssl: features, block after block.
        widths: number of features of each block.

    Raises:
        InputError: if crystals differ, or the widths do not add up to the features.
    """
    if sum(widths.values()) != ssl.matrix.shape[1]:
        raise InputError(
            f"Blocks of {sum(widths.values())} features for {ssl.matrix.shape[1]} columns; "
            "expected as many. Extract the features again."
        )
    both, views = side_by_side("hybrid", f"{raw.label} + {ssl.label}", [raw, ssl])
    edge = raw.matrix.shape[1]
    sections = [
        Section(name=raw.name, label=raw.label, start=0, stop=edge, width=raw.width, learned=False)
    ]
    place = edge
    for name, width in widths.items():
        stop = place + width
        label = name.replace("_", " ")
        sections.append(
            Section(name=name, label=label, start=place, stop=stop, width=width, learned=True)
        )
        place = stop
    return Hybrid(both=both, raw=views[0], ssl=views[1], sections=tuple(sections))
