"""Values of coalitions -> exact Shapley values, and what of a prediction they explain.

A number is explained as it is predicted; of classes the probability of one. Used by explanation.py
and site_shares.py. Source: Shapley, Contributions to the Theory of Games II (1953) 307.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import numpy.typing as npt

from crystalssl.properties.calibration import probabilities
from crystalssl.properties.inputs import Inputs
from crystalssl.properties.model import StackedModel

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def shapley(value: Callable[[Mask], Floats], players: int) -> tuple[Floats, Floats]:
    """(m, players) exact Shapley values, and (m,) value without any player.

    Args:
        value: (players,) who is there -> (m,) value.
        players: their number; two to this power values are asked for.
    """
    coalitions = {number: value(bits(number, players)) for number in range(2**players)}
    shares = []
    for player in range(players):
        total = np.zeros_like(coalitions[0])
        for number, worth in coalitions.items():
            if number >> player & 1:
                continue
            size = number.bit_count()
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            total = total + weight * (coalitions[number | 1 << player] - worth)
        shares.append(total)
    return np.stack(shares, axis=1), coalitions[0]


def bits(number: int, players: int) -> Mask:
    """(players,) who is in a coalition, by its number.

    Args:
        number: 0 for nobody, two to the power of ``players`` less one for all.
        players: their number.
    """
    return np.array([number >> player & 1 for player in range(players)], dtype=bool)


def explained_outputs(model: StackedModel, inputs: Inputs) -> npt.NDArray[np.int64]:
    """(m,) what is explained: 0 for a number, else the class that is predicted."""
    if model.calibration is None:
        return np.zeros(len(inputs), dtype=np.int64)
    shares = probabilities(model.combine(model.candidates(inputs)))
    return np.asarray(shares.argmax(axis=1), dtype=np.int64)


def outputs_of(model: StackedModel, inputs: Inputs, outputs: npt.NDArray[np.int64]) -> Floats:
    """(m,) the prediction, or the probability of a class of each crystal."""
    predicted = model.combine(model.candidates(inputs))
    if model.calibration is not None:
        predicted = probabilities(predicted, least=0.0)
    values: Floats = predicted[np.arange(len(inputs)), outputs]
    return values


def base_of(model: StackedModel, output: int) -> float:
    """What stands for a crystal without sites: the mean label, or frequency of the class."""
    if model.calibration is None:
        return float(model.stack.centre[0])
    return float(probabilities(model.stack.centre[None], least=0.0)[0, output])
