"""What ``evaluate few-shot`` is given: shares of the labels, and our features beside baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.cli.console import console, say
from crystalssl.cli.probing import HYBRID, LABELS, SSL
from crystalssl.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals


def percentages(text: str, option: str) -> tuple[float, ...]:
    """Shares given in percent, joined by commas; empty text gives none.

    Raises:
        InputError: if it holds something else.
    """
    try:
        found = tuple(float(word) / 100 for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(
            f"Got {option} {text!r}; expected numbers joined by commas, for instance 1,10,100."
        ) from error
    if any(not 0 < share <= 1 for share in found):
        raise InputError(f"Got {option} {text!r}; expected shares above 0 and at most 100 percent.")
    return tuple(dict.fromkeys(found))


def with_baselines(
    crystals: Crystals, features: Features, others: Mapping[str, Features], cache: Path
) -> list[FeatureSet]:
    """Raw FTCP, element statistics, other sets, our features, and raw FTCP beside these.

    Args:
        crystals: n crystals, cells as given.
        features: trained features; matched by id.
        others: further features by name.
        cache: folder that keeps element statistics.
    """
    from crystalssl.evaluation.feature_sets import given, raw_ftcp, side_by_side
    from crystalssl.evaluation.magpie import magpie
    from crystalssl.processes import usable_cores

    with console.status("Baselines: raw FTCP and composition statistics"):
        sets = [raw_ftcp(crystals)]
        try:
            sets.append(magpie(crystals, cache, processes=usable_cores()))
        except MissingExtraError as error:
            say(f"Left out: {error}", "yellow")
    for name, found in {**others, SSL: features}.items():
        label = LABELS.get(name, name.replace("_", " ").capitalize())
        sets.append(given(name, label, found.ids, found.matrix, crystals))
    label = "Raw FTCP beside pre-trained"
    both, (sets[0], sets[-1]) = side_by_side(HYBRID, label, [sets[0], sets[-1]])
    return [*sets, both]
