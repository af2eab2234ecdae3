"""Whether features collapse, measured from outside while a block trains.

Effective rank (RankMe, Garrido et al. 2023, https://arxiv.org/abs/2210.02885), variance of each
feature, features that never change, and crystals per second. Attached to the loop as callbacks.
"""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor

from crystalssl.datasets.samplers import Index, pack

DEAD = 1e-6
"""Standard deviation below which a feature counts as dead."""
HEALTH = ("effective_rank", "effective_rank_limit", "dead_features")
"""What of ``feature_health`` a model card keeps, of the epoch it describes."""


def rank_me(features: Float[Tensor, "crystal feature"]) -> float:
    """Effective rank: exponential of the entropy of the normalised singular values.

    Args:
        features: any real matrix.

    Returns:
        Between 1 and the smaller side of the matrix; 0 for a matrix of zeros.
    """
    values = torch.linalg.svdvals(features.double())
    total = values.sum()
    if total <= 0:
        return 0.0
    share = values / total
    entropy = -(share * torch.log(share.clamp_min(1e-300))).sum()
    return float(entropy.exp())


def feature_health(features: Float[Tensor, "crystal feature"]) -> dict[str, float]:
    """Numbers that show a collapse.

    Args:
        features: features of many different crystals.

    Returns:
        ``effective_rank`` of the standardised features and ``effective_rank_limit``, which it
        cannot exceed with so many crystals and features that vary; ``median_variance`` and
        ``least_variance`` over the features, and the number of ``dead_features``. Rows that are
        not finite do not count.
    """
    wide = features.double()
    wide = wide[wide.isfinite().all(1)]  # (crystal, feature)
    std = wide.std(0, unbiased=False)
    alive = std > DEAD
    scaled = (wide - wide.mean(0))[:, alive] / std[alive]
    variance = std.square()
    return {
        "effective_rank": rank_me(scaled) if bool(alive.any()) else 0.0,
        # a column less its mean has one degree of freedom less than rows
        "effective_rank_limit": float(max(min(len(wide) - 1, int(alive.sum())), 0)),
        "median_variance": float(variance.median()),
        "least_variance": float(variance.min()),
        "dead_features": float((~alive).sum()),
    }


class CollapseMonitor(pl.Callback):  # type: ignore[misc]  # untyped base
    """Logs ``feature_health`` of some held-out crystals after every validation."""

    def __init__(self, index: Index, sites: Index, batch_size: int, max_atoms: int) -> None:
        """Choose the crystals.

        Args:
            index: row numbers to watch.
            sites: (n,) sites of every row of the corpus.
            batch_size: crystals encoded at a time.
            max_atoms: sites encoded at a time.
        """
        self._batches = pack(index, sites, batch_size, max_atoms)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Encode the crystals and log."""
        if not self._batches:
            return
        features = torch.cat([pl_module.encode(rows) for rows in self._batches])
        pl_module.log_dict(feature_health(features.float().cpu()))


class ThroughputMonitor(pl.Callback):  # type: ignore[misc]  # untyped base
    """Logs the seconds of each training epoch and the crystals it went through per second."""

    def __init__(self, crystals: int) -> None:
        """Take the number of training crystals."""
        self._crystals = crystals
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock: validation follows the last batch of the epoch."""
        seconds = time.perf_counter() - self._start
        self._row = {"train_seconds": seconds, "crystals_per_second": self._crystals / seconds}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was measured."""
        pl_module.log_dict(self._row)
