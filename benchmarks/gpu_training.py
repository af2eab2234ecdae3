"""Pre-training on a GPU: true runs through Lightning, bare steps, where a step's time goes.

Sections of ``gpu.py``. Rates are training crystals per second; those of runs count validation,
monitors and checkpoints in, those of bare steps do not.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from gpu_common import CRYSTALS, EPOCHS, MEAN_SITES, Bench, attempt, split_of

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.config import TrainConfig, get_preset
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.generate import generate
from crystalssl.datasets.samplers import Index, pack
from crystalssl.pretraining._lightning import read_history
from crystalssl.pretraining.loop import pretrain
from crystalssl.pretraining.module import generator_for
from crystalssl.pretraining.optimizer import build_optimizer
from crystalssl.pretraining.parallel import pretrain_blocks
from crystalssl.processes import usable_cores
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals

NAMES = [block.name for block in list_blocks()]


class EpochClock(pl.Callback):
    """When every epoch began, and the end of the last."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.times.append(time.perf_counter())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.times.append(time.perf_counter())


def large(bench: Bench, **changes: Any) -> TrainConfig:
    """Preset ``large`` for so many epochs as are timed."""
    place = {"accelerator": "gpu" if bench.on_gpu else "cpu", "progress": False}
    return get_preset("large").updated(
        {"epochs": bench.epochs, "tensorboard": False, **place, **changes}
    )


def one_run(bench: Bench, corpus: Corpus, name: str, precision: str, epochs: int) -> dict[str, Any]:
    """Train a block as ``crystalssl pretrain`` does; the first epoch is not in the rate."""
    train, val = split_of(corpus)
    clock = EpochClock()
    bench.forget_peak()
    start = time.perf_counter()
    config = large(bench, precision=precision, epochs=epochs)
    out = bench.folder / f"{precision}-{len(corpus)}"
    done = pretrain(corpus, build_block(name), train, val, config, out, callbacks=[clock])
    whole = time.perf_counter() - start
    taken = np.diff(clock.times)
    history = read_history(done.folder / "metrics.csv")
    seconds = float(np.median(taken[1:] if len(taken) > 1 else taken))
    return {
        "rate": len(train) / seconds,
        "rate_of_steps": max(float(row["crystals_per_second"]) for row in history),
        "seconds_around": whole - float(taken.sum()),
        "peak_gb": bench.peak_gb(),
        "epoch_seconds": taken.round(2).tolist(),
        "train_loss": [float(row["train_loss"]) for row in history],
        "val_loss": [float(row["val_loss"]) for row in history],
    }


def all_runs(bench: Bench, corpus: Corpus, precision: str, epochs: int) -> dict[str, Any]:
    """True runs of every block, and what they come to for the whole corpus."""
    blocks = {}
    for name in NAMES:
        work = partial(one_run, bench, corpus, name, precision, epochs)
        blocks[name] = attempt(f"run of {len(corpus)}, {precision}, {name}", work)
    good = [one for one in blocks.values() if "error" not in one]
    minutes = {
        key: sum(CRYSTALS * EPOCHS / one[key] for one in good) / 60
        for key in ("rate", "rate_of_steps")
    }
    return {
        "crystals": len(corpus),
        "train_crystals": len(split_of(corpus)[0]),
        "blocks_counted": len(good),
        "minutes_extrapolated": minutes["rate"],
        "minutes_extrapolated_steps_alone": minutes["rate_of_steps"],
        "minutes_around": sum(one["seconds_around"] for one in good) / 60,
        "blocks": blocks,
    }


def runs(bench: Bench) -> dict[str, Any]:
    """True runs in bf16 on real crystals."""
    return all_runs(bench, bench.corpus, "bf16", bench.epochs)


def float32_runs(bench: Bench) -> dict[str, Any]:
    """The same in float32."""
    return all_runs(bench, bench.corpus, "float32", 2)


def whole(bench: Bench) -> dict[str, Any]:
    """Two epochs of every block on as many crystals as the published corpus has; synthetic."""
    start = time.perf_counter()
    made = Crystals.concatenate(
        list(generate(load_bundled(), bench.whole, mean_sites=MEAN_SITES))
    ).with_columns(None)
    middle = time.perf_counter()
    canonical = canonicalize(made, processes=usable_cores())
    late = time.perf_counter()
    corpus = Corpus.from_crystals(canonical)
    end = time.perf_counter()
    return {
        "seconds_canonical": late - middle,
        "seconds_corpus": end - late,
        "seconds_generate": middle - start,
        "corpus_gb": corpus.nbytes / 1e9,
        **all_runs(bench, corpus, "bf16", 2),
    }


def together(bench: Bench) -> dict[str, Any]:
    """All blocks at once on one device, each in a process of its own."""
    train, val = split_of(bench.corpus)
    config = large(bench, threads=usable_cores(), epochs=2 * bench.epochs)
    start = time.perf_counter()
    out = bench.folder / "together"
    pretrain_blocks(bench.corpus, NAMES, train, val, config, out, workers=len(NAMES))
    seconds = time.perf_counter() - start
    rates = {
        name: float(
            np.median(
                [float(r["crystals_per_second"]) for r in read_history(out / name / "metrics.csv")]
            )
        )
        for name in NAMES
    }
    return {
        "seconds": seconds,
        "rates": rates,
        "minutes_extrapolated": CRYSTALS * EPOCHS / min(rates.values()) / 60,
    }


@contextmanager
def number_format(bench: Bench, name: str) -> Any:
    """float32, tf32 (products of float32 matrices in TF32) or bf16 (autocast)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    kind = "cuda" if bench.on_gpu else "cpu"
    try:
        with (
            torch.autocast(kind, torch.bfloat16, cache_enabled=False)
            if name == "bf16"
            else nullcontext()
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class Steps:
    """Bare optimizer steps of a block: no Lightning, no validation."""

    def __init__(self, bench: Bench, name: str, batch: int, most: int = 12) -> None:
        self.bench = bench
        self.corpus: Corpus = bench.corpus.to(bench.device)
        self.block: Block = build_block(name).to(bench.device).train()
        made = build_optimizer(self.block, large(bench), 10_000)
        self.optimizer: torch.optim.Optimizer = made[0][0]
        self.plan: list[Index] = pack(
            split_of(bench.corpus)[0], bench.corpus.site_counts, batch, 64 * batch
        )[:most]
        self.crystals = sum(map(len, self.plan))

    def gather(self) -> None:
        for rows in self.plan:
            self.corpus.batch(rows, self.block)

    def forward(self, precision: str) -> None:
        for number, rows in enumerate(self.plan):
            self.loss(number, rows, precision)

    def train(self, precision: str) -> None:
        for number, rows in enumerate(self.plan):
            self.loss(number, rows, precision).backward()
            torch.nn.utils.clip_grad_norm_(self.block.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def loss(self, number: int, rows: Index, precision: str) -> torch.Tensor:
        batch = self.corpus.batch(rows, self.block)
        with number_format(self.bench, precision):
            results = self.block.pretext(batch, generator_for(0, 0, 0, number))
            return torch.stack([r.weight * r.loss for r in results]).sum()

    def seconds(self, work: Any, *given: str) -> float:
        """Of all batches, the second time."""
        work(*given)
        start = self.bench.now()
        work(*given)
        return self.bench.now() - start


def bare_steps(bench: Bench, name: str) -> dict[str, Any]:
    """Rates of steps in every number format, and milliseconds of the parts of a step."""
    found: dict[str, Any] = {}
    for batch in bench.train_batches:
        bench.forget_peak()
        steps = Steps(bench, name, batch)
        if batch == bench.train_batches[0]:
            for precision in ("float32", "tf32"):
                taken = steps.seconds(steps.train, precision)
                found[f"{precision}, {batch}"] = {"rate": steps.crystals / taken}
        per_step = 1e3 / len(steps.plan)
        taken = steps.seconds(steps.train, "bf16")
        found[f"bf16, {batch}"] = {
            "rate": steps.crystals / taken,
            "ms_step": taken * per_step,
            "ms_gather": steps.seconds(steps.gather) * per_step,
            "ms_gather_and_forward": steps.seconds(steps.forward, "bf16") * per_step,
            "peak_gb": bench.peak_gb(),
        }
    return found


def bare(bench: Bench) -> dict[str, Any]:
    """Bare steps of every block."""
    return {name: attempt(f"bare, {name}", partial(bare_steps, bench, name)) for name in NAMES}


def profiled(bench: Bench, name: str) -> dict[str, Any]:
    """Kernels, waits and copies of a step, how busy the device is, and what takes longest."""
    from torch.profiler import ProfilerActivity, profile

    steps = Steps(bench, name, bench.train_batches[0], most=6)
    taken = steps.seconds(steps.train, "bf16")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.on_gpu else [])]
    with profile(activities=kinds) as watched:
        steps.train("bf16")
        bench.now()
    count = len(steps.plan)
    events = watched.key_averages()
    kernels = [e for e in events if str(e.device_type).endswith("CUDA")]
    busy = sum(e.self_device_time_total for e in kernels) / 1e3
    waits = [e for e in events if "Synchronize" in e.key or e.key == "cudaMemcpyAsync"]
    slow = sorted(events, key=lambda e: -e.self_cpu_time_total)
    long = sorted(kernels, key=lambda e: -e.self_device_time_total)
    return {
        "ms_step": 1e3 * taken / count,
        "ms_device_busy": busy / count,
        "kernels": sum(e.count for e in kernels) / count,
        "waits": {e.key: e.count / count for e in waits},
        "slow_on_host": {e.key[:60]: e.self_cpu_time_total / 1e3 / count for e in slow[:10]},
        "long_on_device": {e.key[:60]: e.self_device_time_total / 1e3 / count for e in long[:8]},
    }


def profiles(bench: Bench) -> dict[str, Any]:
    """Profiles of every block."""
    return {name: attempt(f"profile, {name}", partial(profiled, bench, name)) for name in NAMES}


def learning_curve(bench: Bench, name: str, accelerator: str, precision: str) -> dict[str, Any]:
    """Losses of a short run of preset ``quick``."""
    rows = np.arange(min(512, len(bench.corpus)))
    few = bench.corpus.take(rows)
    held = len(rows) // 8
    config = get_preset("quick").updated(
        {"epochs": bench.epochs, "accelerator": accelerator, "precision": precision,
         "progress": False, "tensorboard": False, "monitor_crystals": 64}
    )  # fmt: skip
    out = bench.folder / "learn" / f"{accelerator}-{precision}"
    done = pretrain(few, build_block(name), rows[held:], rows[:held], config, out)
    history = read_history(done.folder / "metrics.csv")
    return {kind: [float(row[kind]) for row in history] for kind in ("train_loss", "val_loss")}


def learning(bench: Bench) -> dict[str, Any]:
    """The same short run on CPU, GPU, and GPU in bf16: losses must fall alike."""
    ways = [("cpu", "float32")]
    ways += [("gpu", "float32"), ("gpu", "bf16")] if bench.on_gpu else []
    return {
        name: {
            f"{place} {precision}": attempt(
                f"learn, {place} {precision}, {name}",
                partial(learning_curve, bench, name, place, precision),
            )
            for place, precision in ways
        }
        for name in NAMES
    }
