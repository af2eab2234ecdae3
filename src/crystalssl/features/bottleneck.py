"""Features of all blocks -> as many, or fewer, that mix the views non-linearly.

One wide layer, trained without labels by ``bottleneck_training.py``: some of its units are linear,
so that nothing a linear model could read is lost, the others are not, so that it can read more. It
knows the blocks, and the weights of theirs, that it was trained with. Stands behind ``extract.py``:
what that gives goes in, features of one block named ``bottleneck`` come out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.errors import InputError, unknown_name
from crystalssl.features.container import Features
from crystalssl.files import read_json, write_json
from crystalssl.hub.weights import find_run

BOTTLENECK = "bottleneck"
"""Name of its features, and of its folder in a run."""
CARD_FILE = "bottleneck.json"
"""File name of its card."""
WEIGHTS_FILE = "bottleneck.safetensors"
"""File name of its weights."""
AUTO, BLOCKS = "auto", "blocks"
"""Outputs that can be asked for beside the names of bottlenecks."""
LIMIT = 8.0
"""Standardised features beyond this are brought to it."""
_ROWS = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class BottleneckCard:
    """What a bottleneck was made from, and how well it does.

    Attributes:
        widths: number of features of each block it reads, in order.
        width: number of features it gives.
        linear: how many of them are linear.
        encoders: checksum of the weights of each block; empty where not known.
        training: effective training settings.
        data: counts of crystals.
        figures: held-out figures: how well each block is told from the others, and baselines.
        licence: licence of the weights.
        sha256: checksum of the weights file; filled when saved.
    """

    widths: dict[str, int]
    width: int
    linear: int
    encoders: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    licence: str = "MIT"
    sha256: str = ""


class Bottleneck(nn.Module):
    """Standardised features -> mixtures of them, and GELU of mixtures.

    Attributes:
        widths: number of features of each block it reads, in order.
        linear: how many of its features are linear; they come first.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: Mapping[str, int], width: int, linear: int) -> None:
        """Take the shape; statistics and weights come from training.

        Args:
            widths: number of features of each block.
            width: number of features to give.
            linear: how many of them are linear.
        """
        super().__init__()
        self.widths, self.linear = dict(widths), linear
        total = sum(self.widths.values())
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("scale", torch.ones(total))
        self.mix = nn.Linear(total, width)

    def standardise(self, matrix: Float[Tensor, "crystal feature"]) -> Tensor:
        """Features in units of their spread over the training crystals, limited to ``LIMIT``."""
        scaled: Tensor = ((matrix - self.mean) / self.scale).clamp(-LIMIT, LIMIT)
        return scaled

    def forward(self, standardised: Float[Tensor, "crystal feature"]) -> Tensor:
        """Mixed features of standardised ones."""
        mixed = self.mix(standardised)
        plain, bent = mixed[:, : self.linear], mixed[:, self.linear :]
        return torch.cat([plain, functional.gelu(bent)], dim=1)

    @torch.inference_mode()
    def apply_to(self, features: Features) -> Features:
        """Mixed features of every crystal.

        Raises:
            InputError: if the features are not those of the blocks it was trained with.
        """
        check_blocks(self.widths, features)
        parts = []
        for start in range(0, len(features), _ROWS):
            rows = [features.blocks[name][start : start + _ROWS] for name in self.widths]
            matrix = torch.from_numpy(np.concatenate(rows, axis=1)).to(self.mean)
            parts.append(self(self.standardise(matrix)).cpu().numpy())
        mixed = np.concatenate(parts) if parts else np.zeros((0, self.mix.out_features), np.float32)
        return Features(ids=features.ids, blocks={BOTTLENECK: mixed}, origins=features.origins)


def check_blocks(widths: Mapping[str, int], features: Features) -> None:
    """Make sure that features hold the blocks a bottleneck reads, and no others.

    Raises:
        InputError: if they do not.
    """
    if dict(widths) != features.widths:
        raise InputError(
            f"The bottleneck was trained on the blocks {_listed(widths)}, the features hold "
            f"{_listed(features.widths)}. Train another with `crystalssl bottleneck FEATURES`."
        )


def save_bottleneck(bottleneck: Bottleneck, folder: Path, card: BottleneckCard) -> BottleneckCard:
    """Write weights and card into a folder; the same bottleneck gives the same bytes.

    Mixing weights are stored as float16, to which training has rounded them.

    Returns:
        The card as written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: t.detach().cpu().contiguous().clone() for n, t in bottleneck.state_dict().items()}
    state["mix.weight"] = state["mix.weight"].half()
    content = write_tensors(state)
    fields = {**asdict(card), "sha256": hashlib.sha256(content).hexdigest()}
    partial = folder / f"{WEIGHTS_FILE}.partial"
    partial.write_bytes(content)
    partial.replace(folder / WEIGHTS_FILE)
    # a list: JSON objects have no order, and weights are read in that of the blocks
    write_json({**fields, "widths": list(card.widths.items())}, folder / CARD_FILE)
    return BottleneckCard(**fields)


def load_card(folder: Path) -> BottleneckCard:
    """Read the card of a bottleneck.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = Path(folder) / CARD_FILE
    fields = read_json(path)
    if not isinstance(fields.get("widths"), list):
        raise InputError(f"{path} does not say in which order it reads blocks. Train it anew.")
    try:
        return BottleneckCard(**{**fields, "widths": dict(fields["widths"])})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is no card of a bottleneck ({error}). Train it anew.") from error


def load_bottleneck(folder: Path) -> Bottleneck:
    """Read a bottleneck, in evaluation mode.

    Raises:
        InputError: if a file is missing or damaged.
    """
    card = load_card(folder)
    path = Path(folder) / WEIGHTS_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read the bottleneck {path}: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise InputError(f"{path} is not the file its card describes: copy the folder again.")
    bottleneck = Bottleneck(card.widths, card.width, card.linear)
    try:
        state = {name: tensor.float() for name, tensor in read_tensors(content).items()}
        bottleneck.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} does not fit its card ({error}). Train it anew.") from error
    return bottleneck.eval()


def find_bottlenecks(run: Path) -> dict[str, Path]:
    """Folders of the bottlenecks of a run, by name; none if it was trained without."""
    folders = [card.parent for card in sorted(Path(run).glob(f"*/{CARD_FILE}"))]
    return {folder.name: folder for folder in folders if (folder / WEIGHTS_FILE).is_file()}


def _listed(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({width})" for name, width in widths.items())


def find_output(run: Path | str, output: str, blocks: Iterable[str]) -> Path | None:
    """The bottleneck to send features through, or None for the blocks side by side.

    Args:
        run: folder of a run, or the name of bundled weights.
        output: ``blocks``, the name of a bottleneck of the run, or ``auto``: ``bottleneck`` if
            the run has one and all its blocks are in use.
        blocks: names of the blocks in use.

    Raises:
        InputError: if a named bottleneck reads other blocks.
        UnknownNameError: if there is no such output.
    """
    if output == BLOCKS:
        return None
    found = find_bottlenecks(find_run(run))
    if output == AUTO:
        folder = found.get(BOTTLENECK)
        return folder if folder and list(load_card(folder).widths) == list(blocks) else None
    if output not in found:
        raise unknown_name("output", output, [AUTO, BLOCKS, *found], "crystalssl info weights")
    needed = list(load_card(found[output]).widths)
    if needed != list(blocks):
        raise InputError(
            f"Output {output!r} mixes the blocks {', '.join(needed)}, in use are "
            f"{', '.join(blocks)}. Take --output {BLOCKS}, or train a bottleneck on these blocks "
            "with `crystalssl bottleneck`."
        )
    return found[output]


def unused_bottleneck(run: Path | str, output: str, blocks: Iterable[str]) -> str:
    """Why ``auto`` leaves the bottleneck of a run out, and what to do; empty if it does not.

    Args:
        run: folder of a run, or the name of bundled weights.
        output: as for :func:`find_output`.
        blocks: names of the blocks in use.
    """
    names = list(blocks)
    folder = find_bottlenecks(find_run(run)).get(BOTTLENECK)
    if output != AUTO or folder is None or find_output(run, AUTO, names) is not None:
        return ""
    return (
        f"Not mixed: the bottleneck of {run} reads {', '.join(load_card(folder).widths)}, in use "
        f"are {', '.join(names)}. For one of these blocks: crystalssl bottleneck FEATURES "
        "--structures STRUCTURES --out RUN --name NAME, then --output NAME."
    )
