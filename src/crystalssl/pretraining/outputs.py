"""The folder of one pre-trained block: what lies where, when it is finished, what may resume.

config.json           effective settings and what the block was trained on
metrics.csv           learning curve, one row an epoch
checkpoints/          best.ckpt and last.ckpt; they only resume a run
weights.safetensors   what is shared, with card.json and seen.safetensors
tasks.json            held-out figures of every task beside every baseline
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crystalssl import __version__
from crystalssl.blocks._contract import Block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.parts import PartedCorpus
from crystalssl.datasets.samplers import Index
from crystalssl.errors import InputError
from crystalssl.files import read_json, write_json
from crystalssl.hub.card import CARD_FILE, TaskFigure
from crystalssl.hub.seen import SEEN_FILE
from crystalssl.hub.weights import WEIGHTS_FILE
from crystalssl.representation import layout

_PLACE = ("accelerator", "devices", "nodes", "threads", "progress", "tensorboard")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """Paths of one block's run.

    Attributes:
        path: the folder, named after the block.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Effective settings."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """Learning curve."""
        return self.path / "metrics.csv"

    @property
    def tasks(self) -> Path:
        """Held-out figures."""
        return self.path / "tasks.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Checkpoint with the lowest validation loss."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint of the last epoch."""
        return self.checkpoints / "last.ckpt"

    @property
    def is_finished(self) -> bool:
        """Whether everything that a run leaves behind is there."""
        needed = (CARD_FILE, WEIGHTS_FILE, self.tasks.name)
        return all((self.path / name).is_file() for name in needed)

    def clear(self) -> None:
        """Remove what an earlier run left here, and nothing else."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        for name in (self.config, self.metrics, self.tasks, CARD_FILE, WEIGHTS_FILE, SEEN_FILE):
            (self.path / name).unlink(missing_ok=True)

    def check_same(self, settings: dict[str, Any]) -> None:
        """Make sure that a run to be resumed was started with the same settings and data.

        Raises:
            InputError: if something that shapes the result differs.
        """
        if not self.config.is_file():
            return
        before, now = _shaping(read_json(self.config)), _shaping(settings)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name) and name == "data.digest":
                raise InputError(
                    f"Cannot resume {self.path}: the crystals, or their split, are not those it "
                    "was started with. Give the same, or start anew without --resume."
                )
            if before.get(name) != now.get(name):
                raise InputError(
                    f"Cannot resume {self.path}: {name} was {before.get(name)!r}, now it is "
                    f"{now.get(name)!r}. Use the same settings and crystals, or start anew "
                    "without --resume."
                )

    def write_tasks(self, figures: list[TaskFigure], monitors: dict[str, float]) -> None:
        """Write the held-out figures and the monitors of the epoch they come from."""
        rows = [{**asdict(figure), "beats_trivial": figure.beats_trivial} for figure in figures]
        write_json({"tasks": rows, "monitors": monitors}, self.tasks)

    def read_tasks(self) -> list[TaskFigure]:
        """The held-out figures of a finished run."""
        rows = read_json(self.tasks)["tasks"]
        return [TaskFigure(**{k: v for k, v in r.items() if k != "beats_trivial"}) for r in rows]


def effective_settings(
    block: Block, config: TrainConfig, corpus: Corpus | PartedCorpus, train: Index, val: Index
) -> dict[str, Any]:
    """All that shapes a run, as JSON: settings, versions, counts and a digest of the data."""
    digest = hashlib.sha256()
    for part in (train, val):
        digest.update(part.tobytes())
    for piece in corpus.identity():
        digest.update(piece)
    return {
        "block": block.name,
        "block_config": asdict(block.config),
        "training": asdict(config),
        "data": {
            "train_crystals": len(train),
            "val_crystals": len(val),
            "digest": digest.hexdigest(),
        },
        "layout_version": layout.VERSION,
        "package_version": __version__,
    }


def _shaping(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that shape the result, under flat names."""
    flat = {
        f"{part}.{name}": value
        for part in ("block_config", "training", "data")
        for name, value in settings.get(part, {}).items()
        if name not in _PLACE
    }
    return {**flat, "layout_version": settings.get("layout_version")}
