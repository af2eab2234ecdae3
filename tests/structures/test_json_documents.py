from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.structures.crystals import ReadResult
from crystalssl.structures.objects import from_objects
from crystalssl.structures.reading import read_structures


def structure(a: float = 4.0) -> dict[str, Any]:
    from pymatgen.core import Lattice, Structure

    species = ["Cs", {"Cl": 0.5, "Br": 0.25}]
    return Structure(Lattice.cubic(a), species, [[0, 0, 0], [0.5] * 3]).as_dict()


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Any:
    def read(document: object, name: str = "doc.json") -> ReadResult:
        (tmp_path / name).write_text(json.dumps(document))
        return read_structures([tmp_path / name])

    return read


OPTIMADE = {
    "lattice_vectors": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]],
    "cartesian_site_positions": [[0, 0, 0], [2.0, 2.0, 2.0]],
    "species_at_sites": ["Cs", "mix"],
    "species": [
        {
            "name": "mix",
            "chemical_symbols": ["Cl", "Br", "vacancy"],
            "concentration": [0.5, 0.25, 0.25],
        }
    ],
}


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        (structure(), ["doc"]),
        ([structure()], ["doc-0"]),
        ({"mp-1": structure()}, ["mp-1"]),
        ({"mp-1": {"structure": structure(), "band_gap": 1.5}}, ["mp-1"]),
        ([{"structure": structure(), "material_id": "mp-2"}], ["mp-2"]),
        ({"structure": structure(), "material_id": "mp-2"}, ["mp-2"]),
        ({"columns": ["structure", "gap"], "index": ["i"], "data": [[structure(), 1.5]]}, ["i"]),
        ({"columns": ["structure", "gap"], "index": [0], "data": [[structure(), 1.5]]}, ["doc-0"]),
        ({"columns": ["id", "s"], "index": [0], "data": [["mp-3", structure()]]}, ["mp-3"]),
        ({"data": [{"id": "odbx/1", "attributes": OPTIMADE}]}, ["odbx/1"]),
        (OPTIMADE, ["doc"]),
    ],
)
def test_every_known_shape_is_read(read, document: object, ids: list[str]) -> None:
    result = read(document)
    assert result.skipped == []
    assert result.crystals.ids.tolist() == ids
    assert result.crystals.numbers[:, :2].tolist() == [[55, 0], [17, 35]]
    np.testing.assert_allclose(result.crystals.occupancy[1], [0.5, 0.25, 0, 0])
    np.testing.assert_allclose(result.crystals.frac_coords[1], 0.5)
    np.testing.assert_allclose(result.crystals.lattice[0], np.eye(3) * 4)


def test_values_beside_a_structure_are_carried(read) -> None:
    rows = [[structure(), 1.5, "a"], [structure(5.0), None, "b"]]
    result = read({"columns": ["structure", "gap", "tag"], "index": [0, 1], "data": rows})
    np.testing.assert_array_equal(result.crystals.column("gap"), [1.5, np.nan])
    assert result.crystals.column("tag").tolist() == ["a", "b"]


def test_a_gzipped_matminer_file_is_read(tmp_path: Path) -> None:
    document = {"columns": ["structure"], "index": [0], "data": [[structure()]]}
    with gzip.open(tmp_path / "set.json.gz", "wt") as handle:
        json.dump(document, handle)
    assert read_structures([tmp_path / "set.json.gz"]).crystals.ids.tolist() == ["set-0"]


@pytest.mark.parametrize(
    "bad",
    [
        {**structure(), "sites": [{"abc": [0, 0, 0]}]},
        {**structure(), "sites": []},
        {**structure(), "lattice": {"matrix": [[1, 0, 0], [0, 1, 0]]}},
        {**structure(), "lattice": {"matrix": [[1, 0, 0], [0, 1, 0], [0, 1, 0]]}},
        {**structure(), "sites": [{"abc": [0, 0, None], "species": [{"element": "H", "occu": 1}]}]},
        {**structure(), "sites": [{"abc": [0, 0, 0], "species": [{"element": "Qx", "occu": 1}]}]},
        "text",
        None,
        {"nothing": 1},
    ],
)
def test_a_bad_entry_is_one_skip_and_the_others_stay(read, bad: object) -> None:
    result = read([structure(), bad, structure()])
    assert result.crystals.ids.tolist() == ["doc-0", "doc-2"]
    assert [skip.id for skip in result.skipped] == ["doc-1"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"a": 1}', "[" * 100_000])
def test_a_document_without_structures_is_one_skip(tmp_path: Path, text: str) -> None:
    (tmp_path / "doc.json").write_text(text)
    result = read_structures([tmp_path / "doc.json"])
    assert len(result.crystals) == 0
    assert len(result.skipped) == 1


def test_structure_dictionaries_are_taken_as_objects_too() -> None:
    result = from_objects([structure(), 3.0, structure()], ids=["a", "b", "a"])
    assert result.crystals.ids.tolist() == ["a", "a#2"]
    assert "float" in result.skipped[0].reason
