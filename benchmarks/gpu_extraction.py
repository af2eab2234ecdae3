"""Extraction on a GPU: rates by batch size, end to end from a table, agreement with the CPU.

Sections of ``gpu.py``. Features are those of the default weights, in float32.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from gpu_common import CRYSTALS, MEAN_SITES, Bench, attempt

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.generate import write_corpus
from crystalssl.features import extract as extraction
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.stream import pieces, prepare, stream_features
from crystalssl.hub.weights import load_run
from crystalssl.processes import usable_cores

SHAPES = ((2_304, 96), (8_192, 256), (16_384, 512), (32_768, 1_024), (65_536, 2_048),
          (131_072, 4_096))  # fmt: skip
"""Most sites and crystals of a batch to try."""
COMPARED = 4_096


def host(bench: Bench) -> dict[str, Any]:
    """How long the host takes to prepare the corpus of a training run."""
    corpus, count = bench.corpus, len(bench.corpus)
    start = bench.now()
    moved = corpus.to(bench.device)
    seconds = {**bench.seconds, "to_device": bench.now() - start}
    share = CRYSTALS / count
    return {
        "crystals": count,
        "mean_sites": float(corpus.site_counts.mean()),
        "cores": usable_cores(),
        "seconds": seconds,
        "corpus_gb": moved.nbytes / 1e9,
        "seconds_extrapolated": share * (seconds["canonical"] + seconds["corpus"]),
    }


def rates(bench: Bench) -> dict[str, Any]:
    """Encoding alone: every batch size for all blocks, and every block at the default."""
    encoders = load_run("default")
    corpus = bench.corpus
    found: dict[str, Any] = {"by_batch": {}, "by_block": {}}
    kept = dict(extraction.BATCH_ATOMS), dict(extraction.BATCH_CRYSTALS)
    kind = torch.device(bench.device).type
    try:
        for atoms, crystals in SHAPES:
            extraction.BATCH_ATOMS[kind], extraction.BATCH_CRYSTALS[kind] = atoms, crystals
            found["by_batch"][f"{crystals} crystals, {atoms} sites"] = attempt(
                f"encode, {crystals} crystals", partial(timed, bench, corpus, encoders)
            )
    finally:
        extraction.BATCH_ATOMS.update(kept[0])
        extraction.BATCH_CRYSTALS.update(kept[1])
    for name, block in encoders.items():
        work = partial(timed, bench, corpus, {name: block})
        found["by_block"][name] = attempt(f"encode, {name}", work)
    return found


def timed(bench: Bench, corpus: Corpus, encoders: dict[str, Any]) -> dict[str, float]:
    """Rate and peak memory of extraction of a corpus that is ready."""
    extraction.extract(corpus.take(range(min(2_048, len(corpus)))), encoders, device=bench.device)
    bench.forget_peak()
    start = bench.now()
    extraction.extract(corpus, encoders, device=bench.device)
    return {"rate": len(corpus) / (bench.now() - start), "peak_gb": bench.peak_gb()}


def streamed(bench: Bench) -> dict[str, Any]:
    """Structure table to features: synthetic crystals, worker processes, by the clock."""
    table = write_corpus(
        bench.folder / "made.parquet", load_bundled(), bench.streamed, mean_sites=MEAN_SITES
    )
    found: dict[str, Any] = {"crystals": bench.streamed, "cores": usable_cores()}
    for place in dict.fromkeys((bench.device, "cpu")):
        found[place] = attempt(f"stream, {place}", partial(one_stream, bench, table, place))
    found["parts"] = attempt("stream, its parts", partial(parts_of_stream, bench, table))
    return found


def one_stream(bench: Bench, table: Any, place: str) -> dict[str, Any]:
    """Rate with the start of the workers, and from the second piece on."""
    times: list[float] = []
    rows: list[int] = []

    def watch(piece: Any, total: int) -> None:
        times.append(time.perf_counter())
        rows.append(piece.rows)

    bench.forget_peak()
    start = time.perf_counter()
    workers = usable_cores()
    done = stream_features(
        table, bench.folder / f"{place}.parquet", ExtractorConfig(device=place),
        dtype="float16", workers=workers, watch=watch,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    steady = times[-1] - times[0] if len(times) > 1 else seconds
    return {
        "workers": workers,
        "rate": done.rows / seconds,
        "rate_after_start": (sum(rows[1:]) or done.rows) / steady,
        "peak_gb": bench.peak_gb(),
    }


def parts_of_stream(bench: Bench, table: Any) -> dict[str, float]:
    """Milliseconds a piece: a worker prepares its corpus, the main process encodes it."""
    recipe = ExtractorConfig(device=bench.device)
    extractor = recipe.extractor()
    times: list[list[float]] = []
    for piece in islice(pieces(table), 6):
        clock = [bench.now()]
        ready = prepare(piece, recipe.symprec)
        clock.append(bench.now())
        extractor.features_of(ready.corpus)
        clock.append(bench.now())
        times.append(np.diff(clock).tolist())
    prepared, encoded = 1e3 * np.median(np.array(times), axis=0)
    return {"prepare": float(prepared), "encode": float(encoded)}


def differences(one: Features, other: Features) -> dict[str, Any]:
    """How far features are apart, by block, in units of the spread of each feature."""
    found = {}
    for name, values in one.blocks.items():
        apart = np.abs(values.astype(np.float64) - other.blocks[name])
        spread = np.maximum(values.std(axis=0, dtype=np.float64), 1e-6)
        norms = np.linalg.norm(values, axis=1) * np.linalg.norm(other.blocks[name], axis=1)
        cosine = (values.astype(np.float64) * other.blocks[name]).sum(1) / np.maximum(norms, 1e-30)
        found[name] = {
            "largest_in_spreads": float((apart / spread).max()),
            "relative": float(np.linalg.norm(apart) / np.linalg.norm(values)),
            "least_cosine": float(cosine.min()),
            "same_bytes": bool((apart == 0).all()),
        }
    return found


def agreement(bench: Bench) -> dict[str, Any]:
    """Features on the GPU against the CPU, and two runs; also with convolutions in TF32."""
    encoders = load_run("default")
    corpus = bench.corpus.take(range(min(COMPARED, len(bench.corpus))))

    def features(device: str) -> Features:
        return extraction.extract(corpus, encoders, device=device)

    on_cpu = features("cpu")
    first = features(bench.device)
    found: dict[str, Any] = {"crystals": len(corpus), "to_cpu": differences(on_cpu, first)}
    found["two_runs"] = differences(first, features(bench.device))
    kept = extraction._exact_convolutions
    extraction._exact_convolutions = nullcontext  # type: ignore[assignment]
    try:
        found["to_cpu, convolutions in TF32"] = differences(on_cpu, features(bench.device))
    finally:
        extraction._exact_convolutions = kept
    return found
