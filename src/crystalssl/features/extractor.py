"""From the name of weights to what turns canonical crystals into features.

An :class:`ExtractorConfig` is small and travels to worker processes; its :class:`Extractor` holds
the encoders and, where features are to be mixed, the bottleneck behind them. Used by ``stream.py``,
the command line and the adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import resolve_blocks
from crystalssl.config import SYMPREC
from crystalssl.devices import choose_device
from crystalssl.errors import InputError
from crystalssl.features.block_choice import (
    CRYSTAL,
    ELECTRONIC_WAYS,
    asks_for_sites,
    readers_of_electrons,
    way_to_electrons,
    with_sites,
    without_electrons,
)
from crystalssl.features.bottleneck import (
    AUTO,
    BLOCKS,
    find_output,
    load_bottleneck,
    load_card,
)
from crystalssl.features.encoding import Extractor
from crystalssl.features.features import PHYSICS, origin_of
from crystalssl.features.physics import TAUGHT, physics_checksum
from crystalssl.features.student import (
    check_student,
    find_student,
    load_student,
    load_student_card,
)
from crystalssl.hub.weights import load_cards, load_run, run_folders


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractorConfig:
    """What turns structures into features.

    Attributes:
        weights: folder of a run, or the name of bundled weights.
        blocks: names of the blocks to use; all that there are if empty.
        symprec: tolerance of the symmetry search in angstrom.
        device: where encoders run; a CUDA GPU if there is one by default.
        output: ``auto``, ``blocks``, the name of a bottleneck (``bottleneck.find_output``), or
            ``physics``, which needs no weights unless the electrons are taught.
        electronic: a key of ``ELECTRONIC_WAYS``.
        level: ``crystal``, or ``site`` for blocks with states of sites alone.
        pool: how these are pooled (``sites.POOLS``); None for what blocks make of them.
    """

    weights: str = "default"
    blocks: tuple[str, ...] = ()
    symprec: float = SYMPREC
    device: str | None = None
    output: str = AUTO
    electronic: str = TAUGHT
    level: str = CRYSTAL
    pool: str | None = None

    @staticmethod
    def of(
        weights: str | Path,
        block: str | Sequence[str | int] = "all",
        *,
        output: str = AUTO,
        symprec: float = SYMPREC,
        device: str | None = None,
        electronic: str = AUTO,
        level: str = CRYSTAL,
        pool: str | None = None,
    ) -> ExtractorConfig:
        """From what a user named; folders by absolute path, for worker processes too.

        Args:
            weights: folder of a run, or the name of bundled weights.
            block: all, or names and numbers of blocks.
            output: as the attribute.
            symprec: as the attribute.
            device: as the attribute.
            electronic: as the attribute, or ``auto``.
            level: as the attribute.
            pool: as the attribute.

        Raises:
            InputError: if there are no such weights, they lack a block, or there is no student
                that can predict the electrons for these blocks.
            UnknownNameError: if there is no such block, level, pooling or way to the electrons.
        """
        asks_for_sites(level, pool, output)  # what cannot be, before weights are looked at
        electronic = way_to_electrons(electronic, output, weights)
        if output == PHYSICS and electronic != TAUGHT:
            return ExtractorConfig(
                symprec=symprec, device=device, output=output, electronic=electronic
            )
        there = run_folders(weights)
        wanted = list(there) if block == "all" else [entry.name for entry in resolve_blocks(block)]
        missing = [name for name in wanted if name not in there]
        if missing:
            raise InputError(
                f"{weights} holds no weights of {', '.join(missing)}; it holds {', '.join(there)}. "
                "Choose among these with --block (blocks=), or pre-train the others."
            )
        source = str(Path(weights).resolve()) if Path(weights).is_dir() else str(weights)
        config = ExtractorConfig(
            weights=source, blocks=without_electrons(wanted, electronic), symprec=symprec,
            device=device, output=output, electronic=electronic,
        ).of_sites(level, pool)  # fmt: skip
        config.student_folder()
        return config

    def of_sites(self, level: str, pool: str | None) -> ExtractorConfig:
        """The same for states of sites, with the blocks that have them, if they are asked for.

        Args:
            level: as the attribute.
            pool: as the attribute.

        Raises:
            InputError, UnknownNameError: as ``asks_for_sites`` and ``with_sites``.
        """
        if not asks_for_sites(level, pool, self.output):
            return self
        blocks = with_sites(self.blocks or tuple(run_folders(self.weights)))
        return replace(self, blocks=blocks, output=BLOCKS, level=level, pool=pool)

    def encoders(self) -> dict[str, Block]:
        """The trained blocks.

        Raises:
            InputError: as ``hub.weights.load_run``.
            UnknownNameError: if the weights lack a block.
        """
        sums = tuple(card.sha256 for card in load_cards(self.weights).values())
        return dict(_loaded(self.weights, self._names(), sums))

    def checksums(self) -> list[str]:
        """Checksums of the weights in use, those of student and bottleneck last."""
        if self.output == PHYSICS:
            return self._physics_checksums()
        encoders = self.encoders()
        sums = [card.sha256 for name, card in load_cards(self.weights).items() if name in encoders]
        student = self.student_folder()
        if student is not None:
            sums.append(load_student_card(student).sha256)
        folder = find_output(self.weights, self.output, encoders)
        return sums if folder is None else [*sums, load_card(folder).sha256]

    def labels(self) -> str:
        """Property whose labels the encoders in use were trained on; empty for label-free ones."""
        if self.output == PHYSICS and self.electronic != TAUGHT:
            return ""
        cards, names = load_cards(self.weights), self._names()
        return ", ".join(
            dict.fromkeys(c.labels for n, c in cards.items() if n in names and c.labels)
        )

    def _physics_checksums(self) -> list[str]:
        """Of the names of the numbers, and of all that predicts those of the electrons."""
        sums = [physics_checksum(self.electronic)]
        folder = self.student_folder()
        if folder is not None:
            card = load_student_card(folder)
            sums += [*card.encoders.values(), card.sha256]
        return sums

    def _names(self) -> tuple[str, ...]:
        """Names of the blocks in use."""
        if self.output == PHYSICS:  # those that a student reads
            readers = readers_of_electrons() if self.electronic == TAUGHT else set()
            names = self.blocks or tuple(run_folders(self.weights)) if readers else ()
            return tuple(name for name in names if name not in readers)
        return without_electrons(self.blocks or tuple(run_folders(self.weights)), self.electronic)

    def student_folder(self) -> Path | None:
        """The student that predicts the electrons; None if no block reads them, or not from one.

        Raises:
            InputError: if there is none that can.
            UnknownNameError: if there is no such way to the electrons.
        """
        names = self._names()
        readers = readers_of_electrons()
        if self.output != PHYSICS:
            readers = readers.intersection(names)
        if not readers or self.electronic != TAUGHT:
            return None
        folder = find_student(self.weights)
        sums = {n: card.sha256 for n, card in load_cards(self.weights).items() if n in names}
        why = "there is none"
        if folder is not None:
            why = check_student(load_student_card(folder), sums)
        if why:
            raise InputError(
                f"No student of {self.weights} can predict what block {', '.join(readers)} reads "
                f"beside {', '.join(n for n in names if n not in readers) or 'no other'}: {why}. "
                "Take --electronic exact (electronic='exact') to compute it, or off to leave the "
                "block out; `crystalssl pretrain` of all blocks teaches a student."
            )
        return folder

    def extractor(self) -> Extractor:
        """Encoders with what follows them.

        Raises:
            InputError: as ``encoders`` and ``bottleneck.find_output``, or if there is no such
                device.
            UnknownNameError: if there is no such block or output.
        """
        choose_device(self.device)
        if self.output == PHYSICS:
            folder = self.student_folder()
            return Extractor(
                encoders={} if folder is None else self.encoders(),
                bottleneck=None,
                electrons=None if folder is None else load_student(folder),
                origins=(),
                device=self.device,
                physics=self.electronic,
            )
        encoders = self.encoders()
        folder = find_output(self.weights, self.output, encoders)
        student = self.student_folder()
        level = ELECTRONIC_WAYS[self.electronic]
        return Extractor(
            encoders=encoders,
            bottleneck=None if folder is None else load_bottleneck(folder),
            electrons=level if student is None else load_student(student),
            origins=(origin_of(self.weights, encoders),),
            device=self.device,
            pool=self.pool,
        )


@lru_cache(maxsize=1)
def _loaded(weights: str, blocks: tuple[str, ...], sums: tuple[str, ...]) -> dict[str, Block]:
    """Trained blocks, read once for all the tables of a process, or when checksums change."""
    return load_run(weights, blocks)
