"""Features of the blocks -> the electronic numbers that a tight binding would give.

A multilayer perceptron with a residual layer or more, taught by ``student_training.py`` on crystals
that the tight binding was run on; no label enters. It stands between the blocks and the one that
reads its predictions, so it lies with the bottleneck rather than among the blocks, and like that
it knows the weights whose features it was taught with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.errors import InputError
from crystalssl.files import atomic_set, check_version, json_text, read_json
from crystalssl.hub.card import record_of
from crystalssl.hub.tensors import pack_tensors, read_tensors
from crystalssl.hub.weights import find_run
from crystalssl.representation.electronic.view import QUANTITIES

STUDENT = "student"
"""Name of its folder in a run."""
CARD_FILE = "student.json"
"""File name of its card."""
WEIGHTS_FILE = "student.safetensors"
"""File name of its weights."""
STUDENT_FORMAT = 1
"""Version of the cards that this package writes."""
LIMIT = 8.0
"""Standardised features and numbers are clipped to plus and minus this."""
WIDEST = 2**20
"""Features, or hidden channels, that are believed of a card."""
DEEPEST = 64
"""Residual layers that are believed of a card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentCard:
    """What a student was taught from, and how well it does.

    Attributes:
        widths: number of features of each block it reads, in order.
        hidden: channels of its hidden layers.
        layers: residual layers behind the first.
        quantities: names of what it predicts, in order.
        encoders: checksum of the weights of each block that it reads.
        training: effective training settings.
        data: counts of crystals.
        figures: ``r2`` of each quantity on held-out crystals, and their mean and median.
        licence: licence of the weights.
        sha256: checksum of the weights file; filled when saved.
    """

    widths: dict[str, int]
    hidden: int
    layers: int
    quantities: list[str]
    encoders: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    licence: str = "MIT"
    sha256: str = ""


class Student(nn.Module):
    """Standardised features -> electronic numbers in their units.

    Attributes:
        widths: number of features of each block it reads, in order.
        known: how many quantities it predicts; they come first among all.
    """

    mean: Tensor
    scale: Tensor
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
        super().__init__()
        self.widths, self.known = dict(widths), known
        total = sum(self.widths.values())
        for name, start, size in (
            ("mean", 0.0, total), ("scale", 1.0, total),
            ("centre", 0.0, known), ("unit", 1.0, known),
        ):  # fmt: skip
            self.register_buffer(name, torch.full((size,), start))
        ranges = [(quantity.low, quantity.high) for quantity in QUANTITIES[:known]]
        self.register_buffer("low", torch.tensor([r[0] for r in ranges]), persistent=False)
        self.register_buffer("high", torch.tensor([r[1] for r in ranges]), persistent=False)
        self.enter = nn.Linear(total, hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(layers)])
        self.layers = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(layers)])
        self.last = nn.LayerNorm(hidden)
        self.leave = nn.Linear(hidden, known)

    def standardise(self, matrix: Float[Tensor, "crystal feature"]) -> Tensor:
        """Features less their mean, in standard deviations of training crystals, clipped."""
        scaled: Tensor = ((matrix - self.mean) / self.scale).clamp(-LIMIT, LIMIT)
        return scaled

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


def save_student(student: Student, folder: Path, card: StudentCard) -> StudentCard:
    """Write weights and card into a folder; the same student gives the same bytes.

    Matrices are stored as float16, to which training has rounded them.

    Returns:
        The card as written.
    """
    content, checksum = pack_tensors(_halved(student.state_dict()))
    card = replace(card, sha256=checksum)
    fields = {**asdict(card), "widths": list(card.widths.items()), "format": STUDENT_FORMAT}
    folder = Path(folder)
    with atomic_set(folder / WEIGHTS_FILE, folder / CARD_FILE) as (weights, described):
        weights.write_bytes(content)
        described.write_text(json_text(fields), encoding="utf-8", newline="\n")
    return card


def load_student_card(folder: Path) -> StudentCard:
    """Read the card of a student.

    Raises:
        InputError: if it is missing, damaged, of a newer version, or tells of other quantities.
    """
    path = Path(folder) / CARD_FILE
    value = read_json(path)
    check_version(value.pop("format", None), STUDENT_FORMAT, path)
    try:
        value["widths"] = {str(name): width for name, width in value["widths"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say in which order it reads blocks. Teach it again."
        ) from error
    card = record_of(StudentCard, value, path)
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
    with torch.device("meta"):  # shapes alone: nothing is allocated for what a card claims
        empty = Student(card.widths, card.hidden, card.layers, len(card.quantities))
    expected = _halved(empty.state_dict())
    state = read_tensors(Path(folder) / WEIGHTS_FILE, card.sha256, expected)
    student = Student(card.widths, card.hidden, card.layers, len(card.quantities))
    student.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return student.eval()


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


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as float16, vectors as they are."""
    return {name: t.half() if t.ndim > 1 else t for name, t in state.items()}
