"""Features and their structures to a trained bottleneck: what mixes the features of all blocks.

No label is read. A folder in the run comes out, which ``extract`` then uses.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.features import bottleneck_training
from crystalssl.features.bottleneck import BottleneckCard, save_bottleneck
from crystalssl.features.bottleneck_training import BottleneckConfig, settings_of
from crystalssl.features.container import Features
from crystalssl.features.store import load_features
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_folder, limited_threads
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.settings import BOTTLENECK, Settings, check_settings, configured
from crystalssl.pipeline.structures import Split, Structures, find_split, load_canonical
from crystalssl.pipeline.training import build_corpus
from crystalssl.representation.targets import by_kind
from crystalssl.structures.crystals import Crystals


def train_bottleneck(
    features: Features | str | Path,
    structures: Structures,
    out: str | Path,
    *,
    width: int | None = None,
    epochs: int | None = None,
    name: str = BOTTLENECK,
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
        settings: values by section and field; those of ``bottleneck`` are read.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if a structure has no features, or something cannot be read or written.
        UnknownNameError: if there is no such setting.
    """
    check_settings(settings or {})
    config = configured(BottleneckConfig(), (settings or {}).get(BOTTLENECK, {}), BOTTLENECK)
    changes = {"width": width, "epochs": epochs, "seed": seed}
    config = replace(config, **{key: new for key, new in changes.items() if new is not None})
    out = check_folder(out)
    with exclusive(out), limited_threads(threads):
        table = features if isinstance(features, Features) else load_features(Path(features))
        canonical = load_canonical(
            structures, out, strict=strict, symprec=symprec, progress=progress
        )
        split = find_split(canonical.crystals, config.seed)
        rows = _rows_of(table, canonical.crystals)
        corpus = build_corpus(canonical, progress)
        card = train_and_save(table.take(rows), corpus, split, config, out / name, progress)
    scores = ", ".join(f"{block} {r2:.2f}" for block, r2 in card.figures["told"].items())
    progress.note(f"R2 of each block predicted from the others, held-out crystals: {scores}")
    error = card.figures["targets"]
    progress.note(
        f"Crystal-level targets: mean absolute error {error['model']:.3f} standard deviations, "
        f"mean {error['mean']:.3f}"
    )
    progress.note(f"Bottleneck, {counted(card.width, 'feature')}: {out / name}")
    return card


def _rows_of(features: Features, crystals: Crystals) -> npt.NDArray[np.int64]:
    """Row of every crystal among the features.

    Raises:
        InputError: if a crystal has no features.
    """
    index = {str(key): row for row, key in enumerate(features.ids)}
    rows = np.array([index.get(str(key), -1) for key in crystals.ids], dtype=np.int64)
    if len(rows) and rows.min() < 0:
        raise InputError(
            f"{(rows < 0).sum():,} of {len(rows):,} structures have no features, "
            f"{crystals.ids[int(rows.argmin())]!r} first. Give the structures that the features "
            "were extracted from."
        )
    return rows


def train_and_save(
    features: Features,
    corpus: Corpus,
    split: Split,
    config: BottleneckConfig,
    folder: Path,
    progress: Progress,
) -> BottleneckCard:
    """Train a bottleneck on the training rows of a corpus and write it with its card.

    Args:
        features: features of the corpus, row by row.
        corpus: where the crystal-level targets come from.
        split: rows to train on and to hold out.
        config: settings.
        folder: gets weights and card.
        progress: told of epochs.
    """
    with progress.step("Bottleneck") as advance:
        targets = by_kind(corpus.values.numpy())
        outcome = bottleneck_training.train_bottleneck(
            features, targets, split.train, split.val, config, progress=advance
        )
    card = BottleneckCard(
        widths=features.widths,
        width=config.width,
        linear=outcome.bottleneck.linear,
        encoders=features.origins[0].sha256 if len(features.origins) == 1 else {},
        training=settings_of(config),
        data={"train_crystals": len(split.train), "val_crystals": len(split.val)},
        figures=outcome.figures,
    )
    return save_bottleneck(outcome.bottleneck, folder, card)
