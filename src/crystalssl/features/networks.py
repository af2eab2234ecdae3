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
from torch import Tensor, nn

from crystalssl.errors import InputError
from crystalssl.files import atomic_set, check_version, json_text, read_json
from crystalssl.hub.card import record_of
from crystalssl.hub.tensors import pack_tensors, read_tensors

LIMIT = 8.0
"""Standardised features and targets are clipped to plus and minus this."""
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
    content, checksum = pack_tensors(_halved(network.state_dict()))
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
        expected = _halved(make().state_dict())
    state = read_tensors(path, sha256, expected)
    network = make()
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return network.eval()


@torch.no_grad()
def round_matrices(network: nn.Module) -> None:
    """Round matrices to float16, in which they are stored."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.copy_(parameter.half().float())


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as float16, vectors as they are."""
    return {name: t.half() if t.ndim > 1 else t for name, t in state.items()}
