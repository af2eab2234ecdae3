"""Results of a task -> a record as Matbench writes and checks it (``MatbenchBenchmark.as_dict``).

The hash is the one Matbench computes when it reads the file, and ``MatbenchBenchmark.from_file``
takes the record: SHA-256 of the JSON of everything else, keys sorted.
Source: matbench 0.6 (bench.py, task.py, util.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from crystalssl.errors import InputError
from crystalssl.evaluation.matbench.folds import EXTRA_SCORES
from crystalssl.evaluation.results import MEAN, Results
from crystalssl.files import read_json, write_json

BENCHMARK = "matbench_v0.1"
"""Name of the benchmark."""
VERSION = "0.6"
"""Version of matbench whose format this is."""
RECORD_FILE = "results.json"
"""File of the record."""
NO_SCORES = (*EXTRA_SCORES, "fit_seconds", "strength")
"""Metrics of ours that are no scores of Matbench."""
DATESTAMP = "%Y.%m.%d %H:%M.%S"
"""Format of the time, UTC."""


def save_record(results: Results, folder: Path) -> Path:
    """Write the record of a task, ``results.json``, unless nothing but its time would change.

    Args:
        results: of :func:`.run.matbench`.
        folder: folder of the results.
    """
    record, path = benchmark_record(results), Path(folder) / RECORD_FILE
    return path if unchanged(record, path) else write_json(record, path)


def benchmark_record(results: Results) -> dict[str, Any]:
    """The record of a benchmark that holds one task.

    Values of the metadata are texts, numbers or truth values: Matbench hashes lists of
    dictionaries in another way.

    Args:
        results: of :func:`.run.matbench`.
    """
    config = results.record.config
    entry = {
        "@module": "matbench.task",
        "@class": "MatbenchTask",
        "benchmark_name": BENCHMARK,
        "dataset_name": config["task"],
        "results": _folds(results),
    }
    record = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": VERSION,
        "benchmark_name": BENCHMARK,
        "tasks": {config["task"]: entry},
        "user_metadata": _metadata(results),
        "datestamp": datetime.now(timezone.utc).strftime(DATESTAMP),
    }
    return {**record, "hash": record_hash(record)}


def _folds(results: Results) -> dict[str, Any]:
    """Each fold as Matbench records it: predictions by Matbench id, parameters and scores."""
    config = results.record.config
    (settings,) = config["heads"].values()
    flat = {k: v for k, v in settings.items() if isinstance(v, str | int | float)}
    columns = results.predictions.select(["immutable_id", "fold", "head", "predicted"]).to_pydict()
    folds = [
        {
            "data": {},
            "parameters": {**flat, **counts},
            "scores": {
                row.metric: row.value
                for row in results.rows
                if row.fold == fold and row.head != MEAN and row.metric not in NO_SCORES
            },
            "uncertainty": None,
        }
        for fold, counts in enumerate(config["folds"])
    ]
    for key, fold, head, predicted in zip(*columns.values(), strict=True):
        if head != MEAN:
            folds[fold]["data"][key] = predicted
    return {f"fold_{number}": fold for number, fold in enumerate(folds)}


def _metadata(results: Results) -> dict[str, Any]:
    """What the Matbench record says of the run, flat."""
    record = results.record
    return {
        "algorithm": "crystalssl",
        "algorithm_long": record.protocol,
        "official_task": record.config["official"],
        "data_hash": record.data_hash,
        **{name: value for name, value in record.config.items() if isinstance(value, str)},
        **{name.replace(" ", "_"): count for name, count in record.counts.items()},
        **{f"version_{name}": version for name, version in record.versions.items()},
        "head": next(iter(record.config["heads"])),
        "seed": record.seeds[-1],
    }


def record_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record as JSON with sorted keys, its own ``hash`` left out."""
    rest = {name: value for name, value in record.items() if name != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def unchanged(record: Mapping[str, Any], path: Path) -> bool:
    """Whether a file holds this record already, its time apart: it is not written again then."""
    try:
        stored = read_json(path)
    except InputError:
        return False
    return all(stored.get(name) == record[name] for name in record if name not in LATER)


LATER = ("datestamp", "hash")
"""Fields that differ between two runs with the same results."""
