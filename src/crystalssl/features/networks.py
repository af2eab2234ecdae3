"""Networks behind the encoders, bottleneck and student, as files: a card and its weights.

Both read features of some blocks in a fixed order and know the weights that these came from.
``bottleneck.py`` and ``student.py`` add what is their own to card and network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crystalssl.errors import InputError
from crystalssl.files import atomic_set, check_version, json_text, read_json
from crystalssl.hub.card import record_of
from crystalssl.hub.halves import halved
from crystalssl.hub.tensors import pack_tensors, read_tensors

LIMIT = 8.0
"""Standardised features and targets are clipped to plus and minus this."""
ROWS = 4096
"""Rows that are standardised at a time."""
WIDEST = 2**20
"""Features of all blocks together, or channels, that are believed of a card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkCard:
    """What a network was made from, and how well it does.

    Attributes:
        widths: number of features of each block it reads, in order.
        encoders: checksum of the weights of each block; empty where not known.
        training: effective training settings.
        data: counts of crystals.
        figures: figures on held-out crystals.
        licence: licence of the weights.
        sha256: checksum of the weights file; filled when saved.
    """

    widths: dict[str, int]
    encoders: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    licence: str = "MIT"
    sha256: str = ""


Card = TypeVar("Card", bound=NetworkCard)
Network = TypeVar("Network", bound=nn.Module)


class NetworkFiles(NamedTuple):
    """Names of the two files of a network, and the version of the cards that are written."""

    card: str
    weights: str
    version: int


def save_network(network: nn.Module, folder: Path, card: Card, files: NetworkFiles) -> Card:
    """Write weights and card into a folder; the same network gives the same bytes.

    Matrices are stored as float16, to which training has rounded them.

    Returns:
        The card as written.
    """
    content, checksum = pack_tensors(halved(network.state_dict()))
    card = replace(card, sha256=checksum)
    # a list: JSON objects have no order, and weights are read in that of the blocks
    fields = {**asdict(card), "widths": list(card.widths.items()), "format": files.version}
    folder = Path(folder)
    with atomic_set(folder / files.weights, folder / files.card) as (weights, described):
        weights.write_bytes(content)
        described.write_text(json_text(fields), encoding="utf-8", newline="\n")
    return card


def read_card(kind: type[Card], path: Path, version: int) -> Card:
    """Read a card.

    Args:
        kind: class of the card.
        path: its file.
        version: newest version that is read.

    Raises:
        InputError: if it is missing, damaged, or of a newer version.
        UnknownNameError: if a field does not exist.
    """
    value = read_json(path)
    check_version(value.pop("format", None), version, path)
    try:
        value["widths"] = {str(name): width for name, width in value["widths"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say in which order it reads blocks. Train it again."
        ) from error
    return record_of(kind, value, path)


def load_network(make: Callable[[], Network], path: Path, sha256: str) -> Network:
    """Read the weights of a network, in evaluation mode.

    Args:
        make: makes it, as its card says.
        path: file of its weights.
        sha256: their checksum.

    Raises:
        InputError: if the file is missing or damaged, or the weights are not those of the card.
    """
    with torch.device("meta"):  # shapes alone: nothing is allocated for what a card claims
        expected = halved(make().state_dict())
    state = read_tensors(path, sha256, expected)
    network = make()
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return network.eval()


class Standardised(nn.Module):
    """What both networks do first: features less their mean, in standard deviations, clipped."""

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Take the number of features of each block; statistics come from training crystals."""
        super().__init__()
        self.widths = dict(widths)
        total = sum(self.widths.values())
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("scale", torch.ones(total))

    def standardise(self, matrix: Float[Tensor, "crystal feature"]) -> Tensor:
        """Features less their mean, in standard deviations of training crystals, clipped."""
        scaled: Tensor = ((matrix - self.mean) / self.scale).clamp(-LIMIT, LIMIT)
        return scaled

    @torch.no_grad()
    def fit(self, matrix: Float[Tensor, "crystal feature"], rows: Int[Tensor, "row"]) -> Tensor:
        """Take the statistics of some rows, and standardise all of them in place.

        A corpus of features is a gigabyte: there is no copy of it.
        """
        mean, std = moments_of(matrix, rows)
        self.mean.copy_(mean)
        self.scale.copy_(std + 1e-6)
        for chunk in torch.split(matrix, ROWS):
            chunk.sub_(self.mean).div_(self.scale).clamp_(-LIMIT, LIMIT)
        return matrix


@torch.no_grad()
def moments_of(
    matrix: Float[Tensor, "row column"], rows: Int[Tensor, "chosen"]
) -> tuple[Float[Tensor, "column"], Float[Tensor, "column"]]:
    """Mean and standard deviation of some rows, a few thousand at a time."""
    first = matrix[rows[:ROWS]].double().mean(0)  # near the mean: squares do not cancel
    total = torch.zeros(2, matrix.shape[1], dtype=torch.float64)
    for chunk in torch.split(rows, ROWS):
        values = matrix[chunk].double() - first
        total += torch.stack([values.sum(0), values.square().sum(0)])
    mean, square = total / len(rows)
    std = ((square - mean**2).clamp_min(0) * len(rows) / max(len(rows) - 1, 1)).sqrt()
    return (mean + first).float(), std.float()
