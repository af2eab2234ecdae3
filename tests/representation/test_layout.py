"""The panel table adds up."""

from __future__ import annotations

import pytest

from crystalssl.errors import UnknownNameError
from crystalssl.representation import layout


def test_groups_follow_each_other_up_to_the_validity_column() -> None:
    at = 0
    for group in layout.GROUPS.values():
        assert group.start == at
        at += group.width
    assert at == layout.VALIDITY == layout.COLUMNS - 1


def test_widths_are_those_of_the_published_system() -> None:
    numbers = [layout.ROWS * group.width for group in layout.GROUPS.values()]
    assert numbers == [412, 412, 2472, 824, 1648, 721]


def test_raw_rows_follow_each_other() -> None:
    assert layout.RAW_CELL_ROW == layout.ELEMENTS
    assert layout.RAW_OCCUPANCY_ROW == layout.RAW_SITE_ROW + layout.MAX_SITES
    assert layout.RAW_DISTANCE_ROW == layout.RAW_OCCUPANCY_ROW + layout.MAX_SITES
    assert layout.RAW_SHAPE[0] == layout.RAW_PROPERTY_ROW + 92 + 2
    assert layout.RAW_SHAPE[1] == layout.RAW_ELEMENTS + layout.RAW_KPOINTS


def test_an_unknown_group_names_the_command_that_lists_them() -> None:
    with pytest.raises(UnknownNameError, match="info panel"):
        layout.group("nothing")
