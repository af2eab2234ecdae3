"""A folder -> the evaluations stored in it or in folders below it, each read by its own scenario.

Every one of them may be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crystalssl.evaluation import bench, block_fits, matbench, shap_units
from crystalssl.evaluation.ablation import Ablation
from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.linear_probe import SCENARIO, LinearProbe
from crystalssl.evaluation.scenario import ResultTable

DEPTH = 3
"""Folders below the one named that are looked into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluations:
    """What was evaluated.

    Attributes:
        probe: the linear probe, or None.
        shares: SHAP shares, or None.
        few_shot: few labels, or None.
        ablation: each block alone and left out, or None.
        matbench: tasks of Matbench.
    """

    probe: LinearProbe | None = None
    shares: ResultTable | None = None
    few_shot: FewShot | None = None
    ablation: Ablation | None = None
    matbench: tuple[ResultTable, ...] = ()

    def tables(self) -> tuple[ResultTable, ...]:
        """The tidy rows of all of them, in the order of the page."""
        found = [None if x is None else x.table for x in (self.probe, self.few_shot, self.ablation)]
        found.insert(1, self.shares)
        return (*(table for table in found if table is not None), *self.matbench)

    def targets(self) -> list[str]:
        """Label columns that were predicted, in order of appearance; those of Matbench apart."""
        tables = [table for table in self.tables() if table not in self.matbench]
        return list(dict.fromkeys(row.property for table in tables for row in table.rows))

    def weights(self) -> list[str]:
        """Weights that the overlap guard recorded."""
        records = [table.record.config.get("overlap") or {} for table in self.tables()]
        return list(dict.fromkeys(str(r["weights"]) for r in records if r.get("weights")))


def read_evaluations(folder: Path) -> Evaluations:
    """Everything stored below a folder; the first of each scenario, all tasks of Matbench.

    Raises:
        InputError: if a stored file is damaged.
    """
    shares = next(_folders(folder, shap_units.SCENARIO), None)
    return Evaluations(
        probe=next(map(LinearProbe.load, _folders(folder, SCENARIO)), None),
        shares=None
        if shares is None
        else ResultTable.load(shares / f"{shap_units.SCENARIO}.parquet"),
        few_shot=next(map(FewShot.load, _folders(folder, bench.SCENARIO)), None),
        ablation=next(map(Ablation.load, _folders(folder, block_fits.SCENARIO)), None),
        matbench=tuple(
            ResultTable.load(path / f"{matbench.SCENARIO}.parquet")
            for path in _folders(folder, matbench.SCENARIO)
        ),
    )


def _folders(folder: Path, scenario: str) -> Iterator[Path]:
    """Folders that hold the rows of a scenario, the nearest first."""
    for depth in range(DEPTH + 1):
        pattern = "/".join([*(["*"] * depth), f"{scenario}.parquet"])
        yield from (path.parent for path in sorted(folder.glob(pattern)))
