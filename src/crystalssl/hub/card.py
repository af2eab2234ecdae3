"""The typed card that lies beside a block's weights: what they are, from what, how good.

Plain JSON. Written by ``weights.save_weights`` and checked by ``weights.load_weights``.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from crystalssl.errors import InputError, unknown_name
from crystalssl.files import read_json, write_json

CARD_FILE = "card.json"
"""File name of a card."""
LICENCE = "MIT"
"""Licence of weights trained here, unless another is given."""
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

    def save(self, folder: Path) -> Path:
        """Write the card into a folder, atomically."""
        return write_json(asdict(self), Path(folder) / CARD_FILE)

    @staticmethod
    def load(folder: Path) -> ModelCard:
        """Read the card of a folder.

        Raises:
            InputError: if it is missing or lacks a field.
            UnknownNameError: if a field does not exist.
        """
        path = Path(folder) / CARD_FILE
        value = read_json(path)
        value["figures"] = [_record(TaskFigure, f, path) for f in value.get("figures", [])]
        return _record(ModelCard, value, path)


def _record(cls: type[Record], value: Any, path: Path) -> Record:
    """A record from JSON, with names and types checked."""
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, expected an object. Save anew.")
    known = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            raise unknown_name(f"field in {path}", name, known)
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"{path} lacks the field {name!r}. Train or download it anew.")
    for name, kind in get_type_hints(cls).items():
        plain = get_origin(kind) if get_origin(kind) in (dict, list) else kind
        wanted = (int, float) if plain is float else plain
        if name in value and not isinstance(value[name], wanted):
            raise InputError(
                f"Field {name!r} of {path} is {value[name]!r}, expected {kind}. Save it anew."
            )
    return cls(**value)
