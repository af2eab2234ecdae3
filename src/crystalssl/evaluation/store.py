"""Units of work that are done once: a stopped evaluation goes on, a re-run does what changed.

A unit is the least that is worth keeping: one feature set with one head on one draw, say. Its key
is a digest of what its result depends on; its rows, and tables or arrays that later units need,
lie in files of that name. A scenario uses it so:

    store = Store(out / ".parts")
    key = store.key("few_shot", {"head": asdict(head), "seed": 0}, data=[sets_digest, split_digest],
                    code=[heads, few_shot])
    part = store.once(key, lambda: Part(rows=compute()))
    store.keep_only(every_key_of_this_run)
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.evaluation.scenario import (
    ScenarioResult,
    installed_versions,
    read_table,
    write_table,
)
from crystalssl.files import read_json, write_json

FOLDER = ".parts"
"""Folder of parts beside the results they are for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Result of one unit of work.

    Attributes:
        rows: tidy rows.
        tables: further tables by a short name, for instance predictions.
        arrays: arrays of numbers by a short name, for instance out-of-fold predictions.
    """

    rows: tuple[ScenarioResult, ...] = ()
    tables: dict[str, pa.Table] = field(default_factory=dict)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


class Store:
    """Parts in a folder, each written whole or not at all.

    Attributes:
        folder: where parts lie; made with the first of them.
        reused: parts that :meth:`once` found so far.
        computed: parts that it had to compute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.reused = 0
        self.computed = 0
        self._versions = installed_versions()
        self._lock = Lock()  # units may be computed side by side
        self._gates: dict[str, Lock] = {}

    def key(
        self,
        scenario: str,
        settings: Mapping[str, Any],
        *,
        data: Sequence[str] = (),
        code: Sequence[ModuleType] = (),
    ) -> str:
        """The scenario's name and a digest of everything that the result of a unit depends on.

        Versions of Python and of the packages in use are always part of it.

        Args:
            scenario: name of the scenario.
            settings: seeds, names, head settings; values of JSON, dataclasses or paths.
            data: digests of labels, rows and matrices (:func:`.scenario.digest`), made once each.
            code: modules whose code makes the result; comments and docstrings do not count.
        """
        text = json.dumps(
            [scenario, settings, list(data), self._versions, [code_digest(m) for m in code]],
            sort_keys=True,
            default=_plain,
        )
        return f"{scenario}-{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"

    def once(self, key: str, compute: Callable[[], Part]) -> Part:
        """The part of a key: as stored, else computed and stored, by one thread alone."""
        with self._lock:
            gate = self._gates.setdefault(key, Lock())
        with gate:
            part = self.get(key)
            made = part is None
            if part is None:
                part = compute()
                self.put(key, part)
        self.count(computed=int(made), reused=int(not made))
        return part

    def count(self, *, computed: int = 0, reused: int = 0) -> None:
        """Count parts, from any thread."""
        with self._lock:
            self.computed += computed
            self.reused += reused

    def has(self, key: str) -> bool:
        """Whether a part is there; used to show what is left to do."""
        return self._index(key).is_file()

    def get(self, key: str) -> Part | None:
        """The part of a key, or None where it is missing or damaged and has to be made again."""
        if not self.has(key):
            return None
        try:
            index = read_json(self._index(key))
            return Part(
                rows=tuple(ScenarioResult(**row) for row in index["rows"]),
                tables={n: read_table(self._file(key, n, "parquet")) for n in index["tables"]},
                arrays={
                    n: np.load(self._file(key, n, "npy"), allow_pickle=False)
                    for n in index["arrays"]
                },
            )
        except (InputError, KeyError, TypeError, ValueError, OSError):
            return None

    def put(self, key: str, part: Part) -> None:
        """Store a part; its index is written last, so that half a part is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, table in part.tables.items():
            write_table(table, self._file(key, name, "parquet"))
        for name, array in part.arrays.items():
            path = self._file(key, name, "npy")
            partial = path.with_name(path.name + ".partial")
            with partial.open("wb") as handle:
                np.save(handle, array, allow_pickle=False)
            partial.replace(path)
        index = {
            "rows": [asdict(row) for row in part.rows],
            "tables": sorted(part.tables),
            "arrays": sorted(part.arrays),
        }
        write_json(index, self._index(key))

    def keep_only(self, keys: Collection[str]) -> int:
        """Remove parts of other keys of the same scenarios: of settings no longer in use.

        Scenarios that share a folder do not touch each other's parts.

        Returns:
            Number of files removed.
        """
        wanted = set(keys)
        scenarios = {key.rsplit("-", 1)[0] for key in wanted}
        old = [
            path
            for path in self.folder.glob("*-*.*")
            if (key := path.name.split(".")[0]) not in wanted and key.rsplit("-", 1)[0] in scenarios
        ]
        for path in old:
            path.unlink()
        return len(old)

    def _index(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _file(self, key: str, name: str, ending: str) -> Path:
        return self.folder / f"{key}.{name}.{ending}"


@lru_cache
def code_digest(module: ModuleType) -> str:
    """Digest of the code of a module, without comments, docstrings and layout."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a text that stands alone is a docstring
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest()


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _plain(value: Any) -> Any:
    """A value of JSON for a dataclass, a number of NumPy or a path."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
