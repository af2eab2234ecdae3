"""Settings of a pre-training run, the presets a user names, and settings from outside.

A preset is a :class:`TrainConfig`; the effective one is saved as JSON with every output and can
be read back. Settings of an encoder live beside it, in its block's file; :func:`configured` puts
values from a TOML file or the command line into any of these dataclasses. No torch here.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from crystalssl.errors import InputError, missing_extra, unknown_name
from crystalssl.files import read_json, write_json

SYMPREC = 0.01
"""Tolerance of the symmetry search in angstrom."""
Schedule = Literal["one-cycle", "constant"]
Precision = Literal["float32", "bf16"]
Accelerator = Literal["auto", "cpu", "gpu"]
Settings = Mapping[str, Mapping[str, Any]]
"""Values by section (``training``, ``bottleneck``, name of a block) and setting."""
Config = TypeVar("Config")
PLACE = ("accelerator", "devices", "nodes", "threads", "progress", "tensorboard")
"""Training settings that do not shape the result."""
WHERE = "crystalssl config show"
"""Command that lists every setting."""


def _need(holds: bool, name: str, got: Any, expected: str) -> None:
    if not holds:
        raise InputError(f"Training setting {name!r} is {got!r}, expected {expected}.")


def configured(config: Config, values: Mapping[str, Any], section: str) -> Config:
    """A configuration with some of its fields replaced.

    Whole numbers pass for numbers and lists for tuples.

    Args:
        config: any frozen dataclass of settings.
        values: new values by field.
        section: what the settings are of, for messages.

    Raises:
        InputError: if a value is of another type or cannot work.
        UnknownNameError: if a field does not exist.
    """
    kinds = get_type_hints(type(config))
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]  # a dataclass
    for name in values:
        if name not in known:
            raise unknown_name(f"setting of {section}", name, known, WHERE)
    changes = {k: _fitting(v, kinds[k], f"{section}.{k}") for k, v in values.items()}
    try:
        return replace(config, **changes)  # type: ignore[type-var]  # a dataclass
    except (TypeError, ValueError) as error:
        raise InputError(f"Settings of {section} cannot work: {error}. See `{WHERE}`.") from error


def _fitting(value: Any, kind: Any, name: str) -> Any:
    """A value in the type of its field."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        origin = get_origin(option) or option
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if origin is Literal:
            if value in get_args(option):
                return value
            raise unknown_name(name, str(value), get_args(option), WHERE)
        if origin is tuple and isinstance(value, list | tuple):
            return tuple(value)
        if origin is float and is_number:
            return float(value)
        if isinstance(value, origin) and (is_number or origin is not int):
            return value
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    expected = " or ".join(words.get(getattr(o, "__name__", ""), str(o)) for o in options)
    raise InputError(f"Setting {name} is {value!r}, expected {expected}. See `{WHERE}`.")


def read_settings(file: Path | None, assignments: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Settings of a TOML file, and of texts like ``sites.move_ratio=0.4``, which win.

    Raises:
        InputError: if the file is no TOML of sections, or a text is no assignment.
    """
    settings = {} if file is None else _read_toml(file)
    for text in assignments:
        name, equals, value = text.partition("=")
        section, _, field = name.strip().partition(".")
        if not (equals and section and field):
            raise InputError(
                f"Got --set {text!r}, expected SECTION.SETTING=VALUE, for instance "
                "training.epochs=20 or sites.move_ratio=0.4."
            )
        section_values = settings.setdefault(section, {})
        try:
            section_values[field] = json.loads(value)
        except ValueError:  # a word
            section_values[field] = value.strip()
    return settings


def _read_toml(file: Path) -> dict[str, dict[str, Any]]:
    """Sections of a TOML file."""
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        toml = importlib.import_module(name)
    except ImportError as error:
        raise missing_extra(name, "toml", "--config on Python 3.10") from error
    try:
        sections: dict[str, Any] = toml.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Found no settings file {file}. Check the path of --config.") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise InputError(f"{file} is not TOML ({error}). Mend it and try again.") from error
    for name, values in sections.items():
        if not isinstance(values, dict):
            raise InputError(
                f"{file} sets {name!r} outside of a section; expected for instance [training] "
                f"above it. See `{WHERE}`."
            )
    return sections


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a block is trained."""

    epochs: int = 12
    """Passes over the training crystals at most."""
    batch_size: int = 128
    """Crystals in a batch at most, on each device."""
    max_atoms: int = 4096
    """Sites in a batch at most, on each device; a larger crystal makes a batch of its own."""
    learning_rate: float = 2e-3
    """Highest learning rate of Adam with decoupled weight decay."""
    weight_decay: float = 1e-5
    """Decoupled weight decay; norms, biases and embeddings are left out."""
    schedule: Schedule = "one-cycle"
    """Course of the learning rate: one-cycle or constant."""
    warmup: float = 0.15
    """Share of all steps in which one-cycle rises."""
    grad_clip: float = 1.0
    """Largest norm of a gradient; 0 for no limit."""
    patience: int = 0
    """Epochs without a lower validation loss before training stops; 0 trains all epochs."""
    precision: Precision = "float32"
    """Number format of the encoder; bf16 is used where there is a GPU, float32 elsewhere."""
    seed: int = 0
    """Seed of batches, corruption and dropout."""
    accelerator: Accelerator = "auto"
    """Where to run: auto takes CUDA GPUs if there are any."""
    devices: int = 0
    """GPUs, or processes without GPUs, on each host; 0 for all GPUs or one process."""
    nodes: int = 1
    """Hosts, under torchrun or SLURM."""
    threads: int = 0
    """Threads of PyTorch; 0 leaves them as they are."""
    monitor_crystals: int = 2048
    """Held-out crystals whose features are watched for collapse each epoch; 0 for none. Few of them
    hide rank: no matrix has more than it has rows."""
    progress: bool = True
    """Whether to show a progress bar."""
    tensorboard: bool = True
    """Whether to write TensorBoard logs beside metrics.csv, where tensorboard is installed."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            InputError: if a value is out of its range or of another type.
        """
        for name, kind in get_type_hints(TrainConfig).items():
            _fitting(getattr(self, name), kind, f"training.{name}")
        for name in ("epochs", "batch_size", "max_atoms", "nodes"):
            _need(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _need(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _need(0 < self.warmup < 1, "warmup", self.warmup, "between 0 and 1")
        counts = ("grad_clip", "patience", "weight_decay", "seed", "devices", "threads")
        for name in (*counts, "monitor_crystals"):
            _need(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

    def shaping(self) -> dict[str, Any]:
        """Settings that shape the result: those that say where and how it runs left out."""
        return {name: value for name, value in asdict(self).items() if name not in PLACE}

    def save(self, path: Path) -> Path:
        """Write the settings as JSON, atomically."""
        return write_json(asdict(self), path)

    @staticmethod
    def load(path: Path) -> TrainConfig:
        """Read settings that ``save`` wrote; fields that are absent keep their defaults.

        Raises:
            InputError: if the file is no JSON object or a value cannot work.
            UnknownNameError: if a field does not exist.
        """
        return TrainConfig().updated(read_json(path))

    def updated(self, changes: Mapping[str, Any]) -> TrainConfig:
        """The same settings with some replaced.

        Raises:
            InputError: if a value cannot work.
            UnknownNameError: if a field does not exist.
        """
        return configured(self, changes, "training")


PRESETS: dict[str, TrainConfig] = {
    "quick": TrainConfig(),
    "paper": TrainConfig(
        epochs=100,
        batch_size=256,
        max_atoms=16384,
        learning_rate=1e-4,
        weight_decay=1e-5,
        schedule="constant",
        patience=10,
    ),
    "large": TrainConfig(
        epochs=100,
        batch_size=512,
        max_atoms=32768,
        learning_rate=2e-3,
        weight_decay=1e-4,
        precision="bf16",
    ),
}
"""quick: two CPU cores, minutes. paper: as published. large: GPUs, bf16, one-cycle."""


def get_preset(name: str) -> TrainConfig:
    """The settings of a preset.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS, WHERE)
    return PRESETS[name]
