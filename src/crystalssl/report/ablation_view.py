"""The ablation of one property: errors of selections of blocks, and their differences."""

from __future__ import annotations

from dataclasses import dataclass

from crystalssl.blocks.registry import list_blocks
from crystalssl.evaluation.ablation import Ablation
from crystalssl.evaluation.block_fits import ALL, ONLY, WITHOUT
from crystalssl.evaluation.intervals import Estimate
from crystalssl.report.summary_rows import estimates_of, unique
from crystalssl.report.svg import block_colour

MODEL = "ridge"
"""Model of the figures; least squares stands in the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The ablation of one property.

    Attributes:
        name: label column.
        unit: its unit.
        entries: its estimates.
        sources: sets of features, the one of interest first.
        blocks: blocks, in order.
        labels: readable names of the selections.
    """

    name: str
    unit: str
    entries: tuple[Estimate, ...]
    sources: tuple[str, ...]
    blocks: tuple[str, ...]
    labels: dict[str, str]

    def get(
        self, source: str, selection: str, against: str = "", model: str = MODEL, metric: str = ""
    ) -> Estimate | None:
        """Error of a selection of blocks, or its difference to that of another."""
        wanted = metric or ("rmse_difference" if against else "rmse")
        key = (f"{source}: {selection}", against, model, wanted)
        return next(
            (e for e in self.entries if (e.feature_set, e.baseline, e.model, e.metric) == key), None
        )

    def loss(self, block: str) -> Estimate | None:
        """By how much the error grows when a block is left out."""
        source = self.sources[0]
        return self.get(source, f"{WITHOUT} {block}", f"{source}: {ALL}")

    def gains(self, block: str) -> list[Estimate]:
        """Error of a trained block alone less that of the same block of other features."""
        chosen = f"{ONLY} {block}"
        found = [
            self.get(self.sources[0], chosen, f"{other}: {chosen}") for other in self.sources[1:]
        ]
        return [entry for entry in found if entry is not None]


def views_of(found: Ablation) -> list[View]:
    """One view for each property."""
    entries = estimates_of(found.summary)
    blocks = found.table.record.config["blocks"]
    return [
        View(
            name=name,
            unit=next(e.unit for e in entries if e.property == name),
            entries=tuple(e for e in entries if e.property == name),
            sources=tuple(blocks),
            blocks=tuple(next(iter(blocks.values()))),
            labels=found.table.record.labels,
        )
        for name in unique(e.property for e in entries)
    ]


def colour_of_block(name: str) -> str:
    """Colour of a block by its name; that after the last for one that is not installed."""
    names = [block.name for block in list_blocks()]
    return block_colour(names.index(name) if name in names else len(names))
