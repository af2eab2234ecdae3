"""Arrays that are computed once: a stopped evaluation goes on, a second one does what changed.

The key of an entry is a digest of what its arrays depend on: settings, input data, versions of
packages, and the source of the code that runs together with all that it imports of this package,
however many imports away. The only cache of the evaluation; used by fits.py and data.py.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.files import atomic

FOLDER = ".cache"
"""Folder of the cache beside the results it is for."""
PACKAGES = (
    "crystalssl",
    "numpy",
    "scipy",
    "pyarrow",
    "torch",
    "scikit-learn",
    "matminer",
    "lightgbm",
    "shap",
)
"""Packages whose versions are recorded, where installed."""
_PARSING = Lock()
ROOT = Path(__file__).parents[1]
"""Folder of this package."""
DIGEST_ROWS = 4096
"""Rows of a view that are copied at a time for its digest."""

Arrays = dict[str, npt.NDArray[Any]]


class Cache:
    """Named arrays in a folder, an entry a file, each written whole or not at all.

    Attributes:
        folder: where entries lie, made with the first of them; None keeps them in memory.
        shared: whether several scenarios use the folder; then nothing is ever removed.
        reused: fits that were there already.
        computed: fits that had to be made.
    """

    def __init__(self, folder: str | Path | None = None, *, shared: bool = False) -> None:
        self.folder = None if folder is None else Path(folder)
        self.shared = shared
        self.reused = 0
        self.computed = 0
        self._versions = installed_versions()
        self._memory: dict[str, Arrays] = {}
        self._lock = RLock()  # fits run side by side in threads
        self._gates: dict[str, RLock] = {}

    def key(
        self,
        kind: str,
        settings: Mapping[str, Any],
        *,
        data: Sequence[str] = (),
        code: Sequence[str] = (),
    ) -> str:
        """The kind of entry and a digest of everything that its arrays depend on.

        Args:
            kind: what the entry holds, or the scenario that it belongs to.
            settings: seeds, names, settings of heads; values of JSON, dataclasses or paths.
            data: digests of labels, rows and matrices (:func:`digest`), made once each.
            code: names of modules whose code, imports included, makes the arrays.
        """
        text = json.dumps(
            [kind, settings, list(data), self._versions, code_digest(tuple(code))],
            sort_keys=True,
            default=_plain,
        )
        return f"{kind}-{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"

    def get(self, key: str) -> Arrays | None:
        """The arrays of a key, or None where they are missing or damaged."""
        if self.folder is None:
            return self._memory.get(key)
        try:
            with (
                self._path(key).open("rb") as handle,  # np.load would leave a damaged file open
                np.load(handle, allow_pickle=False) as stored,
            ):
                return dict(stored)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def put(self, key: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Store the arrays of a key."""
        if self.folder is None:
            self._memory[key] = {name: np.asarray(array) for name, array in arrays.items()}
            return
        with atomic(self._path(key)) as aside, aside.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]  # names are ours, no flag of savez

    def once(self, key: str, compute: Callable[[], Mapping[str, npt.ArrayLike]]) -> Arrays:
        """The arrays of a key: as stored, else computed and stored, by one thread alone."""
        with self.gate(key):
            arrays = self.get(key)
            if arrays is None:
                self.put(key, compute())
                arrays = self.get(key)
        if arrays is None:
            raise InputError(f"Cannot read back {self._path(key)}; is the disk full?")
        return arrays

    @contextmanager
    def gate(self, name: str) -> Iterator[None]:
        """Let one thread at a time work under a name."""
        with self._lock:
            gate = self._gates.setdefault(name, RLock())
        with gate:
            yield

    def count(self, *, computed: int = 0, reused: int = 0) -> None:
        """Count fits, from any thread."""
        with self._lock:
            self.computed += computed
            self.reused += reused

    def keep_only(self, keys: Collection[str], kind: str) -> int:
        """Remove entries of a kind under other keys; of a shared folder none.

        Returns:
            Number of entries removed.
        """
        if self.folder is None or self.shared:
            return 0
        old = [path for path in self.folder.glob(f"{kind}-*.npz") if path.stem not in keys]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, key: str) -> Path:
        return (self.folder or Path()) / f"{key}.npz"


@lru_cache
def code_digest(modules: tuple[str, ...], root: Path = ROOT) -> str:
    """Digest of the code of modules and of all that they import, directly or through others.

    Comments, docstrings and layout do not count.

    Args:
        modules: full names; those outside the package of ``root`` are passed over.
        root: folder of the package.
    """
    state = hashlib.blake2b(digest_size=16)
    for name, path in sorted(import_closure(modules, root).items()):
        state.update(f"{name} {_source_digest(path)}".encode())
    return state.hexdigest()


def import_closure(modules: Iterable[str], root: Path = ROOT) -> dict[str, Path]:
    """Source files of modules of one package, and of those they import, however many steps away.

    Imports inside functions count, those for type checking alone do not.
    """
    files: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root)
        if path is not None and name not in files:
            files[name] = path
            waiting += [*_imports(name, path), name.rpartition(".")[0]]
    return files


def _file_of(name: str, root: Path) -> Path | None:
    """Source of a module of the package, None for anything else."""
    first, *rest = name.split(".")
    if first != root.name:
        return None
    base = root.joinpath(*rest)
    candidates = [base / "__init__.py", base.with_suffix(".py")]
    return next((path for path in candidates if path.is_file()), None)


def _parsed(path: Path) -> ast.Module:
    """Syntax tree of a source file; two threads that parse at once fail in Python 3.11 and 3.12."""
    with _PARSING:
        return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache
def _imports(name: str, path: Path) -> tuple[str, ...]:
    """Names that a module may import: modules, and modules with a name from them behind."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names: list[str] = []
    waiting: list[ast.AST] = [_parsed(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        waiting += ast.iter_child_nodes(node)
    return tuple(names)


@lru_cache
def _source_digest(path: Path) -> str:
    """Digest of a source file without comments, docstrings and layout."""
    tree = _parsed(path)
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


def installed_versions() -> dict[str, str]:
    """Versions of Python and of ``PACKAGES``, where installed."""
    known: dict[str, str] = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            known[name] = metadata.version(name)
    return {"python": platform.python_version(), **known}


def digest(values: Iterable[npt.NDArray[Any] | str]) -> str:
    """Hexadecimal digest of arrays and texts, in order."""
    state = hashlib.blake2b(digest_size=16)
    for value in values:
        if isinstance(value, str):
            state.update(value.encode())
            continue
        state.update(f"{value.dtype}{value.shape}".encode())
        # a view is copied a few rows at a time
        step = max(1, len(value) if value.flags.c_contiguous else DIGEST_ROWS)
        for start in range(0, len(value), step):
            rows = np.ascontiguousarray(value[start : start + step])
            state.update(rows.reshape(-1).view(np.uint8).data if rows.size else b"")
    return state.hexdigest()


def _plain(value: Any) -> Any:
    """A value of JSON for a dataclass, a number of NumPy or a path."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
