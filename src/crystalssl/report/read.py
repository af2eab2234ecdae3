"""A folder of a run or of evaluations -> typed records of what is stored there, for the page.

Everything may be absent: a run that was stopped, or that had no labels, still gives a report. The
layout of the folder is described in ``docs/cli.md``.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.evaluation.results import Results
from crystalssl.features.store import load_features
from crystalssl.files import read_json
from crystalssl.report.map import EmbeddingMap, read_map
from crystalssl.report.sections.overlap import DataCounts
from crystalssl.report.sections.pretraining import Weights, read_weights
from crystalssl.report.sections.property.data import ClassRun, PropertyRun, read_properties
from crystalssl.representation.panel import GroupSparsity, iterate_panel, sparsity

SCENARIOS = ("linear_probe", "shap_share", "few_shot", "ablation", "matbench")
"""Evaluations that a page may show, in its order."""
MAP_PAGE = "map.html"
"""Name of the page of the map."""
MATBENCH = "matbench"
"""The evaluation of which all folders are shown, a task each; of others the nearest one."""
DEPTH = 3
"""Folders below the one named that are looked into."""
SPARSITY_CRYSTALS = 512
"""Crystals on which the sparsity of the panel is measured, where it was not stored."""
SKIPPED = "skipped.csv"
"""Name, or end of the name, of a list of skipped structures."""
SPLITS = {"train": "training", "val": "validation", "test": "test"}
"""Splits of a structure table in words."""
SKIP_COLUMNS = ("id", "file", "reason", "remedy")
"""Columns of such a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """Everything a report may show.

    Attributes:
        folder: the folder of the report.
        config: effective settings of the run.
        weights: trained blocks, their curves and cards.
        data: counts of crystals.
        results: what was evaluated, in the order of the page.
        unreadable: why stored results are not shown.
        panel: sparsity of each panel group; empty if unknown.
        embedding: map of the features, or None.
        properties: property models of the run.
        map_page: name of the page of the map in the folder; empty without one.
    """

    folder: Path
    config: dict[str, Any]
    weights: Weights
    data: DataCounts
    results: tuple[Results, ...]
    unreadable: tuple[str, ...]
    panel: tuple[GroupSparsity, ...]
    embedding: EmbeddingMap | None
    properties: tuple[PropertyRun | ClassRun, ...] = ()
    map_page: str = ""

    def of(self, scenario: str) -> list[Results]:
        """Results of a scenario."""
        return [entry for entry in self.results if entry.record.scenario == scenario]


def read_run(
    folder: str | Path,
    *,
    features: str | Path | None = None,
    structures: str | Path | None = None,
    umap: bool = True,
) -> RunData:
    """Read the folder of a run, or of evaluations.

    Args:
        folder: where everything lies; whatever is absent is left out.
        features: features for the map, where they lie elsewhere.
        structures: table of their structures, where it lies elsewhere.
        umap: whether the map shows UMAP beside the principal components.

    Raises:
        InputError: if there is no such folder or file, the folder holds nothing to report, or
            features, structures or weights in it are damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Found no folder {folder}; expected the folder of a run. Check the path.")
    config = next((read_json(p) for p in sorted(folder.glob("config.json"))), {})
    results, unreadable = _read_results(folder)
    described = _named_or(features, folder / "features.parquet")
    table = _named_or(structures, folder / "structures.parquet")
    known = None if described is None else load_features(described)
    used = [] if known is None else [origin.weights for origin in known.origins]
    recorded = [entry.record.config.get("overlap") or {} for entry in results]
    used += [str(entry["weights"]) for entry in recorded if entry.get("weights")]
    weights = read_weights(folder, dict.fromkeys(used))
    properties, unread = read_properties(folder, table)
    if not (weights.blocks or results or unreadable or known or properties):
        raise InputError(
            f"{folder} holds no trained blocks, no features and no evaluation; expected the folder "
            "of a run. Make one with: crystalssl run --out DIR"
        )
    labelled = [entry for entry in results if entry.record.scenario != MATBENCH]
    targets = list(dict.fromkeys(row.target for entry in labelled for row in entry.rows))
    lists = _skipped_lists(folder, config, [path for path in (described, table) if path])
    return RunData(
        folder=folder,
        config=config,
        weights=weights,
        data=_read_counts(table, targets, lists),
        results=results,
        unreadable=(*unreadable, *unread),
        panel=_read_sparsity(folder),
        embedding=None if known is None else read_map(folder, known, table, targets, umap=umap),
        properties=tuple(properties),
        map_page=next((path.name for path in folder.glob(MAP_PAGE)), ""),
    )


def _read_results(folder: Path) -> tuple[tuple[Results, ...], tuple[str, ...]]:
    """Everything that was evaluated in a folder and below it, and what cannot be read."""
    results, unreadable = [], []
    for scenario in SCENARIOS:
        for path in _folders(folder, scenario):
            try:
                results.append(Results.load(path, scenario))
            except InputError as error:
                unreadable.append(str(error))
            if scenario != MATBENCH:
                break
    return tuple(results), tuple(unreadable)


def _folders(folder: Path, scenario: str) -> Iterator[Path]:
    """Folders with the record of a scenario, the nearest first; hidden ones are a run's own."""
    for depth in range(DEPTH + 1):
        pattern = "/".join([*(["*"] * depth), f"{scenario}.json"])
        for path in sorted(folder.glob(pattern)):
            if not any(name.startswith(".") for name in path.relative_to(folder).parts):
                yield path.parent


def _named_or(named: str | Path | None, usual: Path) -> Path | None:
    """The file named, else the usual one if it is there.

    Raises:
        InputError: if the file named is missing.
    """
    if named is None:
        return usual if usual.is_file() else None
    if not Path(named).is_file():
        raise InputError(f"Found no file {named}; check the path.")
    return Path(named)


def _read_counts(path: Path | None, targets: Sequence[str], lists: Sequence[Path]) -> DataCounts:
    """Counts from the structure table and the lists of skipped structures."""
    left_out = DataCounts(skipped=_read_skipped(lists), lists=tuple(p.name for p in lists))
    if path is None:
        return left_out
    wanted = [name for name in ("split", *targets) if name in pq.read_schema(path).names]
    table = pq.read_table(path, columns=wanted)
    sizes = Counter(table["split"].to_pylist()) if "split" in wanted else {}
    return replace(
        left_out,
        crystals=pq.read_metadata(path).num_rows,
        splits={text: sizes[name] for name, text in SPLITS.items() if name in sizes},
        labels={t: table.num_rows - table[t].null_count for t in targets if t in wanted},
    )


def _skipped_lists(folder: Path, config: dict[str, Any], files: Sequence[Path]) -> list[Path]:
    """Lists that a run, and the commands before it, left: in its folder, and beside its inputs.

    ``convert -o table.parquet`` writes ``table.parquet.skipped.csv``; earlier versions wrote
    ``skipped.csv`` beside the table.
    """
    sources = config.get("structures") or config.get("sources") or []
    inputs = [*files, *map(Path, [sources] if isinstance(sources, str) else sources)]
    paths = [folder / SKIPPED, *sorted(folder.glob(f"*.{SKIPPED}"))]
    for path in inputs:
        paths += [path.with_name(f"{path.name}.{SKIPPED}"), path.with_name(SKIPPED)]
    return [path for path in dict.fromkeys(p.absolute() for p in paths) if path.is_file()]


def _read_skipped(paths: Sequence[Path]) -> tuple[tuple[str, str, int], ...]:
    """(reason, remedy, count), most frequent first; a structure in two lists counts once."""
    skips: Counter[tuple[str, ...]] = Counter()
    for path in paths:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = [[row.get(n) or "" for n in SKIP_COLUMNS] for row in csv.DictReader(handle)]
        skips |= Counter(map(tuple, rows))  # the larger count of the two
    counts: Counter[tuple[str, str]] = Counter()
    for (_, _, reason, remedy), count in skips.items():
        counts[reason, remedy] += count
    return tuple((reason, remedy, count) for (reason, remedy), count in counts.most_common())


def _read_sparsity(folder: Path) -> tuple[GroupSparsity, ...]:
    """Stored sparsity of the panel, or that of some crystals of the stored corpus."""
    for path in folder.glob("panel_sparsity.json"):
        return tuple(GroupSparsity(**row) for row in read_json(path)["groups"])
    for path in folder.glob("corpus.safetensors"):
        from crystalssl.datasets.corpus import Corpus

        source = Corpus.load(path).panel
        index = np.unique(np.linspace(0, len(source) - 1, SPARSITY_CRYSTALS).astype(int))
        return sparsity(np.concatenate(list(iterate_panel(source.take(index)))))
    return ()
