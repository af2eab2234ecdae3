"""Trees beside a linear reading: what they gain, and what they must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from crystalssl.errors import InputError
from crystalssl.models.boosting import LightGBM
from crystalssl.models.contract import Training
from crystalssl.models.linear import Ridge
from crystalssl.models.linear_boosting import LinearBoosting, beside
from crystalssl.models.principal_axes import scores_along
from crystalssl.properties.storage import pack, unpack

NAMED, LEARNED, N = 6, 150, 600
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
TRAIN, TEST = np.arange(0, 450), np.arange(450, N)
ALL = np.arange(len(TEST))
HEAD = LinearBoosting(named=NAMED, axes=8, trees=LightGBM(threads=1, rounds=150))
STAIRS = replace(HEAD, residuals=False)

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def world() -> tuple[Matrix, Floats]:
    """A step of a named column, and a sum over many learned ones."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, NAMED + LEARNED)).astype(np.float32)
    linear = matrix[:, NAMED:] @ rng.normal(size=LEARNED) / np.sqrt(LEARNED)
    return matrix, linear + 2.0 * (matrix[:, 0] > 0.3) + 0.05 * rng.normal(size=N)


def error(head: LinearBoosting | LightGBM | Ridge, matrix: Matrix, labels: Floats) -> float:
    """Root of the mean squared error on other groups."""
    predicted = head.fit(matrix, TRAIN, labels, GROUPS, 0).predict(matrix, TEST)
    return float(np.sqrt(np.square(predicted - labels[TEST]).mean()))


def test_it_reads_steps_and_sums_that_trees_and_ridge_read_one_of(
    world: tuple[Matrix, Floats],
) -> None:
    own = error(HEAD, *world)
    assert own < 0.8 * error(HEAD.trees, *world)
    assert own < 0.8 * error(Ridge(), *world)


def test_a_straight_line_needs_no_stairs(world: tuple[Matrix, Floats]) -> None:
    matrix, labels = world
    straight = labels - 2.0 * (matrix[:, 0] > 0.3)
    assert error(HEAD, matrix, straight) < 0.85 * error(STAIRS, matrix, straight)


def test_half_of_a_number_is_the_ridge_with_trees_on_what_it_leaves_over(
    world: tuple[Matrix, Floats],
) -> None:
    matrix, labels = world
    both = HEAD.fit(matrix, TRAIN, labels, GROUPS, 0)
    stairs = STAIRS.fit(matrix, TRAIN, labels, GROUPS, 0)
    assert stairs.residual is None
    ridge = both.linear.predict(matrix[:, NAMED:], TEST)
    scores = scores_along(matrix[:, NAMED:], TEST, both.scaler, both.axes)
    read = beside(matrix, TEST, NAMED, scores, ridge[:, None])
    expected = (stairs.predict(matrix, TEST) + ridge + both.residual._predict(read, ALL)[:, 0]) / 2
    np.testing.assert_allclose(both.predict(matrix, TEST), expected, rtol=1e-12)


def test_what_trees_read_of_a_training_row_knows_no_label_of_its_group(
    world: tuple[Matrix, Floats],
) -> None:
    matrix, labels = world
    other = labels.copy()
    other[GROUPS[30] == GROUPS] += 100.0
    before, after = (
        HEAD._cross_fitted(Training(matrix, TRAIN, y, GROUPS, 0)) for y in (labels, other)
    )
    own = GROUPS[TRAIN] == GROUPS[30]
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_all_columns_may_be_learned_but_not_all_named(world: tuple[Matrix, Floats]) -> None:
    matrix, labels = world
    fitted = replace(HEAD, named=0).fit(matrix, TRAIN, labels, GROUPS, 0)
    assert np.corrcoef(fitted.predict(matrix, TEST), labels[TEST])[0, 1] > 0.7
    with pytest.raises(InputError, match="expected learned features"):
        replace(HEAD, named=NAMED + LEARNED).fit(matrix, TRAIN, labels, GROUPS, 0)


def test_a_named_number_may_be_missing(world: tuple[Matrix, Floats]) -> None:
    matrix, labels = world
    holes = matrix.copy()
    holes[::7, 1] = np.nan
    assert np.isfinite(HEAD.fit(holes, TRAIN, labels, GROUPS, 0).predict(holes, TEST)).all()


def test_several_labels_and_classes_keep_their_shapes(world: tuple[Matrix, Floats]) -> None:
    matrix, labels = world
    two = np.stack([labels, -labels], axis=1)
    assert HEAD.fit(matrix, TRAIN, two, GROUPS, 0).predict(matrix, TEST).shape == (len(TEST), 2)
    classes = (labels > 1.0).astype(float)
    head = replace(HEAD, kind="classification", trees=replace(HEAD.trees, kind="classification"))
    predicted = head.fit(matrix, TRAIN, classes, GROUPS, 0).predict(matrix, TEST)
    assert 0.0 <= predicted.min() < 0.5 < predicted.max() <= 1.0
    assert ((predicted > 0.5) == (classes[TEST] > 0.5)).mean() > 0.8


@pytest.mark.parametrize("labels_of_each", [1, 2])
def test_what_is_stored_predicts_the_same(
    world: tuple[Matrix, Floats], labels_of_each: int
) -> None:
    matrix, labels = world
    many = np.stack([labels, -labels], axis=1)[:, :labels_of_each]
    fitted = HEAD.fit(matrix, TRAIN, many, GROUPS, 0)
    kind, arrays, texts = pack(fitted, "candidate_1")
    read = unpack(kind, "candidate_1", arrays, texts)
    np.testing.assert_array_equal(read.predict(matrix, TEST), fitted.predict(matrix, TEST))
    one_less = dict(texts)
    last = f"candidate_1.residual.{labels_of_each - 1}.txt"
    del one_less[last]
    with pytest.raises(InputError, match=last.replace(".", "[.]")):
        unpack(kind, "candidate_1", arrays, one_less)
    arrays["candidate_1.named"] = np.array([NAMED - 1])
    with pytest.raises(InputError, match="trees read other columns"):
        unpack(kind, "candidate_1", arrays, texts)
