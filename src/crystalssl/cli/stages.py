"""Stages of a long run that are done once: skipped when their input and settings are the same.

Used by ``crystalssl run``. Each finished stage leaves ``.stages/<name>.json`` with a digest of its
settings and of what it starts from; a stage with the same digest is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalssl.structures.crystals import Crystals


def crystals_digest(crystals: Crystals) -> str:
    """SHA-256 of the crystals themselves and their labels; file names and times do not matter."""
    digest = hashlib.sha256()
    arrays = (
        crystals.lattice,
        crystals.offsets,
        crystals.frac_coords,
        crystals.numbers,
        crystals.occupancy,
    )
    for array in arrays:
        digest.update(array.tobytes())
    digest.update("\n".join(crystals.ids.tolist()).encode())
    if crystals.columns is not None:
        for name in sorted(crystals.columns.column_names):
            digest.update(f"{name}={crystals.columns[name].to_pylist()!r}".encode())
    return digest.hexdigest()


class Stages:
    """The stages of one run.

    Attributes:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def digest(self, name: str, settings: Mapping[str, Any], after: Sequence[str]) -> str:
        """Digest of a stage: its name, its settings, and the digests of what it starts from."""
        text = json.dumps([name, settings, list(after)], sort_keys=True, default=plain)
        return hashlib.sha256(text.encode()).hexdigest()

    def is_done(self, name: str, digest: str, *outputs: Path) -> bool:
        """Whether a stage is finished with this digest and its outputs are still there."""
        path = self._path(name)
        if not path.is_file() or not all(output.exists() for output in outputs):
            return False
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return False
        return isinstance(record, dict) and record.get("digest") == digest

    def start(self, name: str, digest: str) -> bool:
        """Note that a stage begins.

        Returns:
            Whether the same stage had begun before, so that its checkpoints may be used.
        """
        path = self._path(f"{name}.started")
        again = path.is_file() and path.read_text(encoding="utf-8") == digest
        self._write(path, digest)
        return again

    def finish(self, name: str, digest: str, settings: Mapping[str, Any]) -> None:
        """Note that a stage is complete, with the settings it ran with."""
        record = {"stage": name, "digest": digest, "settings": settings}
        self._write(self._path(name), json.dumps(record, indent=2, default=plain))

    def _path(self, name: str) -> Path:
        return self.folder / ".stages" / f"{name}.json"

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def plain(value: Any) -> Any:
    """A JSON value for a configuration or a path."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
