"""Training of a bottleneck without labels: lose some views of a crystal, predict them again.

Linear units are principal axes, others kernel principal components of these (``axes.py``,
``kernel_units.py``): both are computed, not trained. The rest is trained: whole blocks are dropped
and every block is predicted from the mixed features; these must also predict crystal-level targets
made from the structure (geometry, bonds, charge balance, products:
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
from torch import Tensor

from crystalssl.blocks._clipping import SoftClip
from crystalssl.errors import InputError
from crystalssl.features.axes import turned_axes, view_weights
from crystalssl.features.bottleneck import (
    MIX_ROWS,
    Bottleneck,
    BottleneckCard,
    save_bottleneck,
)
from crystalssl.features.bottleneck_objective import (
    BottleneckConfig,
    Heads,
    bottleneck_loss,
    held_out_figures,
    keep_some,
    owners_of,
)
from crystalssl.features.features import PHYSICS, Features
from crystalssl.features.networks import LIMIT
from crystalssl.hub.halves import round_matrices
from crystalssl.representation.physics.view import view_checksum

Index = npt.NDArray[np.int64]


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
        init: one of the same width whose trained units to go on from; columns of blocks that it
            does not read, or not as wide, begin at random.
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
    bottleneck = _empty(features.widths, len(train), config)
    inputs = bottleneck.fit(matrix, torch.from_numpy(train))
    _compute(bottleneck, inputs, train, config)
    if init is not None:
        _begin_with(bottleneck, init)
    truth = None if not targets else _standardised(np.concatenate(targets, axis=1), train)
    heads = Heads(config.width, inputs.shape[1], [kind.shape[1] for kind in targets or ()])
    losses = _fit(bottleneck, heads, inputs, truth, train, config, progress)
    round_matrices(bottleneck)
    _settle(bottleneck, inputs, train)
    figures = {"losses": losses, **held_out_figures(bottleneck.eval(), heads, inputs, truth, val)}
    return BottleneckOutcome(bottleneck=bottleneck, figures=figures)


def _empty(widths: dict[str, int], crystals: int, config: BottleneckConfig) -> Bottleneck:
    """A bottleneck as the settings, and the number of training crystals, ask for."""
    landmarks = min(config.landmarks, crystals)
    linear, kernel = (
        round(share * config.width) for share in (config.linear_share, config.kernel_share)
    )
    return Bottleneck(
        widths,
        config.width,
        linear,
        # the kernel reads the linear units and takes the room that these leave
        kernel=min(kernel, landmarks, config.width - linear) if linear else 0,
        landmarks=landmarks,
        limit=config.limit,
        rotated=config.rotated and config.width & (config.width - 1) == 0,
    )


@torch.no_grad()
def _compute(
    bottleneck: Bottleneck, inputs: Tensor, train: Index, config: BottleneckConfig
) -> None:
    """Fill in the units that are not trained, rounded as they will be stored."""
    linear, mix = bottleneck.linear, bottleneck.mix
    if not linear:
        return
    factors = view_weights(bottleneck.widths)
    weight, bias = turned_axes(inputs, factors, train, linear, config.seed)
    mix.weight[:linear], mix.bias[:linear] = weight.half().float(), bias
    if bottleneck.kernel is not None:
        chosen = np.random.default_rng(config.seed).permutation(train)
        chosen = np.sort(chosen[: len(bottleneck.kernel.landmarks)])
        landmarks = mix(inputs[torch.from_numpy(chosen)])[:, :linear]
        bottleneck.kernel.fit(landmarks, config.kernel_length, config.seed)


@torch.no_grad()
def _begin_with(bottleneck: Bottleneck, init: Bottleneck) -> None:
    """Take over what the trained units of another bottleneck learnt of the blocks both read."""
    got, expected = ((b.mix.out_features, b.linear) for b in (init, bottleneck))
    if got != expected:
        raise InputError(
            f"The bottleneck to go on from has {got[0]} units that are no kernel components, "
            f"{got[1]} of them linear; expected {expected[0]} and {expected[1]}."
        )
    linear = bottleneck.linear
    both = {n for n, width in bottleneck.widths.items() if init.widths.get(n) == width}
    here, there = (_by_block(one) for one in (bottleneck, init))
    for name in both:
        here[name][linear:] = there[name][linear:]
    bottleneck.mix.bias[linear:] = init.mix.bias[linear:]


def _by_block(bottleneck: Bottleneck) -> dict[str, Tensor]:
    """(mixed, feature) weights of each block, views of the bottleneck's own."""
    weights = torch.split(bottleneck.mix.weight, list(bottleneck.widths.values()), dim=1)
    return dict(zip(bottleneck.widths, weights, strict=True))


@torch.no_grad()
def _settle(bottleneck: Bottleneck, inputs: Tensor, train: Index) -> None:
    """Let the soft clip take mean and standard deviation of the units over training crystals."""
    if not isinstance(bottleneck.clip, SoftClip):
        return
    total = torch.zeros(2, bottleneck.width, dtype=torch.float64)
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
    heads: Heads,
    inputs: Tensor,
    truth: Tensor | None,
    train: Index,
    config: BottleneckConfig,
    progress: Callable[[int, int], None] | None,
) -> list[float]:
    """Train in place, but for units that are computed; mean loss of every epoch."""
    fixed = bottleneck.linear
    rows = torch.from_numpy(np.asarray(train, np.int64))
    generator = torch.Generator().manual_seed(config.seed)
    owner = owners_of(list(bottleneck.widths.values()))
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


def views_of(features: Features) -> dict[str, str]:
    """Checksum of what made each view, where it is known."""
    sums = dict(features.origins[0].sha256) if len(features.origins) == 1 else {}
    return sums | ({PHYSICS: view_checksum()} if PHYSICS in features.blocks else {})


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
        encoders=views_of(features),
        training=asdict(config),
        data={"train_crystals": len(train), "val_crystals": len(val)},
        figures=outcome.figures,
    )
    return save_bottleneck(outcome.bottleneck, folder, card)
