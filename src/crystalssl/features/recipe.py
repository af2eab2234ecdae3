"""From the name of weights to what turns canonical crystals into features.

A :class:`Recipe` is small and travels to worker processes; its :class:`Extractor` holds the
encoders and, where features are to be mixed, the bottleneck behind them. Used by ``stream.py``,
the command line and the adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.features.bottleneck import (
    AUTO,
    BOTTLENECK,
    Bottleneck,
    find_output,
    load_bottleneck,
    load_card,
)
from crystalssl.features.container import Features, Origin
from crystalssl.features.extract import extract
from crystalssl.features.origins import origin_of
from crystalssl.hub.weights import load_cards, load_run
from crystalssl.structures.canonical import SYMPREC, CanonicalResult
from crystalssl.structures.crystals import Crystals


@dataclass(frozen=True, kw_only=True, slots=True)
class Extractor:
    """Canonical crystals to features.

    Attributes:
        encoders: block of each name.
        bottleneck: what mixes their features, or None.
        origins: the weights in use.
        device: where to compute; a CUDA GPU if there is one by default.
    """

    encoders: Mapping[str, Block]
    bottleneck: Bottleneck | None
    origins: tuple[Origin, ...]
    device: str | None

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each block, or of the bottleneck."""
        if self.bottleneck is not None:
            return {BOTTLENECK: self.bottleneck.mix.out_features}
        return {name: block.width for name, block in self.encoders.items()}

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(self.widths.values())

    def features_of(
        self,
        source: CanonicalResult | Corpus | Crystals,
        progress: Callable[[int, int], None] | None = None,
    ) -> Features:
        """Features of every crystal, in order."""
        found = extract(
            source, self.encoders, device=self.device, origins=self.origins, progress=progress
        )
        return found if self.bottleneck is None else self.bottleneck.apply_to(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What turns structures into features.

    Attributes:
        weights: folder of a run, or the name of bundled weights.
        blocks: names of the blocks to use; all that there are if empty.
        symprec: tolerance of the symmetry search in angstrom.
        device: where encoders run; a CUDA GPU if there is one by default.
        output: ``auto``, ``blocks``, or the name of a bottleneck (``bottleneck.find_output``).
    """

    weights: str = "default"
    blocks: tuple[str, ...] = ()
    symprec: float = SYMPREC
    device: str | None = None
    output: str = AUTO

    def encoders(self) -> dict[str, Block]:
        """The trained blocks.

        Raises:
            InputError: as ``hub.weights.load_run``.
            UnknownNameError: if the weights lack a block.
        """
        sums = tuple(card.sha256 for card in load_cards(self.weights).values())
        return dict(_loaded(self.weights, self.blocks, sums))

    def checksums(self) -> list[str]:
        """Checksums of the weights in use, those of the bottleneck last."""
        encoders = self.encoders()
        sums = [card.sha256 for name, card in load_cards(self.weights).items() if name in encoders]
        folder = find_output(self.weights, self.output, encoders)
        return sums if folder is None else [*sums, load_card(folder).sha256]

    def extractor(self) -> Extractor:
        """Encoders with what follows them.

        Raises:
            InputError: as ``encoders`` and ``bottleneck.find_output``.
            UnknownNameError: if there is no such block or output.
        """
        encoders = self.encoders()
        folder = find_output(self.weights, self.output, encoders)
        return Extractor(
            encoders=encoders,
            bottleneck=None if folder is None else load_bottleneck(folder),
            origins=(origin_of(self.weights, encoders),),
            device=self.device,
        )


@lru_cache(maxsize=1)
def _loaded(weights: str, blocks: tuple[str, ...], sums: tuple[str, ...]) -> dict[str, Block]:
    """Trained blocks, read once for all the tables of a process; anew when their sums change."""
    return load_run(weights, blocks)
