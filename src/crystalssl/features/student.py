"""Features of the blocks -> the electronic numbers that a tight binding would give.

A multilayer perceptron with a residual layer or more, taught by ``student_training.py`` on crystals
that the tight binding was run on; no label enters. It stands between the blocks and the one that
reads its predictions, so it lies with the bottleneck rather than among the blocks, and like that
it knows the weights whose features it was taught with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.errors import InputError
from crystalssl.features.networks import (
    ROWS,
    WIDEST,
    NetworkCard,
    NetworkFiles,
    Standardised,
    load_network,
    read_card,
    save_network,
)
from crystalssl.hub.weights import find_run
from crystalssl.representation.electronic.view import QUANTITIES

STUDENT = "student"
"""Name of its folder in a run."""
CARD_FILE = "student.json"
"""File name of its card."""
WEIGHTS_FILE = "student.safetensors"
"""File name of its weights."""
FILES = NetworkFiles(CARD_FILE, WEIGHTS_FILE, version=1)
DEEPEST = 64
"""Residual layers that are believed of a card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentCard(NetworkCard):
    """What a student was taught from, and how well it does.

    Attributes:
        hidden: channels of its hidden layers.
        layers: residual layers behind the first.
        quantities: names of what it predicts, in order; ``figures`` holds ``r2`` of each.
    """

    hidden: int
    layers: int
    quantities: list[str]


class Student(Standardised):
    """Standardised features -> electronic numbers in their units.

    Attributes:
        widths: number of features of each block it reads, in order.
        known: how many quantities it predicts; they come first among all.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    unit: Tensor

    def __init__(self, widths: Mapping[str, int], hidden: int, layers: int, known: int) -> None:
        """Take the shape; statistics and weights come from training.

        Args:
            widths: number of features of each block.
            hidden: channels of its hidden layers.
            layers: residual layers behind the first.
            known: number of quantities to predict.
        """
        super().__init__(widths)
        self.known = known
        self.register_buffer("centre", torch.zeros(known))
        self.register_buffer("unit", torch.ones(known))
        ranges = [(quantity.low, quantity.high) for quantity in QUANTITIES[:known]]
        self.register_buffer("low", torch.tensor([r[0] for r in ranges]), persistent=False)
        self.register_buffer("high", torch.tensor([r[1] for r in ranges]), persistent=False)
        self.enter = nn.Linear(sum(self.widths.values()), hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(layers)])
        self.layers = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(layers)])
        self.last = nn.LayerNorm(hidden)
        self.leave = nn.Linear(hidden, known)

    def standardised(
        self, inputs: Float[Tensor, "crystal feature"], dropout: float = 0.0
    ) -> Float[Tensor, "crystal quantity"]:
        """Predictions in standard deviations, of standardised features."""
        states = functional.gelu(self.enter(inputs))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            step = functional.gelu(layer(norm(states)))
            states = states + functional.dropout(step, dropout, self.training)
        predicted: Tensor = self.leave(self.last(states))
        return predicted

    def forward(self, matrix: Float[Tensor, "crystal feature"]) -> Tensor:
        """(crystal, row) numbers of the electrons, within their ranges; NaN for those of spin."""
        values = self.standardised(self.standardise(matrix)) * self.unit + self.centre
        values = torch.minimum(torch.maximum(values, self.low), self.high)
        return functional.pad(values, (0, len(QUANTITIES) - self.known), value=torch.nan)

    @torch.inference_mode()
    def predict(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(crystal, known) numbers of the electrons, ``ROWS`` crystals at a time, on the CPU."""
        rows = torch.split(torch.from_numpy(matrix), ROWS)
        made = [self.forward(chunk)[:, : self.known].numpy() for chunk in rows]
        return np.concatenate([np.zeros((0, self.known), np.float32), *made])


def save_student(student: Student, folder: Path, card: StudentCard) -> StudentCard:
    """Write weights and card into a folder; see ``networks.save_network``."""
    return save_network(student, folder, card, FILES)


def load_student_card(folder: Path) -> StudentCard:
    """Read the card of a student.

    Raises:
        InputError: if it is missing, damaged, of a newer version, or tells of other quantities.
    """
    path = Path(folder) / CARD_FILE
    card = read_card(StudentCard, path, FILES.version)
    names = [quantity.name for quantity in QUANTITIES[: len(card.quantities)]]
    sizes = [*card.widths.values(), card.hidden]
    if not (
        min(sizes) > 0 and max(sum(card.widths.values()), card.hidden) <= WIDEST
        and 0 <= card.layers <= DEEPEST and card.quantities == names
    ):  # fmt: skip
        raise InputError(
            f"{path} tells of quantities or layers that this version cannot have. Teach the "
            "student again, or copy the folder again."
        )
    return card


def load_student(folder: Path) -> Student:
    """Read a student, in evaluation mode.

    Raises:
        InputError: if a file is missing or damaged, or the weights are not those of the card.
    """
    card = load_student_card(folder)

    def make() -> Student:
        return Student(card.widths, card.hidden, card.layers, len(card.quantities))

    return load_network(make, Path(folder) / WEIGHTS_FILE, card.sha256)


def find_student(run: Path | str) -> Path | None:
    """Folder of the student of a run, or of the blocks of one; None if it has none.

    Raises:
        UnknownNameError: if ``run`` is neither a folder nor a name.
    """
    folder = find_run(run)
    there = [*folder.glob(f"{STUDENT}/{CARD_FILE}"), *folder.glob(f"*/{STUDENT}/{CARD_FILE}")]
    return there[0].parent if there else None


def check_student(card: StudentCard, encoders: Mapping[str, str]) -> str:
    """Why a student cannot be used with some weights; empty if it can.

    Args:
        card: its card.
        encoders: checksum of the weights of each block in use.
    """
    missing = [name for name in card.widths if name not in encoders]
    if missing:
        return f"it reads the features of {', '.join(missing)} too"
    other = [name for name, taught in card.encoders.items() if encoders.get(name) != taught]
    if other:
        return f"it was taught with other weights of {', '.join(other)}"
    return ""
