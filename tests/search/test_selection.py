"""The design against dense algebra, and choices that are unlike one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.features import Features
from crystalssl.features.store import save_features
from crystalssl.pipeline import select
from crystalssl.search.clusters import medoids
from crystalssl.search.selection import CLUSTER_AXES, Design, candidates, choose, principal


def some_axes(count: int = 80, width: int = 12) -> np.ndarray:
    return principal(np.random.default_rng(0).normal(size=(count, width)).astype(np.float32))


@pytest.mark.parametrize("weighted", [False, True])
def test_each_choice_lowers_the_variance_of_predictions_most(weighted: bool) -> None:
    axes, ridge = some_axes(), 0.1
    weights = np.random.default_rng(1).uniform(0.2, 3, len(axes)) if weighted else None
    matter = np.ones(len(axes)) if weights is None else weights / weights.mean()
    kernel = axes.astype(np.float64) @ axes.T.astype(np.float64)

    def variance(labelled: list[int]) -> float:
        known = kernel[labelled]
        inverse = np.linalg.inv(known[:, labelled] + ridge * np.eye(len(labelled)))
        return float(np.diag(kernel - known.T @ inverse @ known) @ matter)

    choice = choose(axes, 6, weights=weights, ridge=ridge)
    chosen: list[int] = []
    for row, explained in zip(choice.rows.tolist(), choice.explained.tolist(), strict=True):
        left = {r: variance([*chosen, r]) for r in range(len(axes)) if r not in chosen}
        assert left[row] == pytest.approx(min(left.values()), rel=1e-4)
        chosen.append(row)
        assert explained == pytest.approx(1 - left[row] / (np.diag(kernel) @ matter), rel=1e-3)


def test_variance_never_falls_below_zero_when_all_are_labelled() -> None:
    axes = some_axes(40)
    design = Design(axes)
    for row in range(len(axes)):
        design.label(row)
    assert design.variance.min() > -1e-4
    assert design.explained <= 1


def test_clusters_are_visited_in_turn_and_labelled_ones_are_not() -> None:
    random = np.random.default_rng(0)
    centres = 5 * np.eye(4, 10)
    matrix = np.repeat(centres, 25, axis=0) + 0.1 * random.normal(size=(100, 10))
    axes = principal(matrix.astype(np.float32))
    first = choose(axes, 3).rows // 25
    assert len(set(first.tolist())) == 3
    later = choose(axes, 2, labelled=np.array([0, 25])).rows // 25
    assert 0 not in later
    assert 1 not in later


def test_the_middle_of_every_cluster_is_chosen_the_largest_first() -> None:
    random = np.random.default_rng(0)
    sizes = (30, 10, 60)
    labels = np.repeat(np.arange(3), sizes)
    points = (6 * np.eye(3, 5)[labels] + 0.3 * random.normal(size=(100, 5))).astype(np.float32)
    shuffled = random.permutation(100)
    points, labels = points[shuffled], labels[shuffled]
    chosen = medoids(points, 3)
    assert labels[chosen].tolist() == [2, 0, 1]
    for row in chosen.tolist():
        members = np.flatnonzero(labels == labels[row])
        distances = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        assert members[distances.argmin()] == row
    rest = medoids(points, 2, taken=chosen[:1])
    assert sorted(labels[rest].tolist()) == [0, 1]
    assert len(medoids(np.zeros((5, 2), np.float32), 3)) == 1


def test_a_large_choice_begins_with_middles_of_clusters_and_none_comes_twice() -> None:
    axes = some_axes(200)
    choice = choose(axes, 40, labelled=np.arange(5), designed=25)
    assert len(set(choice.rows.tolist())) == 40
    assert choice.rows.min() >= 5
    middles = medoids(axes[:, :CLUSTER_AXES], 15, np.arange(5))
    assert len(middles) > 5
    assert choice.rows[: len(middles)].tolist() == middles.tolist()
    design = choose(axes, 40 - len(middles), labelled=np.concatenate([np.arange(5), middles]))
    assert choice.rows[len(middles) :].tolist() == design.rows.tolist()
    assert (np.diff(choice.explained) > 0).all()
    assert len(choose(axes[:30], 30, designed=4).rows) == 30


def test_candidates_do_not_depend_on_the_order_of_rows() -> None:
    ids = np.array([f"mp-{row}" for row in range(50)])
    shuffled = np.random.default_rng(2).permutation(ids)
    assert ids[candidates(ids, 10)].tolist() == shuffled[candidates(shuffled, 10)].tolist()


def test_the_command_leaves_out_what_has_a_label(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    ids = np.array([f"mp-{row}" for row in range(40)])
    path = save_features(Features(ids=ids, blocks={"sites": matrix}), tmp_path / "f.parquet")
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("immutable_id,energy\n" + "".join(f"mp-{row},1\n" for row in range(30)))
    result = select(path, count=10, labelled=labelled, out=tmp_path / "chosen.csv")
    assert set(result.table["immutable_id"].to_pylist()) == {f"mp-{row}" for row in range(30, 40)}
    assert (tmp_path / "chosen.csv").read_text().count("\n") == 11
    with pytest.raises(InputError, match="expected 1 to 10"):
        select(path, count=11, labelled=labelled)
    with pytest.raises(InputError, match="property model"):
        select(path, count=2, method="uncertainty")
    with pytest.raises(UnknownNameError, match="method"):
        select(path, count=2, method="farthest")
