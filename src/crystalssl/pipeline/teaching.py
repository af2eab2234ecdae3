"""Trained blocks and a corpus to the student that predicts the numbers of the electrons.

Without labels: its targets are computed from the structures. It lies beside the blocks of a run,
and is taught again when one of those whose features it reads has other weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.pipeline.progress import SILENT, Progress, counted

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.splits import Split
    from crystalssl.features.student import StudentCard
    from crystalssl.features.student_training import StudentConfig


def reads_electrons(blocks: Iterable[type[Block]]) -> bool:
    """Whether one of the blocks reads numbers of the electrons."""
    from crystalssl.representation import layout

    return any(block.group == layout.ELECTRONIC for block in blocks)


def with_electrons(
    corpus: Corpus, blocks: Iterable[type[Block]], progress: Progress = SILENT
) -> Corpus:
    """The corpus, with numbers of the electrons where a block reads them."""
    if not reads_electrons(blocks):
        return corpus
    with progress.step("Electrons: tight binding of every crystal"):
        corpus = corpus.with_electrons()
    known = 0 if corpus.electrons is None else int(corpus.electrons.isfinite().any(1).sum())
    if known < len(corpus):
        progress.note(
            f"Electrons of {len(corpus) - known:,} of {counted(len(corpus), 'crystal')} are not "
            "computed: disorder, an element beyond plutonium, or too many sites."
        )
    return corpus


def needs_student(run: Path) -> bool:
    """Whether a run has blocks to read and one that reads, but no student that fits them."""
    from crystalssl.blocks.registry import get_block
    from crystalssl.features.student import check_student, find_student, load_student_card
    from crystalssl.hub.weights import load_cards

    cards = load_cards(run)
    readers = [name for name in cards if reads_electrons([get_block(name)])]
    if not readers or len(readers) == len(cards):
        return False
    folder = find_student(run)
    sums = {name: card.sha256 for name, card in cards.items()}
    return folder is None or check_student(load_student_card(folder), sums) != ""


def teach_student(
    corpus: Corpus, split: Split, run: Path, config: StudentConfig, progress: Progress = SILENT
) -> StudentCard:
    """Teach the student of a run, from the features of all its blocks that do not read electrons.

    Args:
        corpus: crystals, their electrons computed if they are not there.
        split: rows to teach, and rows to hold out.
        run: folder of the blocks; gets the student.
        config: settings.
        progress: told what is done.

    Raises:
        InputError: if there are too few crystals that the tight binding can describe.
    """
    import numpy as np

    from crystalssl.features.block_choice import OFF
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.student import STUDENT
    from crystalssl.features.student_training import teach_and_save

    extractor = ExtractorConfig.of(run, output="blocks", electronic=OFF).extractor()
    numbers = corpus.electrons_of(np.arange(len(corpus))).cpu().numpy()
    with progress.step("Features for the student") as advance:
        features = extractor.features_of(corpus, advance)
    with progress.step("Student") as advance:
        card = teach_and_save(
            features, numbers, (split.train, split.val), config, run / STUDENT, progress=advance
        )
    progress.note(
        f"Student of the electrons: mean R2 {card.figures['mean_r2']:.2f} of "
        f"{len(card.quantities)} quantities, held-out crystals: {run / STUDENT}"
    )
    return card
