"""Folds of a task -> a record as Matbench writes and checks it (``MatbenchBenchmark.as_dict``).

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
from crystalssl.files import read_json

BENCHMARK = "matbench_v0.1"
"""Name of the benchmark."""
VERSION = "0.6"
"""Version of matbench whose format this is."""
DATESTAMP = "%Y.%m.%d %H:%M.%S"
"""Format of the time, UTC."""


def benchmark_record(
    task: str, results: Mapping[str, Any], user_metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a benchmark that holds one task.

    Args:
        task: task name.
        results: ``fold_0`` and so on, each with ``data`` (Matbench id to prediction),
            ``parameters``, ``scores`` and ``uncertainty``.
        user_metadata: what the run says of itself. Values are texts, numbers, truth values or
            dictionaries of these: Matbench hashes lists of dictionaries in another way.
    """
    entry = {
        "@module": "matbench.task",
        "@class": "MatbenchTask",
        "benchmark_name": BENCHMARK,
        "dataset_name": task,
        "results": dict(results),
    }
    record = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": VERSION,
        "benchmark_name": BENCHMARK,
        "tasks": {task: entry},
        "user_metadata": dict(user_metadata),
        "datestamp": datetime.now(timezone.utc).strftime(DATESTAMP),
    }
    return {**record, "hash": record_hash(record)}


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
