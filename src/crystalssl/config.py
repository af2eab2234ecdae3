"""Settings of a pre-training run and the presets a user names.

A preset is a :class:`TrainConfig`; the effective one is saved as JSON with every output and can
be read back. Settings of an encoder live beside it, in its block's file. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from crystalssl.errors import InputError, unknown_name
from crystalssl.files import read_json, write_json

SYMPREC = 0.01
"""Tolerance of the symmetry search in angstrom."""
Schedule = Literal["one-cycle", "constant"]
Precision = Literal["float32", "bf16"]
Accelerator = Literal["auto", "cpu", "gpu"]


def _need(holds: bool, name: str, got: Any, expected: str) -> None:
    if not holds:
        raise InputError(f"Training setting {name!r} is {got!r}, expected {expected}.")


def _check_type(name: str, value: Any, kind: Any) -> None:
    choices = get_args(kind)
    if choices:
        if value not in choices:
            raise unknown_name(name, str(value), choices, "crystalssl config show")
        return
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    fits = fits and (kind is bool or not isinstance(value, bool))
    _need(fits, name, value, f"a value of type {kind.__name__}")


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
            _check_type(name, getattr(self, name), kind)
        for name in ("epochs", "batch_size", "max_atoms", "nodes"):
            _need(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _need(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _need(0 < self.warmup < 1, "warmup", self.warmup, "between 0 and 1")
        counts = ("grad_clip", "patience", "weight_decay", "seed", "devices", "threads")
        for name in (*counts, "monitor_crystals"):
            _need(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

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
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise unknown_name("training setting", name, known, "crystalssl config show")
        return replace(self, **changes)


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
        raise unknown_name("preset", name, PRESETS, "crystalssl config show")
    return PRESETS[name]
