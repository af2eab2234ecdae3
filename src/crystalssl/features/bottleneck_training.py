"""Training of a bottleneck without labels: lose some views of a crystal, predict them again.

Whole blocks are dropped and every block is predicted from the mixed features; these must also
predict crystal-level targets made from the structure (geometry, bonds, charge balance, products:
``representation.targets.by_kind``), and may be asked to be uncorrelated. Features and targets in, a
:class:`Bottleneck` with its figures out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._clipping import SoftClip
from crystalssl.errors import InputError
from crystalssl.features.axes import turned_axes
from crystalssl.features.bottleneck import (
    MIX_ROWS,
    Bottleneck,
    BottleneckCard,
    save_bottleneck,
)
from crystalssl.features.features import Features
from crystalssl.features.networks import LIMIT
from crystalssl.hub.halves import round_matrices

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class BottleneckConfig:
    """Settings of a bottleneck and its training."""

    width: int = 2048
    """Number of features."""
    linear_share: float = 0.5
    """Share of the features that are linear, on the leading principal axes; see
    docs/experiments.md."""
    limit: float = 8.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed where their number is a power of two."""
    epochs: int = 8
    """Passes over the training crystals."""
    least_steps: int = 300
    """Optimizer steps at least; few crystals are passed over more often."""
    batch_size: int = 512
    """Crystals in a batch."""
    learning_rate: float = 1e-3
    """Highest learning rate of Adam, one-cycle."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    drop_ratio: float = 0.3
    """Probability with which a block is dropped; one always stays."""
    kept_weight: float = 0.3
    """Weight of predicting what was not dropped, against 1 for what was."""
    structure_weight: float = 1.0
    """Weight of the crystal-level targets."""
    decorrelation_weight: float = 0.0
    """Weight of the mean squared correlation between two features."""
    seed: int = 0
    """Seed of weights, batches and dropped blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BottleneckOutcome:
    """A trained bottleneck and how well it does on held-out crystals.

    Attributes:
        bottleneck: in evaluation mode, on the CPU, weights rounded to float16.
        figures: ``told`` holds for each block the R2 of its features predicted from the others
            alone (0 is the mean); ``targets`` the mean absolute error of the crystal-level
            targets in standard deviations and that of their mean; ``losses`` one entry an epoch.
    """

    bottleneck: Bottleneck
    figures: dict[str, Any]


class _Heads(nn.Module):
    """What mixed features must predict: features of all blocks, and the targets of each kind."""

    def __init__(self, width: int, features: int, kinds: Sequence[int]) -> None:
        super().__init__()
        self.features = nn.Linear(width, features)
        self.targets = nn.Linear(width, sum(kinds)) if kinds else None
        self.ends = np.cumsum(kinds).tolist()


def train_bottleneck(
    features: Features,
    targets: Sequence[npt.NDArray[np.float32]] | None,
    train: Index,
    val: Index,
    config: BottleneckConfig | None = None,
    *,
    init: Bottleneck | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BottleneckOutcome:
    """Train a bottleneck; the same seed gives the same weights on a CPU.

    Args:
        features: features of n crystals from two blocks or more.
        targets: (n, T) raw crystal-level targets of each kind, in the order of the features;
            None trains without them.
        train: rows to train on; those of features that are not finite are left out.
        val: rows that figures are taken from, likewise.
        config: settings.
        init: one of the same width to go on from; columns of blocks that it does not read, or not
            as wide, begin at random.
        progress: called with epochs done and in all.

    Raises:
        InputError: if there is only one block, or too few crystals, or ``init`` has another width.
    """
    config = config or BottleneckConfig()
    matrix = torch.from_numpy(features.matrix)  # (crystal, feature)
    finite = matrix.isfinite().all(1).numpy()
    train, val = train[finite[train]], val[finite[val]]
    if len(features.blocks) < 2 or len(train) < 2 or not len(val):
        raise InputError(
            f"Got {len(features.blocks)} blocks, {len(train)} crystals to train on and {len(val)} "
            "to validate with; expected at least 2, 2 and 1. A bottleneck mixes several views."
        )
    torch.manual_seed(config.seed)
    linear = round(config.linear_share * config.width)
    rotated = config.rotated and config.width & (config.width - 1) == 0
    bottleneck = Bottleneck(
        features.widths, config.width, linear, limit=config.limit, rotated=rotated
    )
    if init is not None:
        _begin_with(bottleneck, init)
    inputs = bottleneck.fit(matrix, torch.from_numpy(train))
    fixed = linear if init is None else 0  # those of a bottleneck to go on from are trained on
    if fixed:
        weight, bias = turned_axes(inputs, train, linear, config.seed)
        with torch.no_grad():
            bottleneck.mix.weight[:linear], bottleneck.mix.bias[:linear] = weight, bias
    truth = None if not targets else _standardised(np.concatenate(targets, axis=1), train)
    heads = _Heads(config.width, inputs.shape[1], [kind.shape[1] for kind in targets or ()])
    losses = _fit(bottleneck, fixed, heads, inputs, truth, train, config, progress)
    round_matrices(bottleneck)
    _settle(bottleneck, inputs, train)
    figures = {"losses": losses, **_figures(bottleneck.eval(), heads, inputs, truth, val)}
    return BottleneckOutcome(bottleneck=bottleneck, figures=figures)


@torch.no_grad()
def _begin_with(bottleneck: Bottleneck, init: Bottleneck) -> None:
    """Take over what another bottleneck learnt of the blocks that both read."""
    if (init.mix.out_features, init.linear) != (bottleneck.mix.out_features, bottleneck.linear):
        raise InputError(
            f"The bottleneck to go on from gives {init.mix.out_features} features, {init.linear} "
            f"linear; expected {bottleneck.mix.out_features} and {bottleneck.linear}."
        )
    both = {n for n, width in bottleneck.widths.items() if init.widths.get(n) == width}
    here, there = (_by_block(one) for one in (bottleneck, init))
    for name in both:
        here[name].copy_(there[name])
    bottleneck.mix.bias.copy_(init.mix.bias)


def _by_block(bottleneck: Bottleneck) -> dict[str, Tensor]:
    """(mixed, feature) weights of each block, views of the bottleneck's own."""
    weights = torch.split(bottleneck.mix.weight, list(bottleneck.widths.values()), dim=1)
    return dict(zip(bottleneck.widths, weights, strict=True))


@torch.no_grad()
def _settle(bottleneck: Bottleneck, inputs: Tensor, train: Index) -> None:
    """Let the soft clip take mean and standard deviation of the units over training crystals."""
    if not isinstance(bottleneck.clip, SoftClip):
        return
    total = torch.zeros(2, bottleneck.mix.out_features, dtype=torch.float64)
    for start in range(0, len(train), MIX_ROWS):
        units = bottleneck.units(inputs[train[start : start + MIX_ROWS]]).double()
        total += torch.stack([units.sum(0), units.square().sum(0)])
    mean, square = total / len(train)
    bottleneck.clip.set_statistics(mean, square)


def _standardised(targets: npt.NDArray[np.float32], train: Index) -> Tensor:
    """(n, T) targets less their mean, in standard deviations of training crystals, clipped."""
    values = torch.from_numpy(np.asarray(targets, np.float32))
    std = values[train].std(0)
    scale = torch.where(std > 1e-6, std, torch.ones_like(std))
    return ((values - values[train].mean(0)) / scale).clamp(-LIMIT, LIMIT)


def _fit(
    bottleneck: Bottleneck,
    fixed: int,
    heads: _Heads,
    inputs: Tensor,
    truth: Tensor | None,
    train: Index,
    config: BottleneckConfig,
    progress: Callable[[int, int], None] | None,
) -> list[float]:
    """Train in place, but for the first ``fixed`` units; mean loss of every epoch."""
    rows = torch.from_numpy(np.asarray(train, np.int64))
    generator = torch.Generator().manual_seed(config.seed)
    owner = _owners(list(bottleneck.widths.values()))
    size = min(config.batch_size, len(rows))
    batches = len(rows) // size
    epochs = max(config.epochs, -(-config.least_steps // batches))
    parameters = [*bottleneck.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(2, epochs * batches + 1)
    )
    held = [parameter[:fixed].detach().clone() for parameter in bottleneck.mix.parameters()]
    losses = []
    for epoch in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator)]
        total = 0.0
        for batch in order[: batches * size].view(batches, size):
            keep = keep_some(len(batch), len(bottleneck.widths), config.drop_ratio, generator)
            shown = keep[:, owner].to(inputs.dtype)
            mixed = bottleneck.units(inputs[batch] * shown)
            targets = None if truth is None else truth[batch]
            loss = bottleneck_loss(heads, mixed, inputs[batch], shown, targets, config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():  # weight decay would move them too
                for parameter, axes in zip(bottleneck.mix.parameters(), held, strict=True):
                    parameter[:fixed] = axes
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
        if progress is not None:
            progress(epoch + 1, epochs)
    return losses


def bottleneck_loss(
    heads: _Heads,
    mixed: Float[Tensor, "crystal mixed"],
    inputs: Float[Tensor, "crystal feature"],
    shown: Float[Tensor, "crystal feature"],
    truth: Float[Tensor, "crystal target"] | None,
    config: BottleneckConfig,
) -> Float[Tensor, ""]:
    """What training minimises on one batch.

    Squared error of all features, ``kept_weight`` where they were shown; smooth L1 error of the
    targets, each kind of them counting alike; mean squared correlation of two mixed features.
    """
    weight = 1 - (1 - config.kept_weight) * shown
    loss = ((heads.features(mixed) - inputs).square() * weight).mean()
    if truth is not None and heads.targets is not None:
        error = functional.smooth_l1_loss(heads.targets(mixed), truth, reduction="none").mean(0)
        starts = [0, *heads.ends[:-1]]  # error: (target,)
        kinds = torch.stack([error[i:j].mean() for i, j in zip(starts, heads.ends, strict=True)])
        loss = loss + config.structure_weight * kinds.sum()
    if config.decorrelation_weight:
        centred = mixed - mixed.mean(0)
        scaled = centred / torch.sqrt(centred.square().mean(0) + 1e-4)
        correlation = scaled.T @ scaled / len(mixed)
        count = len(correlation) * (len(correlation) - 1)
        square = correlation.square().sum() - correlation.diagonal().square().sum()
        loss = loss + config.decorrelation_weight * square / count
    total: Tensor = loss
    return total


def keep_some(
    count: int, blocks: int, ratio: float, generator: torch.Generator
) -> Bool[Tensor, "crystal block"]:
    """Which blocks of each crystal are shown; at least one."""
    keep = torch.rand((count, blocks), generator=generator) >= ratio
    keep[torch.arange(count), torch.randint(blocks, (count,), generator=generator)] = True
    return keep


def _owners(widths: Sequence[int]) -> Int[Tensor, "feature"]:
    return torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(list(widths)))


@torch.inference_mode()
def _figures(
    bottleneck: Bottleneck, heads: _Heads, inputs: Tensor, truth: Tensor | None, val: Index
) -> dict[str, Any]:
    """Held-out figures beside those of the mean."""
    held = inputs[val]
    owner = _owners(list(bottleneck.widths.values()))
    r2 = {}
    for number, name in enumerate(bottleneck.widths):
        columns = owner == number  # (feature,) of this block
        prediction = heads.features(bottleneck.units(held * (~columns).to(held.dtype)))[:, columns]
        truth_of_block = held[:, columns]
        total = (truth_of_block - truth_of_block.mean(0)).square().sum()
        residual = (prediction - truth_of_block).square().sum()
        r2[name] = float(1 - residual / total.clamp_min(1e-9))
    figures: dict[str, Any] = {"told": r2}
    if truth is not None and heads.targets is not None:
        prediction = heads.targets(bottleneck.units(held))
        figures["targets"] = {
            "model": float((prediction - truth[val]).abs().mean()),
            "mean": float(truth[val].abs().mean()),
        }
    return figures


def train_and_save(
    features: Features,
    targets: Sequence[npt.NDArray[np.float32]],
    rows: tuple[Index, Index],
    config: BottleneckConfig,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BottleneckCard:
    """Train a bottleneck and write it with its card.

    Args:
        features: features of all crystals.
        targets: as in :func:`train_bottleneck`.
        rows: rows to train on, and rows to hold out.
        config: settings.
        folder: gets weights and card.
        progress: called with epochs done and in all.
    """
    train, val = rows
    outcome = train_bottleneck(features, targets, train, val, config, progress=progress)
    card = BottleneckCard(
        **outcome.bottleneck.shape,
        encoders=features.origins[0].sha256 if len(features.origins) == 1 else {},
        training=asdict(config),
        data={"train_crystals": len(train), "val_crystals": len(val)},
        figures=outcome.figures,
    )
    return save_bottleneck(outcome.bottleneck, folder, card)
