"""Number of labels and kinds of columns -> the models that are tried, and how often.

A candidate is a head of crystalssl.models on some sections of the inputs. The plan depends on the
number of labels alone unless a budget in minutes shrinks it. After inputs.py, before
cross_validation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, unknown_name
from crystalssl.models.boosting import LightGBM
from crystalssl.models.contract import Head, Kind
from crystalssl.models.ensemble import Ensemble
from crystalssl.models.gaussian_process import GaussianProcess
from crystalssl.models.linear import Logistic, Ridge
from crystalssl.models.linear_boosting import LinearBoosting
from crystalssl.models.mlp import MLP
from crystalssl.properties.inputs import ALSO, BLOCKS, MIXED, PHYSICS, Inputs

FEW = 500
"""Labels below which weak candidates are left out: so few cannot tell which weights to trust."""
NETWORKS = 1_000
"""Labels from which networks are tried; with fewer they lose to Gaussian processes."""
MANY = 1_500
"""Labels from which only two Gaussian processes are tried, and trees beside a ridge alone."""
LARGE = 3_000
"""Labels from which there are four folds: each fit is long."""
HUGE = 10_000
"""Labels from which networks are wider, and three clusters are left out instead of five."""
FEATURES, BOTH, VIEWS, ALL = "features", "both", "views", "all"
"""Names of what a candidate reads, beside ``physics``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that joins the stack.

    Attributes:
        name: ``HEAD on COLUMNS``.
        head: model with its settings.
        kinds: sections that it reads.
    """

    name: str
    head: Head
    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is tried, and how often.

    Attributes:
        candidates: models in the stack.
        folds: folds of each cross-validation, at least 3.
        repeats: cross-validations with other folds.
        clusters: clusters that are left out one after another.
        notes: what was left out for want of time.
    """

    candidates: tuple[Candidate, ...]
    folds: int
    repeats: int
    clusters: int
    notes: tuple[str, ...] = ()

    @property
    def fits_of_each(self) -> int:
        """Fits of one candidate: pairs of folds and single ones in every repeat, and the last."""
        return self.repeats * (self.folds * (self.folds + 1) // 2) + self.clusters + 1


def build_plan(
    inputs: Inputs, labels: int, *, kind: Kind = "regression", piled: bool = False
) -> Plan:
    """The plan without a budget.

    Args:
        inputs: columns that there are.
        labels: number of labelled crystals.
        kind: what labels are.
        piled: whether labels pile up at an end of their range, as band gaps do at zero; then some
            trees minimise absolute errors, whose best prediction is the median.
    """
    views = {
        FEATURES: (ALSO, MIXED),
        PHYSICS: (PHYSICS, ALSO),
        BOTH: (PHYSICS, ALSO, MIXED),
        VIEWS: (BLOCKS, PHYSICS, ALSO),
        ALL: (BLOCKS, PHYSICS, ALSO, MIXED),
    }
    there = inputs.kinds()
    if MIXED not in there:
        views = {FEATURES: (ALSO, BLOCKS), PHYSICS: (PHYSICS, ALSO), BOTH: (PHYSICS, ALSO, BLOCKS)}
    if PHYSICS not in there:
        views = {FEATURES: views[FEATURES]}
    widest = list(views)[-1]
    # where labels are many, what reads most does best, and each fit costs minutes
    gaussians = [name for name in views if name == widest or (name != BOTH and labels < MANY)]
    if labels >= MANY:
        gaussians = [name for name in views if name in (PHYSICS, widest)]
    elif labels < FEW and len(views) > 1:
        gaussians = [name for name in gaussians if name != FEATURES]
    candidates: list[Candidate] = []
    for name, kinds in views.items():
        widths = inputs.columns(kinds)[1]
        if name not in (VIEWS, ALL) and not (labels < FEW and name == PHYSICS):
            ridge = Ridge() if kind == "regression" else Logistic()
            candidates.append(_candidate("ridge", name, ridge, kinds))
        if name in gaussians:
            gaussian = gaussian_process(labels, kind, widths)
            candidates.append(_candidate("gaussian process", name, gaussian, kinds))
        # trees beside a ridge make those on physics alone needless, where each fit is long
        if (name == PHYSICS and (labels < MANY or BOTH not in views)) or widest == FEATURES:
            candidates.append(_candidate("boosting", name, boosting(labels, kind), kinds))
        if name == BOTH and labels >= FEW:
            named = inputs.columns([k for k in (PHYSICS, ALSO) if k in there])[1]
            trees = LinearBoosting(kind=kind, named=sum(named), trees=boosting(labels, kind))
            candidates.append(_candidate("boosting", name, trees, kinds))
        if piled and name == PHYSICS:
            median = replace(boosting(labels, kind), absolute=True)
            candidates.append(_candidate("boosting of medians", name, median, kinds))
        if labels >= NETWORKS and name == (BOTH if BOTH in views else widest):
            candidates.append(_candidate("networks", name, networks_of(labels, kind), kinds))
    folds, repeats = (5, 3) if labels < 1_000 else (5, 2) if labels < 2_000 else (5, 1)
    if labels >= LARGE:
        folds = 4
    clusters = 5 if labels < HUGE else 3
    return Plan(candidates=tuple(candidates), folds=folds, repeats=repeats, clusters=clusters)


def gaussian_process(labels: int, kind: Kind, widths: tuple[int, ...]) -> GaussianProcess:
    """More rows for the marginal likelihood where there are many labels; each axis costs more."""
    rows, axes = (600, 100) if labels < MANY else (1_200, 80)
    return GaussianProcess(kind=kind, widths=widths, likelihood_rows=rows, axes=axes)


def networks_of(labels: int, kind: Kind) -> Ensemble:
    """Wider networks where there are many labels."""
    hidden = (256, 64) if labels < HUGE else (512, 128)
    return Ensemble(kind=kind, member=MLP(kind=kind, hidden=hidden, absolute=True), size=2)


def boosting(labels: int, kind: Kind) -> LightGBM:
    """Trees with early stopping; few and small ones where labels are few."""
    rounds, rate = (300, 0.1) if labels < 1_000 else (800, 0.07)
    return LightGBM(kind=kind, threads=1, rounds=rounds, learning_rate=rate, patience=20)


def shrunk(
    plan: Plan,
    groups: npt.NDArray[np.str_],
    folds: int | None = None,
    repeats: int | None = None,
    heads: Sequence[str] | None = None,
) -> Plan:
    """A plan of chosen size, with no more folds and clusters than groups allow.

    Args:
        plan: the usual one.
        groups: (n,) what no split may divide.
        folds: folds, at least 3; None for the plan's.
        repeats: repeats; None for the plan's.
        heads: heads to keep; None for all.

    Raises:
        InputError: if there are fewer than three groups, or no candidate is left.
        UnknownNameError: for an unknown head.
    """
    names = list(dict.fromkeys(entry.name.partition(" on ")[0] for entry in plan.candidates))
    for head in heads or ():
        if head not in (*names, "networks"):
            raise unknown_name("candidate", head, (*names, "networks"))
    kept = tuple(
        entry
        for entry in plan.candidates
        if heads is None or entry.name.partition(" on ")[0] in heads
    )
    if not kept:
        raise InputError(f"None of {heads} is tried with so few labels; expected some of {names}.")
    count = len(np.unique(groups))
    if count < 3:
        raise InputError(f"Got crystals of {count} groups; expected at least 3. Use more labels.")
    return replace(
        plan,
        candidates=kept,
        folds=min(max(3, folds or plan.folds), count),
        repeats=max(1, repeats or plan.repeats),
    )


def within_budget(plan: Plan, seconds: Mapping[str, float], budget: float, workers: int) -> Plan:
    """A plan that is done in about so many minutes: fewer repeats, then fewer candidates.

    Args:
        plan: the usual one.
        seconds: of one fit of each candidate; one without is left out.
        budget: minutes.
        workers: fits at a time.
    """

    def minutes(tried: Plan) -> float:
        total = sum(seconds[entry.name] for entry in tried.candidates)
        return tried.fits_of_each * total / workers / 60.0

    tried = tuple(entry for entry in plan.candidates if entry.name in seconds)
    small = replace(plan, candidates=tried or plan.candidates[:1])
    while minutes(small) > budget and small.repeats > 1:
        small = replace(small, repeats=small.repeats - 1)
    while minutes(small) > budget and len(small.candidates) > 1:
        dearest = max(small.candidates, key=lambda entry: seconds[entry.name])
        kept = tuple(entry for entry in small.candidates if entry is not dearest)
        small = replace(small, candidates=kept)
    while minutes(small) > budget and small.folds > 3:
        small = replace(small, folds=small.folds - 1)
    if minutes(small) > budget and small.clusters:
        small = replace(small, clusters=0)
    if small == plan:
        return plan
    dropped = [entry.name for entry in plan.candidates if entry not in small.candidates]
    note = (
        f"To be done in {budget:g} minutes: {small.repeats} of {plan.repeats} repeats, "
        f"{small.folds} folds, {small.clusters} clusters left out"
    )
    note += f", without {', '.join(dropped)}" if dropped else ""
    return replace(small, notes=(*plan.notes, note))


def _candidate(head: str, view: str, model: Head, kinds: Sequence[str]) -> Candidate:
    return Candidate(name=f"{head} on {view}", head=model, kinds=tuple(kinds))
