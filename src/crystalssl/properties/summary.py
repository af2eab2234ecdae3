"""The card of a property model -> what a person reads on screen: a few lines.

Used by pipeline/properties.py after a fit.
"""

from __future__ import annotations

from crystalssl.properties.card import PropertyCard, ScoreCard
from crystalssl.properties.report import TITLES


def summary(card: PropertyCard) -> list[str]:
    """A fit in a few lines.

    Args:
        card: its card.
    """
    unit = f" {card.unit}" if card.unit else ""
    counts = card.counts
    lines = [
        f"{card.target}: {counts['labelled']:,} labelled crystals of {counts['formulas']:,} "
        f"formulas; {card.plan['repeats']} x {card.plan['folds']}-fold cross-validation, formulas "
        "kept together"
    ]
    if left := counts["labels without a structure"] + counts["structures without a label"]:
        lines.append(f"{left:,} labels or structures without the other are in unmatched.csv")
    for name, score in card.metrics.items():
        if score.metrics:
            lines.append(f"  {name}: {_metrics_text(score, unit)} on {score.rows:,} crystals")
        if score.note:
            lines.append(f"  {name}: {score.note}")
    coverage = card.coverage
    if card.task == "classification":
        error = coverage["calibration_error"]
        text = f"Probabilities are off by {error:.1%} on average for unseen formulas"
        if clusters := coverage.get("clusters_left_out"):
            text += f", {clusters['calibration_error']:.1%} where whole clusters were left out"
        return [*lines, text, *card.plan["notes"]]
    text = f"{coverage['level']:.0%} intervals hold {coverage['nested']:.1%} of unseen formulas"
    if clusters := coverage.get("clusters_left_out"):
        text += f", {clusters['coverage']:.1%} where whole clusters were left out"
    return [*lines, text, *card.plan["notes"]]


def _metrics_text(score: ScoreCard, unit: str) -> str:
    """Metrics in a line, the first with its interval."""
    texts = []
    for number, (name, metric) in enumerate(score.metrics.items()):
        text = f"{TITLES[name]} {metric.mean:.{3 if name == 'r2' else 4}g}"
        text += unit if name == "mae" else ""
        text += f" ({metric.low:.4g} to {metric.high:.4g})" if not number else ""
        texts.append(text)
    return ", ".join(texts)
