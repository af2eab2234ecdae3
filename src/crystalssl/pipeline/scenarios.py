"""The scenarios of ``evaluate``: name, options and baselines of each; without heavy imports.

The command line makes its options from the fields. The experiments are in ``evaluation.scenarios``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from crystalssl.errors import unknown_name


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """Scenario 1: ridge and least squares on features and every baseline, in the same splits."""

    name: ClassVar[str] = "linear-probe"
    baselines: ClassVar[tuple[str, ...]] = ("raw_ftcp", "raw_ftcp_pca", "magpie")
    protocol: str | None = None
    """held-out (folds of the test rows), repeated (90/10 to 60/40, random and grouped), both, or
    None: both where there is a split column."""
    repeats: int = 1
    """Repeats of each split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShot:
    """Scenario 3: features with 1, 5, 10 and 100 percent of the labels, beside raw FTCP."""

    name: ClassVar[str] = "few-shot"
    baselines: ClassVar[tuple[str, ...]] = ("raw_ftcp", "magpie", "hybrid")
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0)
    """Fractions of the training labels."""
    repeats: int = 5
    """Repeats of each fraction below 1."""
    full_repeats: int = 1
    """Seeds of the heads where all labels are used."""
    heads: tuple[str, ...] = ("ridge", "lightgbm", "mlp")
    """Names of the heads."""
    residual: tuple[float, ...] = (0.01,)
    """Fractions for the residual protocol; none leaves it out."""
    folds: int = 5
    """Folds that residuals are taken from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapShare:
    """Scenario 2: the share of features in what a model on raw FTCP and features predicts."""

    name: ClassVar[str] = "shap-share"
    baselines: ClassVar[tuple[str, ...]] = ("raw_ftcp", "hybrid")
    explained: int = 500
    """Test rows that are explained."""
    samples: int = 200
    """Points for each explained row of the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """What each block is worth, alone and when left out, beside the same block untrained."""

    name: ClassVar[str] = "ablation"
    baselines: ClassVar[tuple[str, ...]] = ()


Scenario: TypeAlias = LinearProbe | FewShot | ShapShare | Ablation
SCENARIOS: dict[str, type[Scenario]] = {
    kind.name: kind for kind in (LinearProbe, ShapShare, FewShot, Ablation)
}
"""Scenarios by name."""


def options_of(scenario: str | Scenario) -> Scenario:
    """Options of a scenario, the defaults where only its name is given."""
    if not isinstance(scenario, str):
        return scenario
    if scenario not in SCENARIOS:
        raise unknown_name("scenario", scenario, SCENARIOS, "crystalssl evaluate --help")
    return SCENARIOS[scenario]()
