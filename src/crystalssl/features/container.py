"""Features of many crystals in memory: ids, and one matrix for each block.

Made by ``extract.py``, written and read by ``store.py``, used by evaluation and adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, unknown_name

UNTRAINED = "untrained"
"""What stands in place of a name or folder for encoders that were never trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The weights that features come from, so that an evaluation can ask what those have seen.

    Attributes:
        weights: name of bundled weights, folder of a run, or ``UNTRAINED``.
        sha256: checksum of the weights of each block, as on its card.
    """

    weights: str
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """Features of n crystals, rows in the order of the input.

    Attributes:
        ids: (n,) identifiers.
        blocks: (n, width) float32 for each block name, in the order of the columns.
        names: feature names, ``<block>_<i>``; made from ``blocks`` if not given.
        origins: weights they come from; none where that is not known.
    """

    ids: npt.NDArray[np.str_]
    blocks: dict[str, npt.NDArray[np.float32]]
    names: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()

    def __post_init__(self) -> None:
        """Fill in names and compare lengths.

        Raises:
            InputError: if the parts differ in length.
        """
        if not self.names:
            object.__setattr__(self, "names", feature_names(self.widths))
        for name, values in self.blocks.items():
            if values.ndim != 2 or len(values) != len(self.ids):
                raise InputError(
                    f"Features of {name!r} have shape {values.shape} for {len(self.ids)} ids, "
                    "expected one row for each id."
                )
        if len(self.names) != sum(self.widths.values()):
            raise InputError(
                f"Got {len(self.names)} feature names for {sum(self.widths.values())} features, "
                "expected one each."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each block."""
        return {name: values.shape[1] for name, values in self.blocks.items()}

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """(n, total) all blocks side by side; a copy."""
        parts = list(self.blocks.values())
        empty = np.zeros((len(self), 0), np.float32)
        return np.concatenate(parts, axis=1) if parts else empty

    def take(self, index: npt.ArrayLike) -> Features:
        """Rows by integer index, in the order given."""
        rows = np.asarray(index, dtype=np.int64)
        blocks = {name: values[rows] for name, values in self.blocks.items()}
        return replace(self, ids=self.ids[rows], blocks=blocks)

    def only(self, *blocks: str) -> Features:
        """The features of some blocks.

        Raises:
            UnknownNameError: if a block is not there.
        """
        for name in blocks:
            if name not in self.blocks:
                raise unknown_name("block of features", name, self.blocks)
        chosen = {name: self.blocks[name] for name in blocks}
        return Features(ids=self.ids, blocks=chosen, origins=self.origins)


def feature_names(widths: Mapping[str, int]) -> tuple[str, ...]:
    """Names of all features, ``<block>_<i>``, block after block."""
    return tuple(f"{name}_{i}" for name, width in widths.items() for i in range(width))
