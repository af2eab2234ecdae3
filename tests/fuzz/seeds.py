"""Good inputs of every format, from which mutated ones are made."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

INPUTS = Path(__file__).parents[1] / "cases" / "inputs"
POSCAR = b"CsCl\n1.0\n4 0 0\n0 4 0\n0 0 4\nCs Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"


FEW = ("cif/good*.cif", "cif/hydrogen*.cif")
"""What archives hold: little, so that inputs differ in what archives have of their own."""


def _files(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(INPUTS.glob(pattern))]


def _zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(_files(*FEW)):
            archive.writestr(f"set/{number}.cif", data)
        archive.writestr("set/POSCAR", POSCAR)
    return target.getvalue()


def _tar(mode: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        for number, data in enumerate(_files(*FEW)):
            info = tarfile.TarInfo(f"set/{number}.cif")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _table() -> bytes:
    target = io.BytesIO()
    rows = {
        "immutable_id": ["a", "b"],
        "lattice_vectors": [np.eye(3).tolist(), (np.eye(3) * 4).tolist()],
        "cartesian_site_positions": [[[0.0, 0, 0]], [[0.0, 0, 0], [2.0, 2, 2]]],
        "species_at_sites": [["Li"], ["Cs", "mix"]],
        "species": [
            [],
            [{"name": "mix", "chemical_symbols": ["Cl", "Br"], "concentration": [0.5, 0.5]}],
        ],
        "gap": [1.0, 2.0],
    }
    pq.write_table(pa.table(rows), target)
    return target.getvalue()


def _npy() -> bytes:
    target = io.BytesIO()
    np.save(target, np.random.default_rng(0).random((2, 400, 63)).astype(np.float32))
    return target.getvalue()


def _ase_db() -> bytes:
    from ase.build import bulk
    from ase.db import connect

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with connect(path) as database:
            database.write(bulk("NaCl", "rocksalt", a=5.64), gap=5.0, data={"x": 1.0})
            database.write(bulk("Si"), gap=6.0)
        return path.read_bytes()


def seeds(reader: str) -> list[bytes]:
    """Good inputs of a format."""
    if reader == "cif":
        return _files("cif/*.cif")
    if reader == "poscar":
        return [*_files("poscar/*"), POSCAR]
    if reader == "extxyz":
        return _files("extxyz/*")
    if reader == "json":
        listed = json.dumps({"columns": ["s"], "index": [0], "data": [[None]]}).encode()
        return [*_files("json/*"), listed]
    if reader == "parquet":
        return [*_files("parquet/*"), _table()]
    if reader == "gz":
        return [gzip.compress(data) for data in _files("cif/good*.cif", "cif/m*.cif")]
    makers = {
        "npy": lambda: [_npy()],
        "zip": lambda: [_zip()],
        "tar": lambda: [_tar("w"), _tar("w:gz")],
        "ase-db": lambda: [_ase_db()],
    }
    return makers[reader]()


ENDINGS = {
    "cif": ".cif",
    "poscar": ".vasp",
    "extxyz": ".extxyz",
    "json": ".json",
    "parquet": ".parquet",
    "npy": ".npy",
    "zip": ".zip",
    "tar": ".tar",
    "gz": ".cif.gz",
    "ase-db": ".db",
}
"""File ending of each reader's inputs."""
