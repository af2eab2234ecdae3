"""Weights and labelled crystals -> what to mind where most of these were in pre-training.

Features of a crystal that was seen are more exact, those of its electrons above all, since the
student was taught on it. Cross-validation among such crystals is too hopeful about others: measured
in docs/property_models.md. Used by pipeline/properties.py.
"""

from __future__ import annotations

from pathlib import Path

from crystalssl.evaluation.overlap import find_overlap
from crystalssl.features.features import origin_of
from crystalssl.hub.weights import run_folders
from crystalssl.structures.crystals import Crystals

MOSTLY = 0.5
"""Share of labelled crystals seen in pre-training from which the user is told."""


def notes_of_overlap(weights: str | Path, crystals: Crystals) -> list[str]:
    """A sentence for the user, or none: few were seen, or the weights do not list what they saw.

    Args:
        weights: name or folder of the weights that features come from.
        crystals: labelled crystals.
    """
    overlap = find_overlap([origin_of(weights, run_folders(weights))], crystals)
    seen = int(overlap.structures.sum())
    if overlap.unknown or seen < MOSTLY * len(crystals):
        return []
    return [
        f"{seen:,} of {len(crystals):,} labelled crystals were in pre-training: errors and "
        "intervals are too hopeful for crystals that were not (docs/property_models.md)"
    ]
