"""The weights that features come from, as features files remember them, and back.

A run that lies in the folder of the features is named relative to it, so that both can be moved
together. Written by ``writing.py``, read by ``store.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crystalssl.blocks.registry import known_blocks, list_blocks
from crystalssl.features.container import UNTRAINED, Features, Origin
from crystalssl.hub.weights import load_cards

ORIGINS = "crystalssl.origins"
"""Key of the origins in the metadata of a Parquet file."""


def origin_of(weights: str | Path, blocks: Iterable[str]) -> Origin:
    """The origin of features made with some blocks of a run.

    Args:
        weights: folder of a run, name of bundled weights, or ``UNTRAINED``.
        blocks: names of the blocks in use.

    Raises:
        InputError: if there is no such run.
    """
    cards = {} if weights == UNTRAINED else load_cards(weights)
    checksums = {name: cards[name].sha256 for name in blocks if name in cards}
    return Origin(weights=str(weights), sha256=checksums)


def blocks_behind(features: Features) -> tuple[str, ...]:
    """Names of the blocks that features come from, in order of their numbers.

    Baselines without training must be of the same blocks. Features of unknown origin are compared
    with all blocks there are.
    """
    named = {name for origin in features.origins for name in origin.sha256} or set(features.blocks)
    known = [block.name for block in known_blocks() if block.name in named]
    return tuple(known or [block.name for block in list_blocks()])


def record_origins(origins: Sequence[Origin], path: Path) -> list[dict[str, Any]]:
    """Origins as JSON, for the features file of a path."""
    recorded = [asdict(origin) for origin in origins]
    for entry in recorded:
        folder = Path(entry["weights"])
        if folder.is_dir():
            folder, home = folder.resolve(), path.parent.resolve()
            inside = folder.is_relative_to(home)
            entry["weights"] = (folder.relative_to(home) if inside else folder).as_posix()
    return recorded


def read_origins(stored: bytes | list[Any] | None, path: Path) -> tuple[Origin, ...]:
    """What :func:`record_origins` made; none for files made elsewhere or by an older version."""
    try:
        entries = json.loads(stored) if isinstance(stored, bytes) else stored or []
        found = [Origin(weights=str(e["weights"]), sha256=dict(e["sha256"])) for e in entries]
    except (KeyError, TypeError, ValueError):
        return ()
    beside = [path.parent / origin.weights for origin in found]
    return tuple(
        Origin(weights=str(folder), sha256=origin.sha256) if folder.is_dir() else origin
        for origin, folder in zip(found, beside, strict=True)
    )
