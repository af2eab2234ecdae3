"""Answers in the shape of the real ones: OPTIMADE resources, summaries, data sets, hub listings."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from stub_server import Reply, Request, as_json


def resource(name: str, length: float = 4.0, **attributes: Any) -> dict[str, Any]:
    """A caesium chloride cell as an OPTIMADE structure."""
    usual = {
        "lattice_vectors": [[length, 0, 0], [0, length, 0], [0, 0, length]],
        "cartesian_site_positions": [[0, 0, 0], [length / 2] * 3],
        "species_at_sites": ["Cs", "Cl"],
        "species": [
            {"name": "Cs", "chemical_symbols": ["Cs"], "concentration": [1.0]},
            {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]},
        ],
        "nperiodic_dimensions": 3,
        "structure_features": [],
        "chemical_formula_reduced": "ClCs",
        "_stub_band_gap": length / 10,
    }
    return {"id": name, "type": "structures", "attributes": {**usual, **attributes}}


class Provider:
    """An OPTIMADE provider that pages through entries; ``before`` may answer in its place."""

    def __init__(self, address: str, entries: Sequence[Any], page: int = 2) -> None:
        self.address, self.entries, self.page = address, list(entries), page
        self.info: dict[str, Any] = {"license": {"href": "https://example.org/cc-by"}}
        self.before: list[Any] = []

    def __call__(self, request: Request) -> Reply:
        if request.path.endswith("/info"):
            return as_json({"data": {"attributes": self.info}, "meta": {}})
        if self.before and (reply := self.before.pop(0)) is not None:
            assert isinstance(reply, Reply)
            return reply
        start = int(request.query.get("page_offset", 0))
        chosen = self.entries[start : start + self.page]
        more = start + self.page < len(self.entries)
        following = f"{self.address}/optimade/v1/structures?page_offset={start + self.page}"
        return as_json(
            {
                "data": chosen,
                "links": {"next": {"href": following} if more else None},
                "meta": {"data_returned": len(self.entries), "more_data_available": more},
            }
        )


def summary(name: str, licence: str | None = "BY-C", length: float = 4.0) -> dict[str, Any]:
    """A material of the Materials Project's summary."""
    site = {"xyz": [0, 0, 0], "properties": {}}
    return {
        "material_id": name,
        "builder_meta": {"license": licence},
        "formation_energy_per_atom": -1.5,
        "is_metal": False,
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "lattice": {"matrix": [[length, 0, 0], [0, length, 0], [0, 0, length]]},
            "sites": [
                {"species": [{"element": "Cs", "occu": 1}], "abc": [0, 0, 0], **site},
                {"species": [{"element": "Cl", "occu": 1}], "abc": [0.5] * 3, **site},
            ],
        },
    }


def data_set(count: int) -> bytes:
    """A file of Matbench."""
    rows = [[summary("x", length=4 + i / 10)["structure"], i / 2] for i in range(count)]
    document = {"index": list(range(count)), "columns": ["structure", "n"], "data": rows}
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
