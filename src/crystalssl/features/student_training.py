"""Teaching of a student, without labels: features of the blocks in, electronic numbers out.

What the tight binding gave for each crystal is the target. Quantities count alike, in standard
deviations of the training crystals; errors beyond one count linearly. Used by the pipeline and by
the script that makes the default weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from crystalssl.errors import InputError
from crystalssl.features.features import Features
from crystalssl.features.networks import LIMIT
from crystalssl.features.student import Student, StudentCard, save_student
from crystalssl.hub.halves import round_matrices
from crystalssl.representation.electronic.view import COMMON, QUANTITIES

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentConfig:
    """Settings of a student and its training."""

    hidden: int = 512
    """Channels of the hidden layers."""
    layers: int = 2
    """Residual layers behind the first."""
    epochs: int = 20
    """Passes over the training crystals."""
    least_steps: int = 300
    """Optimizer steps at least; few crystals are passed over more often."""
    batch_size: int = 256
    """Crystals in a batch."""
    learning_rate: float = 1e-3
    """Highest learning rate of Adam, one-cycle."""
    weight_decay: float = 0.05
    """Decoupled weight decay."""
    dropout: float = 0.1
    """Dropout in the residual layers during training."""
    seed: int = 0
    """Seed of weights, batches and dropout."""


def teach(
    features: Features,
    numbers: npt.NDArray[np.float32],
    train: Index,
    val: Index,
    config: StudentConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Student, dict[str, Any]]:
    """Teach a student; the same seed gives the same weights on a CPU.

    Args:
        features: features of n crystals from the blocks that it shall read.
        numbers: (n, row) what the tight binding gave (``representation.electronic.view``), NaN
            in the rows of crystals that it could not describe.
        train: rows to teach; those without numbers are left out.
        val: rows that figures are taken from, likewise.
        config: settings.
        progress: called with epochs done and in all.

    Returns:
        The student, in evaluation mode, matrices rounded to float16; and its figures.

    Raises:
        InputError: if there are too few crystals.
    """
    config = config or StudentConfig()
    truth = torch.from_numpy(np.ascontiguousarray(numbers[:, :COMMON], np.float32))
    matrix = torch.from_numpy(features.matrix)  # (crystal, feature)
    usable = (truth.isfinite().all(1) & matrix.isfinite().all(1)).numpy()
    train, val = train[usable[train]], val[usable[val]]
    if len(train) < 2 or not len(val):
        raise InputError(
            f"Got {len(train)} crystals with electronic numbers to teach and {len(val)} to "
            "validate with; expected at least 2 and 1."
        )
    torch.manual_seed(config.seed)
    student = Student(features.widths, config.hidden, config.layers, COMMON)
    student.centre.copy_(truth[train].mean(0))
    std = truth[train].std(0)
    student.unit.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
    inputs = student.fit(matrix, torch.from_numpy(train))
    targets = ((truth - student.centre) / student.unit).clamp(-LIMIT, LIMIT)
    losses = _fit(student, inputs, targets, train, config, progress)
    round_matrices(student)
    r2 = _r2(student.eval(), inputs[val], targets[val])
    figures = {
        "losses": losses,
        "r2": {q.name: round(value, 4) for q, value in zip(QUANTITIES, r2, strict=False)},
        "mean_r2": float(np.mean(r2)),
        "median_r2": float(np.median(r2)),
        "train_crystals": len(train),
        "val_crystals": len(val),
    }
    return student, figures


def _fit(
    student: Student,
    inputs: Tensor,
    targets: Tensor,
    train: Index,
    config: StudentConfig,
    progress: Callable[[int, int], None] | None,
) -> list[float]:
    """Train in place; mean loss of every epoch."""
    rows = torch.from_numpy(np.asarray(train, np.int64))
    generator = torch.Generator().manual_seed(config.seed)
    size = min(config.batch_size, len(rows))
    batches = len(rows) // size
    epochs = max(config.epochs, -(-config.least_steps // batches))
    optimizer = torch.optim.AdamW(
        student.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(2, epochs * batches + 1)
    )
    losses = []
    student.train()
    for epoch in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator)]
        total = 0.0
        for batch in order[: batches * size].view(batches, size):
            predicted = student.standardised(inputs[batch], config.dropout)
            loss = functional.smooth_l1_loss(predicted, targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
        if progress is not None:
            progress(epoch + 1, epochs)
    return losses


@torch.inference_mode()
def _r2(student: Student, inputs: Tensor, truth: Tensor) -> npt.NDArray[np.float64]:
    """(quantity,) R2 of each on held-out crystals; 0 is their mean."""
    residual = (student.standardised(inputs) - truth).square().sum(0)
    total = (truth - truth.mean(0)).square().sum(0).clamp_min(1e-9)
    r2: npt.NDArray[np.float64] = (1 - residual / total).double().numpy()
    return r2


def teach_and_save(
    features: Features,
    numbers: npt.NDArray[np.float32],
    rows: tuple[Index, Index],
    config: StudentConfig,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> StudentCard:
    """Teach a student and write it with its card.

    Args:
        features: as in :func:`teach`; their origin says which weights it fits.
        numbers: as in :func:`teach`.
        rows: rows to teach, and rows to hold out.
        config: settings.
        folder: gets weights and card.
        progress: called with epochs done and in all.
    """
    student, figures = teach(features, numbers, *rows, config, progress=progress)
    origin = features.origins[0].sha256 if len(features.origins) == 1 else {}
    card = StudentCard(
        widths=features.widths,
        hidden=config.hidden,
        layers=config.layers,
        quantities=[quantity.name for quantity in QUANTITIES[: student.known]],
        encoders={name: origin[name] for name in features.widths if name in origin},
        training=asdict(config),
        data={name: figures.pop(name) for name in ("train_crystals", "val_crystals")},
        figures=figures,
    )
    return save_student(student, folder, card)
