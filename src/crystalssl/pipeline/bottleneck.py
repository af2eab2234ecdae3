"""Features of all blocks to a bottleneck that mixes them, without labels.

In the folder of a run a bottleneck gets a folder of its own; ``extract`` chooses it by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.config import Settings, configured
from crystalssl.errors import InputError
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_folder
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import load_canonical
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    from crystalssl.datasets.load import Structures
    from crystalssl.features.bottleneck import BottleneckCard
    from crystalssl.features.features import Features
    from crystalssl.structures.crystals import Crystals
from crystalssl.pipeline.training import plan_training


def train_bottleneck(
    features: Features | str | Path,
    structures: Structures,
    out: str | Path,
    *,
    width: int | None = None,
    epochs: int | None = None,
    name: str = "bottleneck",
    settings: Settings | None = None,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> BottleneckCard:
    """Train a network that mixes the features of all blocks, without labels.

    Args:
        features: features of all blocks (``extract(..., output="blocks")``), or their file.
        structures: what they were extracted from; labels are not read.
        out: folder of the run; gets a folder ``name``.
        width: number of features to give.
        epochs: passes over the training crystals.
        name: name it is chosen by.
        settings: values by section and setting; those of ``bottleneck`` are read.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if a structure has no features, or something cannot be read or written.
        UnknownNameError: if there is no such setting.
    """
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.splits import find_split
    from crystalssl.features.bottleneck_training import train_and_save
    from crystalssl.features.features import Features
    from crystalssl.features.physics import with_view
    from crystalssl.features.store import load_features
    from crystalssl.representation.targets import by_kind

    config = plan_training(settings=settings).bottleneck
    changes = {"width": width, "epochs": epochs, "seed": seed}
    config = configured(config, {k: v for k, v in changes.items() if v is not None}, "bottleneck")
    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        table = features if isinstance(features, Features) else load_features(Path(features))
        canonical = load_canonical(
            structures, folder, strict=strict, symprec=symprec, progress=progress
        )
        split = find_split(canonical.crystals, config.seed)
        table = table.take(rows_of(table, canonical.crystals))
        with progress.step("Building neighbour graphs and lattice points"):
            corpus = Corpus.from_crystals(canonical)
            targets = by_kind(corpus.values.numpy())
            if config.named_physics:
                table = with_view(table, corpus)
        with progress.step("Bottleneck") as advance:
            rows = split.train, split.val
            card = train_and_save(table, targets, rows, config, folder / name, progress=advance)
    scores = ", ".join(f"{block} {r2:.2f}" for block, r2 in card.figures["told"].items())
    progress.note(f"R2 of each block predicted from the others, held-out crystals: {scores}")
    error = card.figures["targets"]
    progress.note(
        f"Crystal-level targets: mean absolute error {error['model']:.3f} standard deviations, "
        f"mean {error['mean']:.3f}"
    )
    progress.note(f"Bottleneck, {counted(card.width, 'feature')}: {folder / name}")
    return card


def rows_of(features: Features, crystals: Crystals) -> list[int]:
    """Row of every crystal among the features.

    Raises:
        InputError: if a crystal has no features.
    """
    index = {str(key): row for row, key in enumerate(features.ids)}
    missing = [str(key) for key in crystals.ids if str(key) not in index]
    if missing:
        raise InputError(
            f"{len(missing):,} of {counted(len(crystals), 'structure')} have no features, "
            f"{missing[0]!r} first. Give the structures that the features were extracted from."
        )
    return [index[str(key)] for key in crystals.ids]
