"""Scenario 1: how well does a plain linear model read a property off each feature set?

Least squares and ridge on every feature set, in the same splits. Nothing is plotted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crystalssl.errors import unknown_name
from crystalssl.evaluation.analysis import IntervalRule, against_all, analyse, results_of, rows_of
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import MAGPIE, PCA, RAW, UNTRAINED, Dataset
from crystalssl.evaluation.experiment import Experiment, Progress
from crystalssl.evaluation.overlap import DropSeen, Overlap
from crystalssl.evaluation.results import Results
from crystalssl.evaluation.scenarios.verdicts import by_baseline
from crystalssl.evaluation.splits import SplitProtocol
from crystalssl.models.registry import build_head

SCENARIO = "linear_probe"
"""Name of the scenario and of its files."""
HEADS = ("ols", "ridge")
"""Heads that can be asked for; the mean of the training labels is always added."""
QUESTION = "How well does a plain linear model read a property off each feature set?"
FAILURE = (
    "Features that lose to raw FTCP, its principal axes or Magpie statistics under ridge, or do no "
    "better than untrained encoders."
)
BASELINES = (RAW, PCA, MAGPIE, UNTRAINED)
"""Feature sets that the proposed features have to beat."""
INTERVALS = IntervalRule(over_repeats=False, resamples=1000)


def linear_probe(
    dataset: Dataset,
    protocol: SplitProtocol,
    *,
    heads: Sequence[str] = HEADS,
    proposed: Sequence[str] = (),
    overlap: Overlap | None = None,
    drop_seen: DropSeen = "none",
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Results:
    """Compare feature sets by linear models.

    Split: as the protocol says; rows are the crystals that every feature set holds and that have
    the label. Scaler: columns standardised with the training rows; columns constant there are
    dropped, test values are clipped to the range seen in training; principal axes are fitted on
    the training rows. Heads: least squares cut at rounding, and ridge whose strength has the
    least error on training formulas (rows, where the split is random) left out one at a time.
    Seeds: of the protocol. Baselines: the mean of the training labels, and every feature set
    beside those proposed. Intervals: paired bootstrap over test formulas. Failure: ``FAILURE``.

    Args:
        dataset: feature sets, those on one matrix together, and targets.
        protocol: which rows are trained on and tested.
        heads: ``ols`` and/or ``ridge``.
        proposed: feature sets that are compared with all others; the last one if none.
        overlap: which crystals the weights have seen, counted in the record; None: not asked.
        drop_seen: test crystals to leave out because the weights have seen them.
        cache: keeps what is finished, so that a stopped run goes on.
        progress: called with steps done, steps in all, and what was done.

    Raises:
        InputError: if there are too few rows, a split would leak labels, or seen crystals are to
            be dropped where they are not known.
        UnknownNameError: if a head or a proposed feature set does not exist.
    """
    names = [dataset.named(name).name for name in proposed] or [dataset.sets[-1].name]
    for head in heads:
        if head not in HEADS:
            raise unknown_name("model", head, HEADS, "crystalssl evaluate linear-probe --help")
    experiment = Experiment(
        scenario=SCENARIO,
        dataset=dataset,
        protocol=protocol,
        heads=[build_head(head) for head in heads],
        cache=cache or Cache(),
        overlap=overlap,
        drop_seen=drop_seen,
        progress=progress,
    )
    cells = experiment.run()
    rows = rows_of(cells)
    summary, differences = analyse(cells, rows, INTERVALS, against_all(names))
    record = experiment.record(question=QUESTION, failure=FAILURE, proposed=names)
    verdicts = by_baseline(
        differences, record.labels, BASELINES, feature_set=names[0], head="ridge", metric="rmse"
    )
    return results_of(replace(record, verdicts=verdicts), cells, rows, summary, differences)
