"""What the loop asks of Lightning beyond its defaults: silence, safe checkpoints, history.

Warnings and hints that do not apply here are hidden one by one; checkpoints are replaced whole and
never unpickled; the learning curve is one CSV that goes on where a stopped run left off.
"""

from __future__ import annotations

import csv
import io
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only

from crystalssl.config import TrainConfig
from crystalssl.datasets.samplers import BatchSampler, Index
from crystalssl.errors import InputError
from crystalssl.files import atomic, write_bytes
from crystalssl.pretraining.outputs import RunFolder

_NOT_FOR_US = (
    r".*does not have many workers.*",  # batches are gathered by index, not loaded
    r".*Checkpoint directory .* exists and is not empty.*",  # resuming is the purpose
    r".*`?isinstance\(treespec, LeafSpec\)`? is deprecated.*",  # Lightning's own code
    r".*sync_dist=True.* when logging on epoch level.*",  # summed over processes beforehand
    r".*barrier\(\): using the device under current context.*",  # one device a process
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's hints and the warnings that do not apply here."""
    names = ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for message in _NOT_FOR_US:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def plain_interrupt() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end as what they raise, where Lightning ends the program."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise error.__context__ from None
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)


class SafeCheckpoints(TorchCheckpointIO):  # type: ignore[misc]  # untyped base
    """Checkpoints replaced whole, and loaded as plain tensors and numbers only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside the file, then replace it."""
        content = io.BytesIO()  # a full disk would come as a RuntimeError
        torch.save(checkpoint, content)
        write_bytes(content.getvalue(), path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, whatever else is asked for."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as plain tensors and numbers, on the CPU.

    Raises:
        InputError: if it is damaged or holds anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make the reader say
        raise InputError(
            f"The checkpoint {path} cannot be read. Remove {Path(path).parent}, and the same "
            "command trains from the start."
        ) from error
    return checkpoint


class History(pl.Callback):  # type: ignore[misc]  # untyped base
    """Writes every number logged, one row an epoch, to a CSV file."""

    def __init__(self, path: Path) -> None:
        """Take the file; rows of a run that is resumed are kept."""
        self._path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of this epoch, and drop later ones of a run that was cut off."""
        if not trainer.is_global_zero:
            return
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {name: f"{float(value):.7g}" for name, value in trainer.callback_metrics.items()}
        rows = [old for old in read_history(self._path) if int(old["epoch"]) < row["epoch"]]
        names = list(dict.fromkeys(name for entry in [*rows, row] for name in entry))
        with atomic(self._path) as aside, aside.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows([*rows, row])


def read_history(path: Path) -> list[dict[str, str]]:
    """Rows of a learning curve; none if there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


class BlockBar(RichProgressBar):  # type: ignore[misc]  # untyped base
    """Lightning's bar of an epoch, with the block's name in place of a version number."""

    def __init__(self, block: str) -> None:
        """Take the name of the block in training."""
        super().__init__(refresh_rate=10)
        self._block = block

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        metrics = {"block": self._block, **super().get_metrics(trainer, pl_module)}
        metrics.pop("v_num", None)
        return metrics


class EpochBatches:
    """What Lightning iterates over: the batches of this process in the current epoch."""

    def __init__(self, sampler: BatchSampler, trainer: pl.Trainer) -> None:
        """Take the plan, and the trainer that knows epoch and process."""
        self._sampler, self._trainer = sampler, trainer

    def __len__(self) -> int:
        return self._sampler.batches_per_epoch // int(self._trainer.world_size)

    def __iter__(self) -> Iterator[tuple[int, Index]]:
        at = self._trainer  # Lightning asks for an iterator before it knows the epoch of a resume
        yield from self._sampler.share(at.current_epoch, at.global_rank, at.world_size)


def build_trainer(
    config: TrainConfig, folder: RunFolder, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """A trainer that does no more in a step than it must.

    Args:
        config: training settings.
        folder: where logs and checkpoints go.
        callbacks: monitors, in front of those that read what they log.
    """
    on_gpu = uses_gpu(config)
    all_callbacks: list[pl.Callback] = [
        *callbacks,
        every_epoch(folder.best, "val_loss"),
        every_epoch(folder.last, None),
        History(folder.metrics),
    ]
    if config.patience:
        all_callbacks.append(EarlyStopping("val_loss", patience=config.patience))
    if config.progress:
        all_callbacks.append(BlockBar(folder.path.name))
    logger: Any = False
    if config.tensorboard and find_spec("tensorboard") is not None:
        logger = TensorBoardLogger(
            folder.path, name="", version="tensorboard", default_hp_metric=False
        )
        # the tab of hyperparameters shows the last val_loss that is logged, NaN until the first
        logger.log_hyperparams(folder.hyperparameters, {"val_loss": float("nan")})
    return pl.Trainer(
        accelerator="cuda" if on_gpu else "cpu",
        devices=config.devices or ("auto" if on_gpu else 1),
        num_nodes=config.nodes,
        precision="bf16-mixed" if on_gpu and config.precision == "bf16" else "32-true",
        max_epochs=config.epochs,
        gradient_clip_val=config.grad_clip or None,
        logger=logger,
        callbacks=all_callbacks,
        plugins=[SafeCheckpoints()],
        default_root_dir=folder.path,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=config.progress,
    )


class MovableCheckpoint(ModelCheckpoint):  # type: ignore[misc]  # untyped base
    """Checkpoints of a folder that may be moved: what was best so far is not forgotten then.

    Lightning knows the best checkpoint by its path; in another folder it would take the first
    epoch after a resume for the best.
    """

    @property
    def state_key(self) -> str:
        """The key of Lightning's own class, so that older checkpoints resume."""
        return str(super().state_key).replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a run; its files are those of this folder."""

        def here(path: str) -> str:
            return str(Path(self.dirpath) / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        state = state_dict | {name: here(state_dict.get(name, "")) for name in paths}
        state["best_k_models"] = {here(p): v for p, v in state_dict["best_k_models"].items()}
        super().load_state_dict(state | {"dirpath": self.dirpath})


def every_epoch(path: Path, monitor: str | None) -> pl.Callback:
    """A callback that writes one checkpoint after an epoch, always or if it is the best so far."""
    return MovableCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        monitor=monitor,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def uses_gpu(config: TrainConfig) -> bool:
    """Whether a run goes to CUDA GPUs.

    Raises:
        InputError: if GPUs are asked for and there are none.
    """
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError(
            "Training setting accelerator is 'gpu', but PyTorch finds no CUDA GPU. "
            "Use 'auto' or 'cpu', or install PyTorch with CUDA."
        )
    return config.accelerator != "cpu" and torch.cuda.is_available()


def is_main_process() -> bool:
    """Whether this process is the one that writes files."""
    return int(rank_zero_only.rank or 0) == 0


@contextmanager
def own_randomness() -> Iterator[None]:
    """Leave PyTorch's random state as it was."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
