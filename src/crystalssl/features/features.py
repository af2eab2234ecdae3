"""Features of many crystals in memory: ids, one matrix for each block, and where they come from.

Made by ``extract.py``, written by ``writer.py``, read by ``store.py``, used by evaluation and
adapters. A run that lies in the folder of a features file is named relative to it, so that both
can be moved together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, MissingExtraError, Skip, unknown_name

UNTRAINED = "untrained"
"""What stands in place of a name or folder for encoders that were never trained."""
ID = "immutable_id"
"""Name of the column of ids."""
PHYSICS = "physics"
"""Name of the block of named numbers, of which some have no meaning for a crystal: NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The weights that features come from, so that an evaluation can ask what those have seen.

    Attributes:
        weights: name of bundled weights, folder of a run, or ``UNTRAINED``.
        sha256: checksum of the weights of each block, as on its card.
        labels: property whose labels they were trained on; empty for label-free weights.
    """

    weights: str
    sha256: dict[str, str] = field(default_factory=dict)
    labels: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Features:
    """Features of n crystals, rows in the order of the input.

    Attributes:
        ids: (n,) identifiers.
        blocks: (n, width) float32 for each block name, in the order of the columns.
        names: feature names, ``<block>_<i>``; made from ``blocks`` if absent.
        origins: weights they come from; none where that is not known.
        beyond_training: (n,) whether a crystal has more sites than those of training, so that its
            features are extrapolated; None where that is not known, or nothing was trained.

    Example:
        >>> Features(ids=np.array(["a"]), blocks={"sites": np.zeros((1, 2), np.float32)})
        Features(1 crystal x 2: sites 2)
    """

    ids: npt.NDArray[np.str_]
    blocks: dict[str, npt.NDArray[np.float32]]
    names: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    beyond_training: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Fill in names and compare lengths.

        Raises:
            InputError: if ids, blocks and names differ in length.
        """
        if not self.names:
            object.__setattr__(self, "names", feature_names(self.widths))
        for name, values in self.blocks.items():
            if values.ndim != 2 or len(values) != len(self.ids):
                raise InputError(
                    f"Features of {name!r} have shape {values.shape} for {len(self.ids)} ids, "
                    "expected one row for each id."
                )
        if len(self.names) != sum(self.widths.values()):
            raise InputError(
                f"Got {len(self.names)} feature names for {sum(self.widths.values())} features, "
                "expected one each."
            )
        if self.beyond_training is not None and len(self.beyond_training) != len(self.ids):
            raise InputError(
                f"Got {len(self.beyond_training)} marks of crystals beyond training for "
                f"{len(self.ids)} ids, expected one for each id."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        widths = ", ".join(f"{name} {width}" for name, width in self.widths.items())
        crystals = "crystal" if len(self) == 1 else "crystals"
        return f"Features({len(self):,} {crystals} x {len(self.names):,}: {widths})"

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each block."""
        return {name: values.shape[1] for name, values in self.blocks.items()}

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """(n, total) all blocks side by side; a copy."""
        empty = np.zeros((len(self), 0), np.float32)
        return np.concatenate([empty, *self.blocks.values()], axis=1)

    def take(self, index: npt.ArrayLike) -> Features:
        """Rows by integer index, in the order of the index."""
        rows = np.asarray(index, dtype=np.int64)
        blocks = {name: values[rows] for name, values in self.blocks.items()}
        beyond = None if self.beyond_training is None else self.beyond_training[rows]
        return replace(self, ids=self.ids[rows], blocks=blocks, beyond_training=beyond)

    def between(self, start: int, stop: int) -> Features:
        """Rows ``start`` to ``stop``, without a copy."""
        blocks = {name: values[start:stop] for name, values in self.blocks.items()}
        beyond = None if self.beyond_training is None else self.beyond_training[start:stop]
        return replace(self, ids=self.ids[start:stop], blocks=blocks, beyond_training=beyond)

    def only(self, *blocks: str) -> Features:
        """The features of some blocks.

        Raises:
            UnknownNameError: if a block is not there.
        """
        for name in blocks:
            if name not in self.blocks:
                raise unknown_name("block of features", name, self.blocks)
        chosen = {name: self.blocks[name] for name in blocks}
        return replace(self, blocks=chosen, names=())

    def finite(self) -> tuple[Features, list[Skip]]:
        """The rows without NaN and infinity, and a skip for each other one; physics may be NaN."""
        good = {
            n: np.asarray((np.isfinite(v) | ((n == PHYSICS) & np.isnan(v))).all(axis=1))
            for n, v in self.blocks.items()
        }
        rows: npt.NDArray[np.bool_] = np.ones(len(self), bool)
        for mask in good.values():
            rows = rows & mask
        skipped = [
            Skip(
                id=str(self.ids[row]),
                file="",
                reason="its features are not finite "
                f"({', '.join(name for name, mask in good.items() if not mask[row])})",
                remedy="check its cell and coordinates; if they are right, report it",
            )
            for row in np.flatnonzero(~rows).tolist()
        ]
        return (self, []) if not skipped else (self.take(np.flatnonzero(rows)), skipped)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: one column for each feature, ids as the index.

        Raises:
            MissingExtraError: without pandas.
        """
        index = _package("pandas").Index(self.ids.tolist(), name=ID)
        return _package("pandas").DataFrame(self.matrix, index=index, columns=list(self.names))

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``: ids, then one column for each feature.

        Raises:
            MissingExtraError: without polars.
        """
        frame = _package("polars").from_numpy(self.matrix, schema=list(self.names))
        return frame.insert_column(0, _package("polars").Series(ID, self.ids.tolist()))


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs the package {name!r}, which is not installed. Install it with: pip "
            f"install {name}"
        ) from error


def feature_names(widths: Mapping[str, int]) -> tuple[str, ...]:
    """Names of all features, ``<block>_<i>``, block after block."""
    return tuple(f"{name}_{i}" for name, width in widths.items() for i in range(width))


def regroup(batches: Iterable[Features], rows: int) -> Iterator[Features]:
    """The same rows in batches of another length, so that what follows depends on rows alone.

    Args:
        batches: features of the same blocks.
        rows: length of every batch but the last; without rows there is one empty batch.

    Raises:
        InputError: if batches differ in their blocks.
    """
    waiting: list[Features] = []
    count = yielded = 0
    for batch in batches:
        if waiting and batch.widths != waiting[0].widths:
            raise InputError(
                f"Got features of {batch.widths} after {waiting[0].widths}, expected the same "
                "blocks in every batch."
            )
        start = 0
        while count + len(batch) - start >= rows:
            stop = start + rows - count
            yield joined([*waiting, batch.between(start, stop)])
            waiting, count, yielded, start = [], 0, yielded + 1, stop
        waiting.append(batch.between(start, len(batch)))
        count += len(batch) - start
    if waiting and (count or not yielded):
        yield joined(waiting)


def joined(batches: Sequence[Features]) -> Features:
    """Batches one after the other; names and origins are those of the first."""
    if len(batches) == 1:
        return batches[0]
    blocks = {n: np.concatenate([b.blocks[n] for b in batches]) for n in batches[0].blocks}
    marks = [b.beyond_training for b in batches]
    known = [mark for mark in marks if mark is not None]
    return replace(
        batches[0],
        ids=np.concatenate([b.ids for b in batches]),
        blocks=blocks,
        beyond_training=np.concatenate(known) if len(known) == len(marks) else None,
    )


def origin_of(weights: str | Path, blocks: Iterable[str]) -> Origin:
    """The origin of features made with some blocks of a run.

    Args:
        weights: folder of a run, name of bundled weights, or ``UNTRAINED``.
        blocks: names of the blocks in use.

    Raises:
        InputError: if there is no such run.
    """
    from crystalssl.hub.weights import load_cards  # torch; whoever reads features goes without

    cards = {} if weights == UNTRAINED else load_cards(weights)
    checksums = {name: cards[name].sha256 for name in blocks if name in cards}
    labels = dict.fromkeys(cards[name].labels for name in checksums if cards[name].labels)
    return Origin(weights=str(weights), sha256=checksums, labels=", ".join(labels))


def blocks_behind(features: Features) -> tuple[str, ...]:
    """Names of the blocks that features come from, in order of their numbers.

    Baselines without training must be of the same blocks. Features of unknown origin are compared
    with all blocks there are.
    """
    from crystalssl.blocks.registry import known_blocks, list_blocks  # torch, as above

    named = {name for origin in features.origins for name in origin.sha256} or set(features.blocks)
    known = [block.name for block in known_blocks() if block.name in named]
    return tuple(known or [block.name for block in list_blocks()])


def refuse_labels(features: Features) -> None:
    """Refuse features of encoders that saw labels: tables would list them as label-free.

    Args:
        features: what is to be compared as label-free.

    Raises:
        InputError: if they did.
    """
    labels = ", ".join(origin.labels for origin in features.origins if origin.labels)
    if labels:
        raise InputError(
            f"These features come from encoders trained on labels of {labels}; they would be "
            "compared as label-free ones. Give label-free features first, and these with --also "
            "NAME=FILE."
        )


def record_origins(origins: Sequence[Origin], path: Path) -> list[dict[str, Any]]:
    """Origins as JSON, for the features file of a path."""
    recorded = [asdict(origin) for origin in origins]
    for entry in recorded:
        if not entry["labels"]:  # as files have always been
            del entry["labels"]
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
        origins = [
            Origin(
                weights=str(e["weights"]), sha256=dict(e["sha256"]), labels=str(e.get("labels", ""))
            )
            for e in entries
        ]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(
        replace(origin, weights=str(path.parent / origin.weights))
        if (path.parent / origin.weights).is_dir()
        else origin
        for origin in origins
    )
