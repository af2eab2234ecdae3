"""Errors of feature sets on the same test rows -> margins with intervals, and a count of wins.

The interval is a paired bootstrap over test formulas: crystals of one formula are drawn together,
and both sides of a comparison see the same draw. After linear_probe.py; the report draws from it.
Source: Efron, Tibshirani, An Introduction to the Bootstrap, chapters 13 and 8.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.evaluation.compare import Comparison, share_of
from crystalssl.evaluation.protocols import Split
from crystalssl.models.arrays import Floats

DRAWS = 1000
"""Draws of the bootstrap."""
LEVEL = 0.95
"""Coverage of the intervals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitErrors:
    """Errors of every feature set in one split.

    Attributes:
        split: rows of both sides.
        properties: names of the t targets.
        models: names of the m models.
        errors: (m, t, test rows) predicted less true for each feature set.
    """

    split: Split
    properties: tuple[str, ...]
    models: tuple[str, ...]
    errors: dict[str, Floats]


class Bootstrap:
    """Root mean square errors of feature sets under draws of test formulas.

    The same draws serve every feature set and model, so that differences are paired.
    """

    def __init__(
        self, found: Sequence[SplitErrors], groups: npt.NDArray[np.str_], seed: int = 0
    ) -> None:
        """Draw formulas.

        Args:
            found: splits of one comparison: folds, or seeds.
            groups: (n,) formula of each crystal.
            seed: seed of the draws.
        """
        self._found = found
        names = np.unique(groups[np.concatenate([each.split.test for each in found])])
        self._index = [np.searchsorted(names, groups[each.split.test]) for each in found]
        rng = np.random.default_rng(seed)
        share = np.full(len(names), 1 / len(names))
        drawn = rng.multinomial(len(names), share, size=DRAWS)
        self._weights = drawn.astype(np.float64)

    def rmse(self, feature_set: str, model: str, target: str) -> Floats:
        """(draws,) mean over splits of the root mean square error."""
        total = np.zeros(DRAWS)
        width = self._weights.shape[1]
        for each, index in zip(self._found, self._index, strict=True):
            place = each.models.index(model), each.properties.index(target)
            squares = np.square(each.errors[feature_set][place])
            sums = np.stack([np.bincount(index, v, width) for v in (squares, np.ones(len(index)))])
            error, count = (self._weights @ sums.T).T
            total += np.sqrt(error / np.maximum(count, 1))
        return total / len(self._found)


def interval(draws: Floats) -> tuple[float, float]:
    """Percentile interval of some draws, coverage ``LEVEL``."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def with_intervals(
    comparisons: Sequence[Comparison],
    found: Sequence[SplitErrors],
    groups: npt.NDArray[np.str_],
    seed: int = 0,
) -> list[Comparison]:
    """The same comparisons with the intervals of their margins and errors.

    Args:
        comparisons: from :func:`~crystalssl.evaluation.compare.compare`.
        found: errors of every split.
        groups: (n,) formula of each crystal.
        seed: seed of the draws.
    """
    done: dict[int, Comparison] = {}
    families: dict[tuple[str, float], list[int]] = {}
    for place, entry in enumerate(comparisons):
        families.setdefault((entry.split_kind, entry.train_fraction), []).append(place)
    for key, places in families.items():  # draws of one at a time in memory
        own = [e for e in found if key == (e.split.kind, _share(e.split))]
        bootstrap = Bootstrap(own, groups, seed)
        errors: dict[tuple[str, ...], Floats] = {}
        for place in places:
            entry = comparisons[place]
            for name in (entry.baseline, entry.champion):
                what = (name, entry.model, entry.property)
                if what not in errors:
                    errors[what] = bootstrap.rmse(*what)
            baseline, champion = (
                errors[name, entry.model, entry.property]
                for name in (entry.baseline, entry.champion)
            )
            done[place] = _with_interval(entry, baseline, champion)
    return [done[place] for place in range(len(comparisons))]


def _with_interval(entry: Comparison, baseline: Floats, champion: Floats) -> Comparison:
    """A comparison with intervals, from (draws,) errors of both sides."""
    margin, ours, theirs = (interval(x) for x in (baseline - champion, champion, baseline))
    return replace(
        entry,
        margin_low=margin[0],
        margin_high=margin[1],
        champion_low=ours[0],
        champion_high=ours[1],
        baseline_low=theirs[0],
        baseline_high=theirs[1],
    )


def _share(split: Split) -> float:
    return share_of(split.kind, split.train_fraction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wins:
    """How often a feature set beats another.

    Attributes:
        champion: feature set of interest.
        baseline: feature set it is held against.
        model: model of both sides.
        split_kind: kind of split.
        won: comparisons with a lower error.
        surely: of these, with the whole interval of the margin above zero.
        of: comparisons in all.
        least: smallest margin over the baseline's error, as a share of it.
        most: largest.
    """

    champion: str
    baseline: str
    model: str
    split_kind: str
    won: int
    surely: int
    of: int
    least: float
    most: float


def count_wins(margins: Sequence[Comparison]) -> list[Wins]:
    """Wins of each champion against each baseline, by model and kind of split."""
    groups: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for entry in margins:
        key = (entry.champion, entry.baseline, entry.model, entry.split_kind)
        groups.setdefault(key, []).append(entry)
    found = []
    for (champion, baseline, model, kind), entries in groups.items():
        shares = [e.margin / e.baseline_rmse for e in entries if e.baseline_rmse > 0]
        found.append(
            Wins(
                champion=champion,
                baseline=baseline,
                model=model,
                split_kind=kind,
                won=sum(e.margin > 0 for e in entries),
                surely=sum(e.margin_low is not None and e.margin_low > 0 for e in entries),
                of=len(entries),
                least=min(shares, default=0.0),
                most=max(shares, default=0.0),
            )
        )
    return found


def margin_table(margins: Sequence[Comparison]) -> pa.Table:
    """Comparisons as a table, one row each."""
    names = [entry.name for entry in fields(Comparison)]
    return pa.table({name: [getattr(entry, name) for entry in margins] for name in names})


def read_margins(table: pa.Table) -> tuple[Comparison, ...]:
    """What :func:`margin_table` made."""
    return tuple(Comparison(**row) for row in table.to_pylist())
