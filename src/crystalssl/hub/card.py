"""The typed card that lies beside a block's weights: what they are, from what, how good.

Plain JSON. Written by ``weights.save_weights`` and checked by ``weights.load_weights``.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from crystalssl.errors import InputError, unknown_name
from crystalssl.files import check_version, json_text, read_json, write_text

CARD_FILE = "card.json"
"""File name of a card."""
LICENCE = "MIT"
"""Licence of weights trained here, unless another is given."""
CARD_FORMAT = 1
"""Version of the cards that this package writes; cards from before have none."""
DEEPEST = 32
"""How deep the values of a card may be nested."""
Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFigure:
    """How well a block does one task on held-out crystals.

    Attributes:
        task: task name.
        number: number of the pretext task, or None for a further objective.
        block: block name.
        figure: name and unit of the figure.
        higher_is_better: direction of the figure.
        model: figure of the block; None where nothing could be scored.
        baselines: figure of every baseline.
        trivial: key of the trivial baseline.
        loss: mean loss.
    """

    task: str
    number: int | None
    block: str
    figure: str
    higher_is_better: bool
    model: float | None
    baselines: dict[str, float | None]
    trivial: str
    loss: float

    @property
    def beats_trivial(self) -> bool:
        """Whether the block does better than the trivial baseline."""
        other = self.baselines.get(self.trivial)
        if self.model is None or other is None:
            return False
        return self.model > other if self.higher_is_better else self.model < other


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """What a person, and the loader, should know about one block's weights.

    Attributes:
        block: block name.
        config: settings of the block.
        layout_version: version of the panel layout it reads.
        package_version: version of the package that trained it.
        data: what it was trained on: counts, digest of the ids, source, and under ``seen`` the
            checksum and counts of the list of seen crystals beside the card (``seen.py``).
        training: effective training settings and what came of them, effective rank and dead
            features among it.
        figures: held-out figures of every task, with baselines.
        licence: licence of the weights.
        sha256: checksum of the weights file; filled when saved.
        labels: property whose labels the weights were trained on; empty for label-free ones.
    """

    block: str
    config: dict[str, Any]
    layout_version: int
    package_version: str
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    figures: list[TaskFigure] = field(default_factory=list)
    licence: str = LICENCE
    sha256: str = ""
    labels: str = ""

    def save(self, folder: Path) -> Path:
        """Write the card into a folder, atomically."""
        return write_text(json_text(self.as_json()), Path(folder) / CARD_FILE)

    def write(self, path: Path) -> None:
        """Write the card to a file as it is; for sets of files that are put in place together."""
        path.write_text(json_text(self.as_json()), encoding="utf-8", newline="\n")

    def as_json(self) -> dict[str, Any]:
        """The card with the version of its format."""
        content = {**asdict(self), "format": CARD_FORMAT}
        if not self.labels:  # as cards have always been
            del content["labels"]
        return content

    @staticmethod
    def load(folder: Path) -> ModelCard:
        """Read the card of a folder.

        Raises:
            InputError: if it is missing, lacks a field, has one of another type, or was written
                by a newer version.
            UnknownNameError: if a field does not exist.
        """
        path = Path(folder) / CARD_FILE
        value = read_json(path)
        check_version(value.pop("format", None), CARD_FORMAT, path)
        return record_of(ModelCard, value, path)


def record_of(cls: type[Record], value: Any, path: Path) -> Record:
    """A dataclass from JSON, with names and types checked in full.

    Args:
        cls: dataclass of plain types, their lists and dictionaries, and dataclasses.
        value: what the file holds.
        path: the file, for messages.

    Raises:
        InputError: if a field is missing, or of another type.
        UnknownNameError: if a field does not exist.
    """
    if not isinstance(value, dict):
        raise InputError(
            f"{path} holds a {type(value).__name__}, expected an object. Save it again."
        )
    known = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            raise unknown_name(f"field in {path}", str(name), known)
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"{path} lacks the field {name!r}. Train or download it again.")
    kinds = _kinds(cls)  # type: ignore[arg-type]  # a class is hashable
    return cls(
        **{name: _fitting(value[name], kinds[name], f"{name!r} of {path}") for name in value}
    )


_kinds = cache(get_type_hints)  # evaluates every annotation


def _fitting(value: Any, kind: Any, name: str, depth: int = 0) -> Any:
    """A JSON value as a field of some type holds it."""
    if is_dataclass(kind) and isinstance(kind, type):
        return record_of(kind, value, Path(name.rpartition(" of ")[2]))
    whole = get_origin(kind) or kind
    fits = depth < DEEPEST
    if kind is Any:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                _fitting(inner, Any, name, depth + 1)
    elif whole in (dict, list):
        fits = fits and isinstance(value, whole)
    elif whole in (Union, UnionType):
        options = [None if option is type(None) else option for option in get_args(kind)]
        if value is None and None in options:
            return None
        whole = next(option for option in options if option is not None)
        return _fitting(value, whole, name, depth)
    else:
        numbers = (int, float) if whole is float else whole
        fits = fits and isinstance(value, numbers) and isinstance(value, bool) == (whole is bool)
    if not fits:
        raise InputError(f"Field {name} is {str(value)[:80]!r}, expected {kind}. Save it again.")
    inner_kind = get_args(kind)
    if whole is list:
        return [_fitting(entry, inner_kind[0], name, depth + 1) for entry in value]
    if whole is dict:
        return {key: _fitting(v, inner_kind[1], name, depth + 1) for key, v in value.items()}
    return value
