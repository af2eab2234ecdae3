"""Encoders trained on with labels on a GPU: rate, memory, error, and agreement with the CPU.

A section of ``gpu.py``. Labels are formation energies of the table: ``train`` is trained on,
``val`` predicted. Settings are the usual ones.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gpu_common import Bench

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.evaluation.cache import Cache
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.describing import Describer
from crystalssl.properties.finetuning import Tuning, tunable_blocks
from crystalssl.properties.finetuning_steps import Finetuning
from crystalssl.properties.inputs import IDLE, Descriptors

LABEL = "formation_energy_per_atom"
TIMED = 2_048
"""Crystals by which the CPU is timed."""


def finetuning(bench: Bench) -> dict[str, Any]:
    """Train on, predict, compare."""
    canonical = bench.canonical
    crystals = bench.crystals.take(canonical.kept)
    if LABEL not in crystals.columns.column_names:
        raise InputError(f"{bench.table} has no column {LABEL!r}.")
    labels = np.array(crystals.column(LABEL), dtype=float)
    split = crystals.column("split").astype(str)
    config = ExtractorConfig.of("default", device=bench.device)
    start = bench.now()
    none = Descriptors.none(len(crystals))
    inputs, odd = Describer(extractor=config.extractor(), physics=IDLE).describe(canonical, none)
    described = bench.now() - start
    if odd:
        raise InputError(f"{len(odd)} crystals have no finite features.")
    known = np.isfinite(labels)
    train, held = (np.flatnonzero(known & (split == name)) for name in ("train", "val"))
    experiment = Experiment(
        inputs=inputs, labels=np.where(known, labels, 0.0)[:, None], groups=inputs.formulas,
        cache=Cache(None), seed=0,
    )  # fmt: skip
    short = Finetuning(epochs=bench.epochs, steps=0)  # to see that all runs
    settings = short if bench.count < 1_000 else Finetuning()
    tuning = Tuning(
        experiment=experiment, corpus=Corpus.from_crystals(canonical, targets=False),
        blocks=tunable_blocks(config.encoders()), origin=(), settings=settings,
        device=bench.device,
    )  # fmt: skip
    bench.forget_peak()
    start = bench.now()
    encoders = tuning.fit(train, lambda done, text: None)
    seconds = bench.now() - start
    epochs = settings.epochs_for(len(train))
    predicted = tuning.predict(encoders, held)[:, 0]
    on_cpu = replace(tuning, device="cpu")
    differs = np.abs(predicted - on_cpu.predict(encoders, held)[:, 0]).max()
    return {
        "crystals": len(train),
        "epochs": epochs,
        "seconds": seconds,
        "seconds_described": described,
        "rate": epochs * len(train) / seconds,
        "rate_cpu": cpu_rate(on_cpu, train),
        "peak_gb": bench.peak_gb(),
        "held": len(held),
        "mae_ev_per_atom": float(np.abs(predicted - labels[held]).mean()),
        "largest_difference_ev_per_atom": float(differs),
    }


def cpu_rate(tuning: Tuning, train: npt.NDArray[np.int64]) -> float:
    """Crystals a second of one short epoch on the CPU, its preparation counted in."""
    short = replace(tuning, settings=replace(tuning.settings, epochs=1, steps=0))
    rows = train[:TIMED]
    start = time.perf_counter()
    short.fit(rows, lambda done, text: None)
    return len(rows) / (time.perf_counter() - start)
