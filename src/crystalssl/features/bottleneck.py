"""Features of all blocks -> as many, or fewer, that mix the views non-linearly.

Trained without labels by ``bottleneck_training.py``: some of its units are linear, so that little a
linear model could read is lost, the others are not, so that it can read more: mixtures through a
GELU, and kernel principal components of the linear ones. It knows the blocks, and the weights of
theirs, that it was trained with; named physics is one more view of most. Stands behind
``extract.py``: what that gives goes in, features of one block named ``bottleneck`` come out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._clipping import bounded
from crystalssl.errors import InputError, unknown_name
from crystalssl.features.extract import one_thread_each
from crystalssl.features.features import PHYSICS, Features
from crystalssl.features.kernel_units import KernelUnits
from crystalssl.features.networks import (
    WIDEST,
    NetworkCard,
    NetworkFiles,
    Standardised,
    load_network,
    read_card,
    save_network,
)
from crystalssl.hub.weights import find_run

BOTTLENECK = "bottleneck"
"""Name of its features, and of its folder in a run."""
CARD_FILE = "bottleneck.json"
"""File name of its card."""
WEIGHTS_FILE = "bottleneck.safetensors"
"""File name of its weights."""
AUTO: str = "auto"
BLOCKS: str = "blocks"
"""Outputs that can be asked for beside the names of bottlenecks."""
MIX_ROWS = 1024
"""Rows mixed at a time."""
FILES = NetworkFiles(CARD_FILE, WEIGHTS_FILE, version=4)
"""Cards of version 3 know no named physics, of version 2 no kernel, of version 1 no bounds; those
from before have no version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BottleneckCard(NetworkCard):
    """What a bottleneck was made from, and how well it does.

    Attributes:
        width: number of features it gives.
        linear: how many units are linear.
        kernel: how many units are kernel principal components of the linear ones.
        landmarks: crystals that the kernel is taken with.
        limit: where features are softly clipped, in standard deviations; 0 for nowhere.
        rotated: whether clipped features are mixed once more.
    """

    width: int
    linear: int
    kernel: int = 0
    landmarks: int = 0
    limit: float = 0.0
    rotated: bool = False


class Bottleneck(Standardised):
    """Standardised features -> mixtures of them, GELU of mixtures, kernel components; bounded.

    Attributes:
        widths: number of features of each view it reads, in order: blocks, then named physics.
        width: number of features it gives.
        linear: how many units are linear; they come first.
        kernel: gives the last units from the linear ones; None if there are none.
        clip: soft clip of the features, statistics those of training crystals.
        rotate: mixes clipped features, so that none is constant for a class of crystals.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,
        linear: int,
        *,
        kernel: int = 0,
        landmarks: int = 0,
        limit: float = 0.0,
        rotated: bool = False,
    ) -> None:
        """Take the shape; statistics and weights come from training.

        Args:
            widths: number of features of each block.
            width: number of features to give.
            linear: how many units are linear.
            kernel: how many are kernel principal components of these.
            landmarks: crystals that the kernel is taken with.
            limit: where features are softly clipped, in standard deviations; 0 for nowhere.
            rotated: whether clipped features are mixed; their number is a power of two then.
        """
        super().__init__(widths)
        self.width, self.linear = width, linear
        self.mix = nn.Linear(sum(self.widths.values()), width - kernel)
        self.kernel = KernelUnits(linear, landmarks, kernel) if kernel else None
        self.clip, self.rotate = bounded(width, limit, rotated)

    @property
    def reads_physics(self) -> bool:
        """Whether named physics is one of its views."""
        return PHYSICS in self.widths

    @property
    def shape(self) -> dict[str, Any]:
        """The fields of its card that say how it is made."""
        landmarks, kernel = (0, 0) if self.kernel is None else self.kernel.project.shape
        return {
            "widths": self.widths,
            "width": self.width,
            "linear": self.linear,
            "kernel": kernel,
            "landmarks": landmarks,
            "limit": getattr(self.clip, "limit", 0.0),
            "rotated": not isinstance(self.rotate, nn.Identity),
        }

    def units(self, standardised: Float[Tensor, "crystal feature"]) -> Tensor:
        """Units of standardised features, as training reads them."""
        mixed = self.mix(standardised)  # (crystal, mixed): linear ones first
        linear, others = mixed[:, : self.linear], mixed[:, self.linear :]
        units = [linear, functional.gelu(others)]
        if self.kernel is not None:
            units.append(self.kernel(linear.detach()))  # landmarks stay where they are
        return torch.cat(units, dim=1)

    def forward(self, standardised: Float[Tensor, "crystal feature"]) -> Tensor:
        """Mixed features of standardised ones."""
        features: Tensor = self.rotate(self.clip(self.units(standardised)))
        return features

    def apply_to(self, features: Features) -> Features:
        """Mixed features of every crystal.

        Rows are mixed ``MIX_ROWS`` at a time, counted from the first, by one thread each: the
        last digits depend on how many are multiplied at once. Rows with NaN give NaN.

        Raises:
            InputError: if the features are not those of the blocks it was trained with.
        """
        check_blocks(self.widths, features)
        mixed = np.full((len(features), self.width), np.nan, np.float32)
        finite = [np.isfinite(values).all(axis=1) for values in features.blocks.values()]
        index = np.flatnonzero(np.logical_and.reduce(finite))

        def mix(start: int) -> None:
            rows = index[start : start + MIX_ROWS]
            matrix = torch.from_numpy(features.take(rows).matrix).to(self.mean)  # (row, feature)
            with torch.inference_mode():  # known to this thread alone
                mixed[rows] = self(self.standardise(matrix)).cpu().numpy()

        with one_thread_each(self.mean.device) as pool:
            list(pool.map(mix, range(0, len(index), MIX_ROWS)))
        return replace(features, blocks={BOTTLENECK: mixed}, names=())


def check_blocks(widths: Mapping[str, int], features: Features) -> None:
    """Make sure that features hold the blocks a bottleneck reads, and no others.

    Raises:
        InputError: if they do not.
    """
    if dict(widths) != features.widths:
        raise InputError(
            f"The bottleneck was trained on the views {_listed(widths)}, the features hold "
            f"{_listed(features.widths)}. Train another with `crystalssl bottleneck FEATURES`."
        )


def save_bottleneck(bottleneck: Bottleneck, folder: Path, card: BottleneckCard) -> BottleneckCard:
    """Write weights and card into a folder; see ``networks.save_network``."""
    return save_network(bottleneck, folder, card, FILES)


def load_card(folder: Path) -> BottleneckCard:
    """Read the card of a bottleneck.

    Raises:
        InputError: if it is missing, damaged, or of a newer version.
        UnknownNameError: if a field does not exist.
    """
    path = Path(folder) / CARD_FILE
    card = read_card(BottleneckCard, path, FILES.version)
    if not (
        all(width > 0 for width in card.widths.values())
        and 0 <= card.linear <= card.linear + card.kernel <= card.width
        and (card.kernel == 0 or 0 < card.kernel <= card.landmarks <= WIDEST)
        and 0 < max(sum(card.widths.values()), card.width) <= WIDEST
        and 0 <= card.limit < math.inf
        and (not card.rotated or card.width & (card.width - 1) == 0)
    ):
        raise InputError(
            f"{path} tells of {_listed(card.widths)} to {card.width} features, {card.linear} "
            "linear, which cannot be. Copy the folder again."
        )
    return card


def load_bottleneck(folder: Path) -> Bottleneck:
    """Read a bottleneck, in evaluation mode.

    Raises:
        InputError: if a file is missing or damaged, the weights are not those of the card, or the
            named physics is not that of this version.
    """
    card = load_card(folder)
    if PHYSICS in card.widths and not _is_current(card.encoders.get(PHYSICS)):
        raise InputError(
            f"{folder} mixes other named physics than this version computes. Train another with "
            "`crystalssl bottleneck FEATURES`."
        )

    def make() -> Bottleneck:
        return Bottleneck(
            card.widths,
            card.width,
            card.linear,
            kernel=card.kernel,
            landmarks=card.landmarks,
            limit=card.limit,
            rotated=card.rotated,
        )

    return load_network(make, Path(folder) / WEIGHTS_FILE, card.sha256)


def _is_current(checksum: str | None) -> bool:
    """Whether a view of named physics is that of this version."""
    from crystalssl.representation.physics.view import view_checksum  # compiled code

    return checksum == view_checksum()


def find_bottlenecks(run: Path) -> dict[str, Path]:
    """Folders of the bottlenecks of a run, by name; none if it was trained without."""
    folders = [card.parent for card in sorted(Path(run).glob(f"*/{CARD_FILE}"))]
    return {folder.name: folder for folder in folders if (folder / WEIGHTS_FILE).is_file()}


def _listed(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({width})" for name, width in widths.items())


def mixed_blocks(folder: Path) -> list[str]:
    """Names of the blocks that a bottleneck mixes, in order."""
    return [name for name in load_card(folder).widths if name != PHYSICS]


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
    there = find_bottlenecks(find_run(run))
    if output == AUTO:
        folder = there.get(BOTTLENECK)
        return folder if folder and mixed_blocks(folder) == list(blocks) else None
    if output not in there:
        raise unknown_name(
            "output", output, [AUTO, BLOCKS, PHYSICS, *there], "crystalssl info weights"
        )
    needed = mixed_blocks(there[output])
    if needed != list(blocks):
        raise InputError(
            f"Output {output!r} mixes the blocks {', '.join(needed)}, in use are "
            f"{', '.join(blocks)}. Take --output {BLOCKS}, or train a bottleneck on these blocks "
            "with `crystalssl bottleneck`."
        )
    return there[output]


def unused_bottleneck(run: Path | str, output: str, blocks: Iterable[str]) -> str:
    """Why ``auto`` leaves the bottleneck of a run out, and what to do; empty if it does not.

    Args:
        run: folder of a run, or the name of bundled weights.
        output: as for :func:`find_output`.
        blocks: names of the blocks in use.
    """
    if output != AUTO:
        return ""
    names = list(blocks)
    folder = find_bottlenecks(find_run(run)).get(BOTTLENECK)
    if folder is None or find_output(run, AUTO, names) is not None:
        return ""
    return (
        f"Not mixed: the bottleneck of {run} reads {', '.join(mixed_blocks(folder))}, in use "
        f"are {', '.join(names)}. For one of these blocks: crystalssl bottleneck FEATURES "
        "--structures STRUCTURES --out RUN --name NAME, then --output NAME."
    )
