"""Few labels of one property, with the names that give the numbers their meaning."""

from __future__ import annotations

from dataclasses import dataclass

from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.intervals import Estimate
from crystalssl.report.summary_rows import estimates_of, unique

BEST = "best head"
"""In the name of the baseline that took the head serving it best on the test part."""
FLOOR = -0.1
"""R2 below this is beyond the frame of the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The summary of one property, with the names that give it its meaning.

    Attributes:
        name: label column.
        entries: its estimates.
        labels: readable name of each feature set.
        ours: feature set of interest.
        mine: all sets that are ours.
        base: first of the baselines.
        unit: unit of the property.
    """

    name: str
    entries: tuple[Estimate, ...]
    labels: dict[str, str]
    ours: str
    mine: tuple[str, ...]
    base: str
    unit: str

    def shares(self) -> list[tuple[float, int]]:
        """Shares of the labels with the number of training rows, rising."""
        return sorted({(e.train_fraction, e.n_train) for e in self.entries})

    def of(self, metric: str, **wanted: object) -> list[Estimate]:
        """Estimates of a metric whose fields have the given values."""
        return [
            e
            for e in self.entries
            if e.metric == metric and all(getattr(e, k) == v for k, v in wanted.items())
        ]

    def best(self, metric: str, share: float, **wanted: object) -> Estimate | None:
        """The highest mean of a metric at a share."""
        found = self.of(metric, train_fraction=share, **wanted)
        return max(found, key=lambda e: e.mean, default=None)


def views_of(found: FewShot) -> list[View]:
    """One view for each property."""
    settings = found.table.record.config.get("settings", {})
    entries = estimates_of(found.summary)
    mine = tuple(settings.get("ours", ("ssl",)))
    present = {e.feature_set for e in entries}
    ours = next((n for n in ("ssl", *mine) if n in present), "")
    return [
        View(
            name=name,
            entries=tuple(e for e in entries if e.property == name),
            labels=found.table.record.labels,
            ours=ours,
            mine=mine,
            base=str(settings.get("base", "raw_ftcp")),
            unit=next(e.unit for e in entries if e.property == name),
        )
        for name in unique(e.property for e in entries)
    ]
