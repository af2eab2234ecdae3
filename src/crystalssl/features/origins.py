"""The weights that features come from, as features files remember them, and back.

A run that lies in the folder of the features is named relative to it, so that both can be moved
together. Written by ``writing.py``, read by ``store.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crystalssl.features.container import Origin

ORIGINS = "crystalssl.origins"
"""Key of the origins in the metadata of a Parquet file."""


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
