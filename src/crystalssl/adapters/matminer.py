"""The featurizer as matminer's ``BaseFeaturizer``: data frames with a structure column in, out.

Wraps ``adapters.sklearn.CrystalFeaturizer``; all structures of a frame are encoded at once. Needs
the extra ``crystalssl[matminer]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.adapters.sklearn import CrystalFeaturizer
from crystalssl.errors import missing_extra

try:
    from matminer.featurizers.base import BaseFeaturizer
except ImportError as error:  # pragma: no cover
    raise missing_extra("matminer", "matminer", "The matminer featurizer") from error


class SSLFeaturizer(BaseFeaturizer):  # type: ignore[misc]  # untyped base
    """Label-free features of pymatgen structures.

    Use ``SSLFeaturizer(run).featurize_dataframe(frame, "structure")``.
    """

    def __init__(self, weights: str | Path = "default") -> None:
        """Take the weights: folder of a pre-trained run, or the name of bundled weights."""
        self.weights = weights
        self._fitted: CrystalFeaturizer | None = None

    def featurize(self, structure: Any) -> list[float]:
        """Features of one structure.

        Raises:
            InputError: if it cannot be used.
        """
        row: list[float] = self._ready("error").transform([structure])[0].tolist()
        return row

    def featurize_many(
        self,
        entries: Any,
        ignore_errors: bool = False,
        return_errors: bool = False,
        pbar: bool = True,
    ) -> list[list[Any]]:
        """Features of many structures at once.

        Args:
            entries: structures, or one-element tuples of them.
            ignore_errors: give NaN for a structure that cannot be used.
            return_errors: add the reason as a last entry, NaN where there is none.
            pbar: not used; all entries are encoded together.

        Raises:
            InputError: if a structure cannot be used and errors are not ignored.
            ValueError: if errors are to be returned but not ignored.
        """
        if return_errors and not ignore_errors:
            raise ValueError("Set ignore_errors to True to use return_errors.")
        items = [e[0] if isinstance(e, list | tuple | np.ndarray) else e for e in entries]
        featurizer = self._ready("nan" if ignore_errors else "error")
        rows: list[list[Any]] = featurizer.transform(items).tolist()
        if return_errors:
            reasons = {int(skip.id): skip.reason for skip in featurizer.skipped_}
            rows = [[*row, reasons.get(index, np.nan)] for index, row in enumerate(rows)]
        return rows

    def feature_labels(self) -> list[str]:
        """Names of the features."""
        return self._ready("error").feature_labels()

    def precheck(self, structure: Any) -> bool:
        """Whether a structure can be used."""
        return self._ready("error").precheck(structure)

    def citations(self) -> list[str]:
        """What to cite, as BibTeX."""
        return CrystalFeaturizer().citations()

    def implementors(self) -> list[str]:
        """Who wrote it."""
        return CrystalFeaturizer().implementors()

    def _ready(self, on_invalid: str) -> CrystalFeaturizer:
        """The wrapped featurizer, its encoders loaded once."""
        if self._fitted is None or self._fitted.weights != self.weights:
            self._fitted = CrystalFeaturizer.from_pretrained(self.weights)
        self._fitted.set_params(on_invalid=on_invalid)
        return self._fitted
