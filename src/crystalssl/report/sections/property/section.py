"""A property model of a run -> the section that answers its user: how well is my property known?

Parity of all out-of-fold predictions, what intervals hold, what more labels would bring, which
families and which crystals are predicted worst, and what the encoders had seen of them.
"""

from __future__ import annotations

import numpy as np

from crystalssl.report import page
from crystalssl.report.page import (
    Check,
    Outcome,
    Section,
    counted,
    joined,
    judged,
    percent,
    significant,
)
from crystalssl.report.sections.property.data import LabelledRun, PropertyRun
from crystalssl.report.sections.property.judgement import (
    ELEMENTS,
    MEAN,
    MODEL,
    finetuned,
    overlap,
    scores,
)
from crystalssl.report.sections.property.passages import (
    NORMAL,
    coverage_of,
    ends,
    families,
    learning,
    outlook,
    parity,
    unit_of,
    worst_crystals,
    worst_family,
)


def property_section(model: PropertyRun, map_page: str = "") -> Section:
    """The section of one property.

    Args:
        model: the property model.
        map_page: page of the map that points and names lead to; empty without one.
    """
    rmse = model.metric(MODEL, "rmse")
    passages = [
        parity(model, map_page), scores(model), finetuned(model), coverage_of(model),
        learning(model), *families(model), worst_crystals(model, map_page), overlap(model),
    ]  # fmt: skip
    title = f"My property: {model.title}"
    return Section(
        anchor=f"property-{model.folder.name}",
        title=title,
        question="How well is it predicted for crystals whose formula the model has not seen?",
        finding=_finding(model),
        detail=_detail(model),
        failure="The model would be of no use if it were no better than the mean of the labels or "
        "than statistics of the elements, and its intervals would be wrong if they held another "
        "share of the crystals than they promise.",
        checks=tuple(_checks(model)) if rmse is not None else (),
        protocol=protocol(model),
        passages=tuple(passage for passage in passages if passage is not None),
    )


def _finding(model: PropertyRun) -> str:
    """What came out, in a sentence."""
    rmse, r2 = model.metric(MODEL, "rmse"), model.metric(MODEL, "r2")
    if rmse is None:
        return f"Predictions of {counted(len(model), 'crystal')}."
    others = [
        f"{significant(found['mean'])} for {name}"
        for of, name in ((ELEMENTS, "element statistics"), (MEAN, "the mean of the labels"))
        if (found := model.metric(of, "rmse")) is not None
    ]
    held = model.card.get("coverage", {})
    text = (
        f"Root mean square error {significant(rmse['mean'])}{unit_of(model)} "
        f"{ends(rmse['low'], rmse['high'])}"
        + (f", R² {significant(r2['mean'])}" if r2 else "")
        + f", on {counted(len(model), 'crystal')} that were predicted without their formula"
    )
    text += f"; {page.listed(others)}." if others else "."
    if "nested" in held:
        text += (
            f" Intervals meant to hold {percent(held['level'])} of crystals hold "
            f"{percent(held['nested'], 1)}."
        )
    return text


def _detail(model: PropertyRun) -> str:
    """What to do next, from the learning curve and the worst family."""
    return joined([outlook(model), worst_family(model)])


def _checks(model: PropertyRun) -> list[Check]:
    """Claims that could have failed."""
    checks = []
    r2, rmse = model.metric(MODEL, "r2"), model.metric(MODEL, "rmse")
    if r2 is not None:
        checks.append(
            Check(
                claim="it predicts better than the mean of the labels",
                outcome=judged(r2["mean"], r2["low"], r2["high"]),
                evidence=f"R² {significant(r2['mean'])} {ends(r2['low'], r2['high'])}; the mean "
                "has 0.",
            )
        )
    other = model.metric(ELEMENTS, "rmse")
    if other is not None and rmse is not None:
        outcome: Outcome = "open"
        if rmse["high"] < other["low"]:
            outcome = "held"
        elif rmse["low"] > other["high"] or rmse["mean"] >= other["mean"]:
            outcome = "failed"
        checks.append(
            Check(
                claim="it predicts better than boosting on statistics of the elements",
                outcome=outcome,
                evidence=f"RMSE {significant(rmse['mean'])} {ends(rmse['low'], rmse['high'])} "
                f"against {significant(other['mean'])} {ends(other['low'], other['high'])}.",
            )
        )
    coverage = model.card.get("coverage", {})
    if "nested" in coverage:
        level, held = float(coverage["level"]), float(coverage["nested"])
        chance = max(0.02, NORMAL * float(np.sqrt(level * (1 - level) / max(len(model), 1))))
        near = abs(held - level) <= chance
        checks.append(
            Check(
                claim="intervals hold the share of crystals that they promise",
                outcome="held" if near else "failed" if held < level else "open",
                evidence=f"{percent(held, 1)} of {len(model):,} for {percent(level)}; within "
                f"{percent(chance, 1)} is chance.",
            )
        )
    return checks


def protocol(model: LabelledRun) -> str:
    """How it was measured."""
    plan, counts = model.card.get("plan", {}), model.card.get("counts", {})
    bounds = int(counts.get("bounds", 0))
    parts = [
        f"{plan.get('repeats', 1)} x {plan.get('folds', '?')}-fold cross-validation of all "
        f"{counted(len(model), 'labelled crystal')}; crystals of one formula are in one fold, and "
        "whatever is chosen (candidates, their weights, intervals) is chosen inside the training "
        "folds. A crystal's prediction below is the mean over repeats.",
        f"{counted(bounds, 'label')} that only bound the value (such as <1E-10) are left out."
        if bounds
        else "",
        *map(str, plan.get("notes", [])),
    ]
    return joined(parts)
