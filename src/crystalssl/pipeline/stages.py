"""Stages of a long run that are done once: skipped when inputs, settings and outputs are the same.

A finished stage leaves ``.stages/<name>.json``, written last: a digest of its settings and of what
it starts from, and the SHA-256 and size of every file it wrote. A file that another command has
replaced since, or a stage of other settings, is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from crystalssl import __version__
from crystalssl.errors import InputError
from crystalssl.files import describe, read_json, remove, sha256, write_json


class Stages:
    """The stages of one run.

    Attributes:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self.folder = folder

    def digest(self, name: str, settings: Mapping[str, Any], inputs: Sequence[str]) -> str:
        """Digest of a stage: its name, its settings, this version, and digests of its inputs."""
        parts = [name, __version__, settings, list(inputs)]
        text = json.dumps(parts, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()

    def once(
        self,
        name: str,
        settings: Mapping[str, Any],
        inputs: Sequence[str],
        work: Callable[[], Iterable[Path]],
    ) -> bool:
        """Do the work of a stage, unless it is done and its files are those it wrote.

        Args:
            name: name of the stage.
            settings: what shapes its result.
            inputs: digests of what it starts from.
            work: does it, and gives the files and folders it wrote.

        Returns:
            Whether it was done before.
        """
        digest = self.digest(name, settings, inputs)
        if self.is_done(name, digest):
            return True
        self.start(name, digest)
        self.finish(name, digest, settings, work())
        return False

    def is_done(self, name: str, digest: str) -> bool:
        """Whether a stage is finished with this digest and its files are those it wrote."""
        record = self._read(f"{name}.json")
        outputs = record.get("outputs")
        return (
            record.get("digest") == digest
            and isinstance(outputs, dict)
            and len(outputs) > 0
            and all(self._is_same(self.folder / file, mark) for file, mark in outputs.items())
        )

    def start(self, name: str, digest: str) -> None:
        """Note that a stage begins; what was finished under its name no longer counts."""
        remove(self._path(f"{name}.json"))
        write_json({"digest": digest}, self._path(f"{name}.started.json"))

    def is_known(self, name: str) -> bool:
        """Whether a stage of this name ever began here."""
        return self._path(f"{name}.started.json").is_file()

    def finish(
        self, name: str, digest: str, settings: Mapping[str, Any], outputs: Iterable[Path]
    ) -> None:
        """Note that a stage is complete, with its settings and the files it wrote."""
        paths = [path for output in outputs for path in _files(output)]
        marks = describe({path.relative_to(self.folder).as_posix(): path for path in paths})
        plain = json.loads(json.dumps(dict(settings), default=_plain))
        record = {"stage": name, "digest": digest, "settings": plain, "outputs": marks}
        write_json(record, self._path(f"{name}.json"))

    def outcome(self, name: str) -> str:
        """Digest of the files that a finished stage wrote."""
        outputs = self._read(f"{name}.json").get("outputs", {})
        return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()

    def _path(self, name: str) -> Path:
        return self.folder / ".stages" / name

    def _read(self, name: str) -> dict[str, Any]:
        """A record, empty where there is none or it cannot be read."""
        try:
            return read_json(self._path(name))
        except InputError:
            return {}

    @staticmethod
    def _is_same(path: Path, mark: Any) -> bool:
        """Whether a file is byte for byte the one of the record; its size is asked first."""
        return (
            isinstance(mark, dict)
            and path.is_file()
            and path.stat().st_size == mark.get("bytes")
            and sha256(path) == mark.get("sha256")
        )


def _files(output: Path) -> list[Path]:
    """A file, or the files of a folder in order."""
    if output.is_file():
        return [output]
    return sorted(path for path in output.rglob("*") if path.is_file())


def _plain(value: Any) -> Any:
    """A JSON value for a configuration or a path."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
