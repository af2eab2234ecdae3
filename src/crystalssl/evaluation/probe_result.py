"""What the linear probe found, on disk and back: tidy rows, margins, wins, predictions.

Made by linear_probe.py, read by report/ and by the commands.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.evaluation.compare import Comparison
from crystalssl.evaluation.margins import count_wins, margin_table, read_margins
from crystalssl.evaluation.scenario import ResultTable, read_table, write_table

SCENARIO = "linear_probe"
"""Scenario name in the results, and of the files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """What the scenario found.

    Attributes:
        table: tidy rows with their record.
        predictions: columns property, unit, split_kind, fold, feature_set, model, immutable_id,
            y_true, y_pred; for the parity plot.
        margins: every champion against every other feature set, with intervals.
        tested: rows that were tested in any split; not stored.
    """

    table: ResultTable
    predictions: pa.Table
    margins: tuple[Comparison, ...] = ()
    tested: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def save(self, folder: Path) -> list[Path]:
        """Write rows, record, margins, wins (``.parquet`` and ``.csv``) and ``parity.parquet``."""
        wins = [asdict(entry) for entry in count_wins(self.margins)]
        extra = {"margins": margin_table(self.margins), "wins": pa.Table.from_pylist(wins)}
        return [
            self.table.save(folder / f"{SCENARIO}.csv"),
            self.table.save(folder / f"{SCENARIO}.parquet"),
            *(
                write_table(table, folder / f"{SCENARIO}_{name}.{ending}")
                for name, table in extra.items()
                if len(table)
                for ending in ("csv", "parquet")
            ),
            write_table(self.predictions, folder / "parity.parquet"),
        ]

    @staticmethod
    def load(folder: Path) -> LinearProbe:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing or damaged.
        """
        margins = folder / f"{SCENARIO}_margins.parquet"
        return LinearProbe(
            table=ResultTable.load(folder / f"{SCENARIO}.parquet"),
            predictions=read_table(folder / "parity.parquet"),
            margins=read_margins(read_table(margins)) if margins.is_file() else (),
        )
