"""A run folder -> typed records of what is stored there, for the page.

Every part may be absent: a run that was stopped, or that had no labels, still gives a report. The
layout of the folder is described in ``docs/cli.md``.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.features.store import load_features
from crystalssl.files import read_json
from crystalssl.report.block_runs import Weights, read_weights
from crystalssl.report.embedding import EmbeddingMap, read_embedding
from crystalssl.report.stored import Evaluations, read_evaluations
from crystalssl.representation.panel import GroupSparsity, iterate_panel, sparsity

SPARSITY_CRYSTALS = 512
"""Crystals on which the sparsity of the panel is measured, where it was not stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCounts:
    """What went in.

    Attributes:
        crystals: crystals in use, or None if unknown.
        parts: crystals of each part of the split.
        labels: crystals with each label column that is probed.
        skipped: structures left out, by reason, most frequent first.
    """

    crystals: int | None = None
    parts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str, int], ...] = ()

    @property
    def skipped_count(self) -> int:
        """Structures left out in all."""
        return sum(count for _, _, count in self.skipped)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """Everything a report may show.

    Attributes:
        folder: the folder of the report.
        config: effective settings of the run.
        weights: trained blocks, their curves and cards.
        data: counts of crystals.
        evaluations: what was evaluated.
        panel: sparsity of each panel group; empty if unknown.
        embedding: map of the features, or None.
    """

    folder: Path
    config: dict[str, Any]
    weights: Weights
    data: DataCounts
    evaluations: Evaluations
    panel: tuple[GroupSparsity, ...]
    embedding: EmbeddingMap | None


def read_run(
    folder: str | Path,
    *,
    features: str | Path | None = None,
    structures: str | Path | None = None,
    umap: bool = True,
) -> RunData:
    """Read the folder of a run, or of evaluations.

    Args:
        folder: where everything lies; parts may be absent.
        features: features for the map, where they lie elsewhere.
        structures: table of their structures, where it lies elsewhere.
        umap: whether the map shows UMAP beside the principal components.

    Raises:
        InputError: if there is no such folder or file, the folder holds nothing to report, or a
            file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Found no folder {folder}; expected the folder of a run. Check the path.")
    config = next((read_json(p) for p in _present(folder, "config.json", "run.json")), {})
    evaluations = read_evaluations(folder)
    described = _given_or(features, folder / "features.parquet")
    table = _given_or(structures, folder / "structures.parquet")
    known = None if described is None else load_features(described)
    targets = evaluations.targets()
    origins = [] if known is None else [origin.weights for origin in known.origins]
    weights = read_weights(folder, [*origins, *evaluations.weights()])
    if not (weights.blocks or evaluations.tables() or known):
        raise InputError(
            f"{folder} holds no trained blocks, no features and no evaluation; expected the folder "
            "of a run. Make one with: crystalssl run --out DIR"
        )
    return RunData(
        folder=folder,
        config=config,
        weights=weights,
        data=_read_counts(folder, table, targets),
        evaluations=evaluations,
        panel=_read_sparsity(folder),
        embedding=None
        if known is None
        else read_embedding(folder, known, table, targets, umap=umap),
    )


def _given_or(given: str | Path | None, usual: Path) -> Path | None:
    """The file named, else the usual one if it is there.

    Raises:
        InputError: if the file named is missing.
    """
    if given is None:
        return usual if usual.is_file() else None
    if not Path(given).is_file():
        raise InputError(f"Found no file {given}; check the path.")
    return Path(given)


def _read_counts(folder: Path, path: Path | None, targets: list[str]) -> DataCounts:
    """Counts from the structure table and the list of skipped structures."""
    skipped = _read_skipped(folder / "skipped.csv")
    if path is None:
        return DataCounts(skipped=skipped)
    schema = pq.read_schema(path).names
    wanted = [name for name in ("split", *targets) if name in schema]
    table = pq.read_table(path, columns=wanted)
    parts = Counter(table["split"].to_pylist()) if "split" in wanted else {}
    return DataCounts(
        crystals=pq.read_metadata(path).num_rows,
        parts={name: parts[name] for name in ("train", "val", "test") if name in parts},
        labels={t: table.num_rows - table[t].null_count for t in targets if t in wanted},
        skipped=skipped,
    )


def _read_skipped(path: Path) -> tuple[tuple[str, str, int], ...]:
    """(reason, remedy, count), most frequent first."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as handle:
        counts = Counter((row["reason"], row["remedy"]) for row in csv.DictReader(handle))
    return tuple((reason, remedy, count) for (reason, remedy), count in counts.most_common())


def _read_sparsity(folder: Path) -> tuple[GroupSparsity, ...]:
    """Stored sparsity of the panel, or that of some crystals of the stored corpus."""
    for path in _present(folder, "panel_sparsity.json"):
        return tuple(GroupSparsity(**row) for row in read_json(path)["groups"])
    for path in _present(folder, "corpus.safetensors"):
        from crystalssl.datasets.corpus import Corpus

        source = Corpus.load(path).panel
        index = np.unique(np.linspace(0, len(source) - 1, SPARSITY_CRYSTALS).astype(int))
        return sparsity(np.concatenate(list(iterate_panel(source.take(index)))))
    return ()


def _present(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]
