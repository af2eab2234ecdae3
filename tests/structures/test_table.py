from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError
from crystalssl.structures import parquet_footer
from crystalssl.structures.table import from_arrow, iter_tables, read_table, to_arrow, write_table

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]


def rows(**changes: list) -> pa.Table:
    """Three good rows of CsCl, with some columns replaced."""
    columns = {
        "immutable_id": ["a", "b", "c"],
        "lattice_vectors": [CUBE] * 3,
        "cartesian_site_positions": [[[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]] * 3,
        "species_at_sites": [["Cs", "Cl"]] * 3,
        "band_gap": [1.0, None, 3.0],
    }
    return pa.table(columns | changes)


@given(seed=st.integers(0, 10_000))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_table_gives_back_what_was_written(make_crystals, tmp_path: Path, seed: int) -> None:
    crystals = make_crystals(seed).with_columns(
        pa.table({"split": ["train", "val", None, "test"], "nsites": [0, 0, 0, 0]})
    )
    back = read_table(write_table(crystals, tmp_path / "s.parquet"))
    assert back.skipped == []
    np.testing.assert_allclose(back.crystals.frac_coords, crystals.frac_coords, atol=1e-12)
    np.testing.assert_array_equal(back.crystals.numbers, crystals.numbers)
    np.testing.assert_array_equal(back.crystals.occupancy, crystals.occupancy)
    assert back.crystals.ids.tolist() == crystals.ids.tolist()
    assert back.crystals.column("split").tolist() == ["train", "val", None, "test"]
    assert back.crystals.column("nsites").tolist() == crystals.site_counts.tolist()
    assert not list(tmp_path.glob("*.partial"))


def test_other_columns_are_carried_with_their_gaps() -> None:
    result = from_arrow(rows(), "t")
    np.testing.assert_array_equal(result.crystals.column("band_gap"), [1.0, np.nan, 3.0])
    np.testing.assert_allclose(result.crystals.frac_coords[:2], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"immutable_id": ["a", None, "c"]}, "immutable_id is empty"),
        ({"lattice_vectors": [CUBE, None, CUBE]}, "no complete lattice"),
        ({"lattice_vectors": [CUBE, CUBE[:2], CUBE]}, "no complete lattice"),
        ({"lattice_vectors": [CUBE, [*CUBE[:2], [0.0, 1.0]], CUBE]}, "three numbers"),
        ({"lattice_vectors": [CUBE, [*CUBE[:2], None], CUBE]}, "three numbers"),
        ({"lattice_vectors": [CUBE, [*CUBE[:2], [0.0, 0.0, np.nan]], CUBE]}, "NaN"),
        ({"lattice_vectors": [CUBE, [*CUBE[:2], [0.0, None, 4.0]], CUBE]}, "NaN"),
        ({"lattice_vectors": [CUBE, [CUBE[0]] * 3, CUBE]}, "no volume"),
        ({"cartesian_site_positions": [[[0.0] * 3, [2.0] * 3], [], [[0.0] * 3] * 2]}, "site list"),
        (
            {"cartesian_site_positions": [[[0.0] * 3] * 2, [[0.0] * 3], [[0.0] * 3] * 2]},
            "1 positions but 2 species_at_sites",
        ),
        (
            {
                "cartesian_site_positions": [
                    [[0.0] * 3] * 2,
                    [[0.0, np.inf, 0.0]] * 2,
                    [[0.0] * 3] * 2,
                ]
            },
            "infinite",
        ),
        ({"species_at_sites": [["Cs", "Cl"], None, ["Cs", "Cl"]]}, "species_at_sites"),
        ({"species_at_sites": [["Cs", "Cl"], ["Cs", None], ["Cs", "Cl"]]}, "no element"),
        ({"species_at_sites": [["Cs", "Cl"], ["Cs", "Qx"], ["Cs", "Cl"]]}, "'Qx' is no element"),
        ({"species_at_sites": [["Cs", "Cl"], ["X", "vacancy"], ["Cs", "Cl"]]}, "no site holds"),
    ],
)
def test_a_bad_row_is_one_skip_and_the_others_stay(changes: dict, reason: str) -> None:
    result = from_arrow(rows(**changes), "t.parquet")
    assert result.crystals.ids.tolist() == ["a", "c"]
    assert result.crystals.site_counts.tolist() == [2, 2]
    assert result.crystals.column("band_gap").tolist() == [1.0, 3.0]
    (skip,) = result.skipped
    assert reason in skip.reason
    assert "row 1" in skip.reason
    assert skip.file == "t.parquet"
    assert skip.remedy


def test_a_missing_column_is_an_error_that_names_the_closest_one(tmp_path: Path) -> None:
    table = rows().rename_columns(
        ["immutable_id", "lattice", "cartesian_site_positions", "species_at_sites", "band_gap"]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"no column 'lattice_vectors'. Did you mean 'lattice'"):
        read_table(tmp_path / "t.parquet")


def test_the_message_on_a_missing_column_has_no_gap_where_no_name_is_close(tmp_path: Path) -> None:
    pq.write_table(rows().drop(["species_at_sites"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"'species_at_sites'\. It has: ") as caught:
        read_table(tmp_path / "t.parquet")
    assert "  " not in str(caught.value)


def test_a_column_of_another_kind_is_an_error() -> None:
    with pytest.raises(InputError, match="expected a list"):
        from_arrow(rows(lattice_vectors=[1.0, 2.0, 3.0]), "t")


def test_a_missing_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No file"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_table(tmp_path / "bad.parquet")


def test_optimade_species_give_partial_occupancy() -> None:
    species = [
        {
            "name": "mix",
            "chemical_symbols": ["Na", "K", "vacancy"],
            "concentration": [0.3, 0.6, 0.1],
        },
        {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]},
    ]
    other = [{"name": "mix", "chemical_symbols": ["Li"], "concentration": [1.0]}, species[1]]
    table = rows(
        species_at_sites=[["mix", "Cl"], ["mix", "Cl"], ["Cs", "Cl"]],
        species=[species, other, None],
    )
    crystals = from_arrow(table, "t").crystals
    assert crystals.numbers[:, :2].tolist() == [
        [19, 11],
        [17, 0],
        [3, 0],
        [17, 0],
        [55, 0],
        [17, 0],
    ]
    np.testing.assert_allclose(crystals.occupancy[0], [0.6, 0.3, 0, 0], atol=1e-6)
    assert "species" not in crystals.columns.column_names


def test_a_site_that_is_all_vacancy_vanishes() -> None:
    crystals = from_arrow(rows(species_at_sites=[["Cs", "X"], ["Cs", "Cl"], ["Cs", "Cl"]]), "t")
    assert crystals.crystals.site_counts.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("species", "reason"),
    [
        ({"name": "m", "chemical_symbols": ["Na", "K"], "concentration": [1.0]}, "other numbers"),
        (
            {"name": "m", "chemical_symbols": ["Na"], "concentration": [None]},
            "species 'm' is no element",
        ),
        (
            {"name": "m", "chemical_symbols": ["Na", "K"], "concentration": [0.5, -0.5]},
            "occupancy is negative",
        ),
    ],
)
def test_a_bad_species_record_is_one_skip(species: dict, reason: str) -> None:
    table = rows(
        species_at_sites=[["Cs", "Cl"], ["m", "Cl"], ["Cs", "Cl"]],
        species=[
            None,
            [species, {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]}],
            None,
        ],
    )
    result = from_arrow(table, "t")
    assert result.crystals.ids.tolist() == ["a", "c"]
    assert reason in result.skipped[0].reason


def test_repeated_ids_are_made_different() -> None:
    assert from_arrow(rows(immutable_id=["a", "b", "a"]), "t").crystals.ids.tolist() == [
        "a",
        "b",
        "a#2",
    ]


def test_row_groups_come_one_at_a_time(tmp_path: Path, make_crystals) -> None:
    pq.write_table(to_arrow(make_crystals(1)), tmp_path / "t.parquet", row_group_size=3)
    assert [len(part.crystals) for part in iter_tables(tmp_path / "t.parquet")] == [3, 1]


def test_integer_and_single_precision_columns_are_read() -> None:
    table = rows()
    kind = pa.list_(pa.list_(pa.float32(), 3))
    at = table.schema.get_field_index("cartesian_site_positions")
    table = table.set_column(
        at, "cartesian_site_positions", table["cartesian_site_positions"].cast(kind)
    )
    np.testing.assert_allclose(from_arrow(table, "t").crystals.frac_coords[1], 0.5)


def test_a_table_says_its_version_a_newer_one_is_refused_and_one_without_is_read(
    tmp_path: Path,
) -> None:
    crystals = load_bundled().take(range(3))
    path = write_table(crystals, tmp_path / "a.parquet")
    table = pq.read_table(path)
    assert table.schema.metadata[b"crystalssl_structure_table"] == b"1"
    again = read_table(path).crystals
    assert again.columns is not None and not again.columns.schema.metadata
    for version, text in (("2", "newer crystalssl"), ("one", "expected a number")):
        changed = table.replace_schema_metadata({"crystalssl_structure_table": version})
        pq.write_table(changed, path)
        with pytest.raises(InputError, match=text):
            read_table(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    assert len(read_table(path).crystals) == 3


def test_a_footer_whose_statistics_contradict_each_other_ends_no_process(tmp_path: Path) -> None:
    content = Path(__file__).parents[1] / "fuzz" / "corpus" / "parquet-statistics-contradict"
    path = tmp_path / "a.parquet"
    path.write_bytes(content.read_bytes())
    with pytest.raises(InputError):
        read_table(path)


@pytest.mark.parametrize("footer", [b"", b"\xff" * 40, b"\x19\xfc\xff\xff\xff\x0f", b"\x1c" * 500])
def test_footers_that_are_none_are_refused(footer: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError):
        read_table(path)


def test_values_that_a_footer_claims_are_those_that_arrow_counts(tmp_path: Path) -> None:
    path = write_table(load_bundled().take(range(50)), tmp_path / "a.parquet")
    held = pq.ParquetFile(path).metadata
    groups = [held.row_group(g) for g in range(held.num_row_groups)]
    values = sum(g.column(c).num_values for g in groups for c in range(held.num_columns))
    with path.open("rb") as file:
        footer = parquet_footer._footer(file, path.stat().st_size)
    assert parquet_footer._counts(footer) == (50, values)
