"""Features in fewer bytes: float32 to float16, or to int8 with a scale and an offset a column.

``value = offset + scale * stored``, stored from -127 to 127 over the range of the column. Used by
``writer.py`` and ``store.py``; whoever loads features gets float32 back and need not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, unknown_name
from crystalssl.features.features import Features

DTYPES = ("float32", "float16", "int8")
"""Number types of stored features; 4, 2 and 1 bytes."""
_STEPS = 127

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """How the columns of a block are stored as int8.

    Attributes:
        scale: (width,) float32 size of one step.
        offset: (width,) float32 value of step 0.
    """

    scale: Matrix
    offset: Matrix

    @staticmethod
    def over(low: Matrix, high: Matrix) -> Steps:
        """Steps that span a range of values in each column."""
        low64, high64 = low.astype(np.float64), high.astype(np.float64)
        return Steps(
            scale=((high64 - low64) / (2 * _STEPS)).astype(np.float32),
            offset=((high64 + low64) / 2).astype(np.float32),
        )

    def encode(self, values: Matrix) -> npt.NDArray[np.int8]:
        """(n, width) int8 of values within the range."""
        size = np.where(self.scale > 0, self.scale, 1.0)
        steps = np.rint((values - self.offset) / size)
        return np.clip(steps, -_STEPS, _STEPS).astype(np.int8)

    def decode(self, stored: npt.NDArray[np.int8] | Matrix) -> Matrix:
        """(n, width) float32 values, half a step from the true ones at most."""
        values: Matrix = stored.astype(np.float32) * self.scale + self.offset
        return values

    def as_lists(self) -> dict[str, list[float]]:
        """For a JSON file."""
        return {"scale": self.scale.tolist(), "offset": self.offset.tolist()}

    @staticmethod
    def from_lists(lists: Mapping[str, Any], width: int) -> Steps:
        """From what ``as_lists`` gave.

        Raises:
            InputError: if there are not as many numbers as columns.
        """
        try:
            scale = np.array(lists["scale"], dtype=np.float32)
            offset = np.array(lists["offset"], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"Stored features have no scale and offset: {error!r}.") from error
        if scale.shape != (width,) or offset.shape != (width,):
            raise InputError(
                f"Stored features have {scale.size} scales and {offset.size} offsets for {width} "
                "columns, expected one each. Extract the features again."
            )
        return Steps(scale=scale, offset=offset)


class Span:
    """Smallest and largest value of every column, over batches of features that go by."""

    def __init__(self) -> None:
        self._low: dict[str, Matrix] = {}
        self._high: dict[str, Matrix] = {}

    def over(self, batches: Iterable[Features]) -> Iterator[Features]:
        """The batches as they are, seen on their way.

        Raises:
            InputError: if a value is not finite.
        """
        for batch in batches:
            self.see(batch.blocks)
            yield batch

    def see(self, blocks: Mapping[str, Matrix]) -> None:
        """Take the values of a batch.

        Raises:
            InputError: if one is not finite.
        """
        for name, values in blocks.items():
            if not len(values):
                continue
            low, high = values.min(axis=0), values.max(axis=0)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise InputError(
                    f"Features of {name!r} hold a number that is not finite, which int8 cannot "
                    "store. Use float32."
                )
            self._low[name] = np.minimum(low, self._low.get(name, low))
            self._high[name] = np.maximum(high, self._high.get(name, high))

    def steps(self, widths: Mapping[str, int]) -> dict[str, Steps]:
        """Steps of each block; of one that no row was seen of, for zeros."""
        none = {name: np.zeros(width, np.float32) for name, width in widths.items()}
        return {
            name: Steps.over(self._low.get(name, none[name]), self._high.get(name, none[name]))
            for name in widths
        }


def check_dtype(dtype: str) -> str:
    """The type, if it is one of ``DTYPES``.

    Raises:
        UnknownNameError: if it is not.
    """
    if dtype not in DTYPES:
        raise unknown_name("type of features", dtype, DTYPES)
    return dtype


def stored(values: Matrix, dtype: str, steps: Steps | None) -> npt.NDArray[Any]:
    """Values as they are stored.

    Raises:
        InputError: if a value is too large for float16.
    """
    if dtype == "int8" and steps is not None:
        return steps.encode(values)
    if dtype == "float16":
        largest = float(np.abs(values).max(initial=0))
        if largest > float(np.finfo(np.float16).max):
            raise InputError(
                f"Features reach {largest:.3g}, expected at most 65504 for float16. Use float32."
            )
    return values.astype(dtype, copy=False)
