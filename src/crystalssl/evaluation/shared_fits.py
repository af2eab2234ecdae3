"""Models on all labels that several scenarios ask for: fitted by the first, read by the others.

SHAP share and few labels both fit a network and boosted trees to raw FTCP, to features and to both,
on the same rows. What such a model predicts is kept under a digest of everything that it depends
on, in a folder that the scenarios share. Beside store.py; used by bench.py and shap_units.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crystalssl.evaluation._model_code import head_code
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import digest
from crystalssl.evaluation.store import Part, Store
from crystalssl.models import Head, head_settings
from crystalssl.models.arrays import Floats, Groups

NAME = "fit"
"""What keys begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a fitted model says of the test rows.

    Attributes:
        guess: (m,) predictions.
        seconds: seconds that the fit took.
    """

    guess: Floats
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedFits:
    """Predictions in a folder, one a model.

    Attributes:
        store: where they lie; nothing in it is ever removed, since other scenarios may need it.
    """

    store: Store

    def key(
        self, head: Head, content: str, split: Split, labels: Floats, groups: Groups, seed: int
    ) -> str:
        """Digest of everything that a model and its predictions depend on.

        Args:
            head: model with its settings.
            content: digest of the (n, p) feature matrix.
            split: training and test rows.
            labels: (n,) labels; those of the training rows count.
            groups: (n,) formulas; those of the training rows count.
            seed: seed of the head.
        """
        train = split.train
        data = [content, digest([train, split.test, labels[train], *groups[train].tolist()])]
        settings = head_settings(head) | {"seed": seed}
        return self.store.key(NAME, settings, data=data, code=[*head_code(head), _OWN])

    def get(self, key: str) -> Prediction | None:
        """What is stored under a key, or None where the model has yet to be fitted."""
        part = self.store.get(key)
        if part is None or not {"guess", "seconds"} <= set(part.arrays):
            return None
        return Prediction(guess=part.arrays["guess"], seconds=float(part.arrays["seconds"]))

    def put(self, keys: Sequence[str], guesses: Floats, seconds: float) -> None:
        """Store predictions of models that were fitted together.

        Args:
            keys: keys of t models.
            guesses: (m, t) predictions.
            seconds: seconds that each fit took.
        """
        for key, guess in zip(keys, guesses.T, strict=True):
            arrays = {"guess": np.ascontiguousarray(guess), "seconds": np.array(seconds)}
            self.store.put(key, Part(arrays=arrays))


_OWN = sys.modules[__name__]
