"""What is tried follows from the number of labels; a budget makes it smaller and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.properties.candidates import Plan, build_plan, shrunk, within_budget
from crystalssl.properties.descriptors import describe_cells, gather_columns, plan_columns
from crystalssl.properties.estimators import inputs_of_matrix
from crystalssl.properties.inputs import MIXED, PHYSICS, Inputs
from crystalssl.properties.shapley import shapley
from small_properties import labelled, write_labels


@pytest.fixture
def inputs() -> Inputs:
    return inputs_of_matrix(np.random.default_rng(0).normal(size=(60, 4)))


def test_a_small_budget_takes_repeats_first_and_the_dearest_candidates_then(inputs: Inputs) -> None:
    plan = build_plan(inputs, 60)
    seconds = {entry.name: 1.0 + at for at, entry in enumerate(plan.candidates)}
    assert within_budget(plan, seconds, 1e6, 1) == plan
    fewer = within_budget(plan, seconds, 1.0 * sum(seconds.values()) * 40 / 60, 1)
    assert 1 <= fewer.repeats < plan.repeats
    assert fewer.candidates == plan.candidates
    least = within_budget(plan, seconds, 0.1, 1)
    assert [entry.name for entry in least.candidates] == [plan.candidates[0].name]
    assert plan.candidates[-1].name in least.notes[0]


def test_there_are_never_more_folds_than_groups(inputs: Inputs) -> None:
    groups = np.array(["a", "b", "c", "d"] * 15)
    assert shrunk(build_plan(inputs, 60), groups).folds == 4


def test_own_columns_become_numbers_medians_and_words() -> None:
    cells = {"T (K)": ["300", "", "500", "400"], "route": ["melt", "flux", "melt", ""]}
    plan = plan_columns(cells, None)
    described = describe_cells(plan, cells, 4)
    assert described.names == ("T (K)", "route=melt", "route=flux")
    np.testing.assert_array_equal(described.values[:, 0], [300, 400, 500, 400])
    np.testing.assert_array_equal(described.values[:, 1:], [[1, 0], [0, 1], [1, 0], [0, 0]])
    assert plan.of_json(plan.as_json()) == plan


def test_a_label_is_never_a_descriptor(tmp_path: Path) -> None:
    crystals = labelled(3)
    rows = [(str(name), "1.0", "300") for name in crystals.ids]
    path = write_labels(tmp_path / "both.csv", ["id", "y", "T"], rows)
    assert gather_columns(crystals, [str(path)], None, "y") == {"T": ["300"] * 3}
    with pytest.raises(InputError, match="cannot be a descriptor"):
        gather_columns(crystals, ["band_gap"], None, "band_gap")


def test_shapley_values_are_those_of_a_linear_game_with_a_pair() -> None:
    def value(present: np.ndarray) -> np.ndarray:
        weights = np.array([1.0, 2.0, -4.0])
        return np.array([present @ weights + 6.0 * (present[0] and present[1])])

    shares, base = shapley(value, 3)
    np.testing.assert_allclose(shares, [[4.0, 5.0, -4.0]])
    np.testing.assert_allclose(base, 0.0)


@pytest.mark.parametrize(
    ("labels", "trees"),
    [(300, ["physics"]), (900, ["physics", "both"]), (5_000, ["both"])],
)
def test_trees_stand_beside_a_ridge_from_500_labels_and_alone_no_more_from_1500(
    labels: int, trees: list[str]
) -> None:
    plan = build_plan(two_kinds(), labels)
    views = [name.split(" on ")[1] for name in names_of(plan) if name.startswith("boosting on")]
    assert views == trees


def two_kinds() -> Inputs:
    """Named physics and mixed features of a few crystals."""
    inputs = inputs_of_matrix(np.random.default_rng(0).normal(size=(60, 8)))
    columns = inputs.sections[0].columns
    halves = (
        replace(inputs.sections[0], name=PHYSICS, kind=PHYSICS, columns=columns[:4]),
        replace(inputs.sections[0], name=MIXED, kind=MIXED, columns=columns[4:]),
    )
    return replace(inputs, sections=halves)


def names_of(plan: Plan) -> list[str]:
    """Names of the candidates."""
    return [entry.name for entry in plan.candidates]
