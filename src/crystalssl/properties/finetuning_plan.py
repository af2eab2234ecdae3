"""Number of labels, wish and time left -> whether encoders are trained on with labels, and how.

Used by pipeline/properties.py and estimators.py, before blending.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import unknown_name
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.properties.blending import Tuned, trainings
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.finetuning import LEAST_LABELS, Tuning, tunable_blocks
from crystalssl.properties.finetuning_steps import Finetuning
from crystalssl.properties.fitting import Fit
from crystalssl.properties.report import TITLES
from crystalssl.structures.canonical import CanonicalResult

AUTO, NEVER, ALWAYS = "auto", "never", "always"
WAYS = (AUTO, NEVER, ALWAYS)
"""Whether encoders are trained on with labels."""


def check_way(way: str) -> None:
    """Refuse what is none of ``WAYS``.

    Raises:
        UnknownNameError: if it is not.
    """
    if way not in WAYS:
        raise unknown_name("way to fine-tune", way, WAYS)


def plan_finetuning(
    experiment: Experiment,
    fitted: Fit,
    labelled: CanonicalResult,
    config: ExtractorConfig,
    way: str,
    minutes: float | None = None,
) -> tuple[Tuning | None, list[str]]:
    """What is trained, if anything, and why not.

    Args:
        experiment: labelled crystals.
        fitted: label-free stack that encoders are to join.
        labelled: the same crystals.
        config: weights, and where encoders run.
        way: one of ``WAYS``; ``auto`` trains where labels and time suffice.
        minutes: time left; None for as long as it takes.
    """
    few = len(experiment.labels) < LEAST_LABELS
    if way == NEVER or (way == AUTO and few):
        return None, []
    blocks = tunable_blocks(config.encoders())
    if not blocks:
        return None, ["None of the encoders learns elements; none was trained on"]
    tuning = Tuning(
        experiment=experiment,
        corpus=Corpus.from_crystals(labelled, targets=False),
        blocks=blocks,
        origin=tuple(config.checksums()),
        settings=Finetuning(),
        device=config.device,
    )
    if minutes is None or way == ALWAYS:
        return tuning, []
    return _within(tuning, fitted, minutes)


def _within(tuning: Tuning, fitted: Fit, minutes: float) -> tuple[Tuning | None, list[str]]:
    """The training in so many minutes, with fewer epochs if it must be; None if that is too few."""
    count = len(tuning.experiment.labels)
    needed = trainings(fitted) * tuning.seconds(np.arange(count)) / 60.0
    if needed <= minutes:
        return tuning, []
    shorter = tuning.shortened(minutes / needed)
    if shorter is None:
        return None, [f"Encoders were not trained on: {needed:.0f} minutes are needed for it"]
    epochs, usual = (each.settings.epochs_for(count) for each in (shorter, tuning))
    return shorter, [
        f"Encoders are trained on for {epochs} epochs instead of {usual}, which take "
        f"{needed:.0f} minutes"
    ]


def brought(tuned: Tuned) -> str:
    """What encoders bring, as a sentence."""
    text = (
        f"Encoders trained on with labels: weight {tuned.weight:.2f}; on {tuned.rows:,} held-out "
        f"crystals {_metrics(tuned.metrics)}; without them {_metrics(tuned.without)}"
    )
    return text if tuned.encoders is not None else f"{text}; they are left out"


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{TITLES[name]} {value:.4g}" for name, value in values.items())
