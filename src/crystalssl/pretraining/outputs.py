"""The folder of one pre-trained block: what lies where, when it is finished, what may resume.

config.json           effective settings and what the block was trained on
metrics.csv           learning curve, one row an epoch
checkpoints/          best.ckpt and last.ckpt; they only resume a run
weights.safetensors   what is shared, with card.json and seen.safetensors
tasks.json            held-out figures of every task beside every baseline
left_out.csv          crystals that could not be learnt from, if any

The same settings and crystals always go on where a stopped run was, so a command that was killed
ends with the same bytes when it is given again.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crystalssl import __version__
from crystalssl.blocks.contract import Block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index
from crystalssl.datasets.shards import ShardedCorpus
from crystalssl.errors import CrystalSSLError, InputError, Skip
from crystalssl.files import make_folder, read_json, remove, write_json, write_skipped
from crystalssl.hub.card import CARD_FILE, ModelCard, TaskFigure
from crystalssl.hub.seen import SEEN_FILE
from crystalssl.hub.weights import WEIGHTS_FILE
from crystalssl.representation import layout

LEFT_OUT = "left_out.csv"
"""Crystals that were not learnt from, with reasons; there only if there are some."""
_EPOCHS = "training.epochs"
_DATA = ("train_crystals", "val_crystals", "digest", "init")
_NO_MATTER = ("accelerator", "devices", "nodes", "threads", "progress", "tensorboard")


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
        """Remove what an earlier run left here and nothing else; its card, which is last, first."""
        names = (CARD_FILE, WEIGHTS_FILE, SEEN_FILE, self.tasks.name, LEFT_OUT)
        remove(*(self.path / name for name in names))
        self._forget()
        remove(self.config)

    def is_finished_with(self, settings: dict[str, Any]) -> bool:
        """Whether trained weights are there, and come from these settings and this data."""
        try:
            card = ModelCard.load(self.path) if self.is_finished else None
        except CrystalSSLError:
            card = None
        if card is None:
            return False
        made_with = {
            "block_config": card.config,
            "training": {n: v for n, v in card.training.items() if n in settings["training"]},
            "data": {n: v for n, v in card.data.items() if n in _DATA},
            "layout_version": card.layout_version,
        }
        return shaping(made_with) == shaping(settings)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings that shape the result, under flat names; none before a run has begun."""
        return shaping(read_json(self.config)) if self.config.is_file() else {}

    def begin(self, settings: dict[str, Any], *, resume: bool, force: bool) -> Path | None:
        """Make this the folder of a run with some settings.

        Checkpoints of the same settings and data are gone on from, those of others are removed;
        trained weights stay until new ones take their place.

        Args:
            settings: what ``effective_settings`` gave.
            resume: whether the settings must be those of the run that is here; only the number of
                epochs may be larger.
            force: whether training with other settings may be replaced.

        Returns:
            The checkpoint to go on from, if there is one.

        Raises:
            InputError: if the run that is here has other settings or data and is to be kept.
        """
        before = shaping(read_json(self.config)) if self.config.is_file() else {}
        now = shaping(settings)
        names = sorted(before.keys() | now.keys())
        changed = [name for name in names if before.get(name) != now.get(name)]
        longer = changed == [_EPOCHS] and before.get(_EPOCHS, 0) < now[_EPOCHS]
        if changed and not (resume and longer):
            trained = self.is_finished or self.last.is_file()
            if (resume and before) or (trained and not force):
                raise self._other_settings(changed[0], before, now, resume)
            self._forget()
        make_folder(self.path)
        write_json(settings, self.config)
        return self.last if self.last.is_file() else None

    def _other_settings(
        self, name: str, before: dict[str, Any], now: dict[str, Any], resume: bool
    ) -> InputError:
        """What to say about a run that is not the one asked for."""
        what = f"{name} was {before.get(name)!r}, now it is {now.get(name)!r}"
        if not before:
            what = "it does not say with which settings"
        elif name == "data.digest":
            what = "the crystals, or their split, are not those it was started with"
        if resume:
            return InputError(
                f"Cannot resume {self.path}: {what}. Use the same settings and crystals (only "
                "more epochs), another --out, or --force without --resume to train again."
            )
        return InputError(
            f"{self.path} holds a trained block: {what}. Use the same settings and crystals to go "
            "on, another --out, or --force to replace it."
        )

    def _forget(self) -> None:
        """Remove what only goes on from a stopped run."""
        remove(self.checkpoints, self.path / "tensorboard", self.metrics)

    def write_left_out(self, skipped: Sequence[Skip]) -> None:
        """List the crystals that could not be learnt from; no file if there are none."""
        remove(self.path / LEFT_OUT)
        if skipped:
            write_skipped(skipped, self.path / LEFT_OUT)

    def read_left_out(self) -> list[Skip]:
        """The crystals of :meth:`write_left_out`."""
        path = self.path / LEFT_OUT
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as handle:
            return [Skip(**row) for row in csv.DictReader(handle)]

    def write_tasks(self, figures: list[TaskFigure], monitors: dict[str, float]) -> None:
        """Write the held-out figures and the monitors of the epoch they come from."""
        rows = [{**asdict(figure), "beats_trivial": figure.beats_trivial} for figure in figures]
        write_json({"tasks": rows, "monitors": monitors}, self.tasks)

    def read_tasks(self) -> list[TaskFigure]:
        """The held-out figures of a finished run."""
        rows = read_json(self.tasks)["tasks"]
        return [TaskFigure(**{k: v for k, v in r.items() if k != "beats_trivial"}) for r in rows]


def effective_settings(
    block: Block,
    config: TrainConfig,
    corpus: Corpus | ShardedCorpus,
    index: tuple[Index, Index],
    init: str = "",
) -> dict[str, Any]:
    """All that shapes a run, as JSON: settings, versions, counts and a digest of the data.

    Args:
        block: what is trained.
        config: training settings.
        corpus: crystals.
        index: row numbers to train on and to validate with.
        init: checksum of the weights that are gone on from; empty for fresh ones.
    """
    train, val = index
    digest = hashlib.sha256()
    for rows in index:
        digest.update(rows.tobytes())
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
            **({"init": init} if init else {}),
        },
        "layout_version": layout.VERSION,
        "package_version": __version__,
    }


def shaping(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that shape the result, under flat names."""
    flat = {
        f"{group}.{name}": value
        for group in ("block_config", "training", "data")
        for name, value in settings.get(group, {}).items()
        if name not in _NO_MATTER
    }
    return {**flat, "layout_version": settings.get("layout_version")}
