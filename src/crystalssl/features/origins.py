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

from crystalssl.features.container import UNTRAINED, Origin
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
