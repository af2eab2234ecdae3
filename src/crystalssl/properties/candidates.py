"""Number of labels and kinds of columns -> the models that are tried, and how often.

A candidate is a head of crystalssl.models on some sections of the inputs. The plan depends on the
number of labels alone unless a budget in minutes shrinks it. After inputs.py, before
cross_validation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crystalssl.models.boosting import LightGBM
from crystalssl.models.contract import Head, Kind
from crystalssl.models.ensemble import Ensemble
from crystalssl.models.gaussian_process import GaussianProcess
from crystalssl.models.linear import Logistic, Ridge
from crystalssl.models.mlp import MLP
from crystalssl.properties.inputs import ALSO, BLOCKS, MIXED, PHYSICS, Inputs

NETWORKS = 1_000
"""Labels from which networks are tried; with fewer they lose to Gaussian processes."""
LARGE = 10_000
"""Labels from which there are four folds and three clusters, to be done in half an hour."""
FEATURES, BOTH, VIEWS, ALL = "features", "both", "views", "all"
"""Names of what a candidate reads, beside ``physics``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that joins the stack.

    Attributes:
        name: ``HEAD on COLUMNS``.
        head: model with its settings.
        kinds: sections that it reads.
        cost: rough cost of a fit beside the others, to drop the dearest first.
    """

    name: str
    head: Head
    kinds: tuple[str, ...]
    cost: float


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


def build_plan(inputs: Inputs, labels: int, *, kind: Kind = "regression", threads: int = 0) -> Plan:
    """The plan without a budget.

    Args:
        inputs: columns that there are.
        labels: number of labelled crystals.
        kind: what labels are.
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
    candidates: list[Candidate] = []
    for name, kinds in views.items():
        widths = inputs.columns(kinds)[1]
        if name not in (VIEWS, ALL):
            ridge = Ridge() if kind == "regression" else Logistic()
            candidates.append(_candidate("ridge", name, ridge, kinds, 1.0))
        if name != BOTH or widest == BOTH:
            gaussian = gaussian_process(labels, kind, widths)
            candidates.append(_candidate("gaussian process", name, gaussian, kinds, 4.0))
        if name in (PHYSICS, BOTH) or widest == FEATURES:
            trees = boosting(labels, kind)
            candidates.append(_candidate("boosting", name, trees, kinds, 2.0))
        if labels >= NETWORKS and name == widest:
            networks = networks_of(labels, kind)
            candidates.append(_candidate("networks", name, networks, kinds, 8.0))
    folds, repeats = (5, 3) if labels < 1_000 else (5, 2) if labels < 2_000 else (5, 1)
    if labels >= LARGE:
        folds = 4
    clusters = 5 if labels < LARGE else 3
    return Plan(candidates=tuple(candidates), folds=folds, repeats=repeats, clusters=clusters)


def gaussian_process(labels: int, kind: Kind, widths: tuple[int, ...]) -> GaussianProcess:
    """More rows for the marginal likelihood, and more axes, where there are many labels."""
    rows, axes = (600, 60) if labels < 1_500 else (1_200, 80)
    return GaussianProcess(kind=kind, widths=widths, likelihood_rows=rows, axes=axes)


def networks_of(labels: int, kind: Kind) -> Ensemble:
    """Wider networks where there are many labels."""
    hidden = (256, 64) if labels < LARGE else (512, 128)
    return Ensemble(kind=kind, member=MLP(kind=kind, hidden=hidden))


def boosting(labels: int, kind: Kind) -> LightGBM:
    """Trees with early stopping; few and small ones where labels are few."""
    rounds, rate = (300, 0.1) if labels < 1_000 else (800, 0.07)
    return LightGBM(kind=kind, threads=1, rounds=rounds, learning_rate=rate, patience=20)


def without(plan: Plan, dropped: Sequence[str], note: str) -> Plan:
    """The plan without some candidates, and why."""
    kept = tuple(entry for entry in plan.candidates if entry.name not in dropped)
    return replace(plan, candidates=kept, notes=(*plan.notes, note))


def _candidate(head: str, view: str, model: Head, kinds: Sequence[str], cost: float) -> Candidate:
    return Candidate(name=f"{head} on {view}", head=model, kinds=tuple(kinds), cost=cost)
