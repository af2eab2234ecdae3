from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crystalssl.structures.ids import unique_ids


def test_the_first_keeps_its_id_and_later_ones_are_numbered() -> None:
    assert unique_ids(["a", "b", "a", "a"]).tolist() == ["a", "b", "a#2", "a#3"]


def test_a_number_that_is_taken_is_passed_over() -> None:
    assert unique_ids(["a", "a", "a#2"]).tolist() == ["a", "a#3", "a#2"]


@given(st.lists(st.sampled_from(["a", "b", "a#2", "b#2", "c"])))
def test_no_id_is_left_twice_and_every_first_one_stays(ids: list[str]) -> None:
    result = unique_ids(ids).tolist()
    assert len(set(result)) == len(ids)
    assert set(ids) <= set(result)
