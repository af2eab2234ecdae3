"""What a scenario found, as tidy rows and a summary of them: written to a folder, read back.

Base of the outcomes of few_shot.py and ablation.py, which say what their rows and summaries hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import pyarrow as pa

from crystalssl.evaluation.scenario import ResultTable, read_table, write_table

Found = TypeVar("Found", bound="Summarised")


@dataclass(frozen=True, kw_only=True, slots=True)
class Summarised:
    """Rows and a summary under the name of a scenario.

    Attributes:
        table: tidy rows.
        summary: what they come to, with intervals.
    """

    scenario: ClassVar[str]
    """File names begin with it."""

    table: ResultTable
    summary: pa.Table

    def save(self, folder: Path) -> list[Path]:
        """Write ``<scenario>.parquet``, ``.csv``, ``.json`` and ``<scenario>_summary.parquet``."""
        name = self.scenario
        return [
            self.table.save(folder / f"{name}.csv"),
            self.table.save(folder / f"{name}.parquet"),
            write_table(self.summary, folder / f"{name}_summary.csv"),
            write_table(self.summary, folder / f"{name}_summary.parquet"),
        ]

    @classmethod
    def load(cls: type[Found], folder: Path) -> Found:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if a file is missing or damaged.
        """
        return cls(
            table=ResultTable.load(folder / f"{cls.scenario}.parquet"),
            summary=read_table(folder / f"{cls.scenario}_summary.parquet"),
        )
