"""LMDB databases of ASE (.aselmdb, as OMat24 and fairchem publish them) to structures.

LMDB maps a file into memory and follows what it holds, so a file that is cut off or damaged ends
the process that reads it. Rows are therefore read by a process of their own, which writes each as
a line of JSON; where it ends, the rest is one skip. Called by ``reading.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.errors import InputError, missing_extra
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.columns import is_scalar
from crystalssl.structures.formats.ase_files import ENERGIES, REMEDY
from crystalssl.structures.formats.ase_objects import from_atoms
from crystalssl.structures.formats.id_keys import id_of

LONGEST = 30.0
"""Seconds that one row may take before the reading process is ended."""
_MAGIC = b"\xde\xc0\xef\xbe"
_CHILD = """
import json, sys
said = json.load(sys.stdin)
sys.path[:] = said["modules"]
import ase.db, ase_db_backends.aselmdb

def plain(value):
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    return value if isinstance(value, (str, int, float, bool)) else None

def plains(values):
    known = {str(k): plain(v) for k, v in values.items()} if hasattr(values, "items") else {}
    return {k: v for k, v in known.items() if v is not None}

def write(line):
    sys.stdout.write(json.dumps(line) + "\\n")
    sys.stdout.flush()

database = ase.db.connect(said["path"], type="aselmdb", readonly=True, use_lock_file=False)
for number in sorted(int(row) for row in database.ids):
    try:
        row = database.get(id=number)
        line = {
            "values": {
                **plains({k: row.get(k) for k in said["energies"]}),
                **plains(row.key_value_pairs),
            },
            "data": plains(row.data),
            "numbers": [int(z) for z in row.numbers],
            "positions": [[float(x) for x in xyz] for xyz in row.positions],
            "cell": [[float(x) for x in xyz] for xyz in row.cell],
            "pbc": [bool(p) for p in row.pbc],
        }
    except Exception as error:
        line = {"error": f"{type(error).__name__} {error}"[:300]}
    write({"id": number, **line})
write({"end": True})
"""


def read_aselmdb(path: str | Path, name: str, stem: str, into: Assembler) -> None:
    """Read every row of an LMDB database of ASE.

    Args:
        path: the file.
        name: file name used in messages.
        stem: rows without an id become ``stem-1``, ``stem-2`` and so on.
        into: receives structures and skips.

    Raises:
        MissingExtraError: if ASE or ase-db-backends is not installed.
    """
    for package, extra in (("ase", "formats"), ("ase_db_backends", "lmdb")):
        if find_spec(package) is None:
            known = package.replace("_", "-")
            raise missing_extra(known, extra, "Reading an .aselmdb database")
    if problem := _problem(Path(path)):
        into.skip(stem, name, problem, "get it anew, or give a database written by ase.db")
        return
    rows = 0
    for row in _rows(Path(path)):
        if "end" in row:
            if not rows:
                into.skip(stem, name, "the database holds no rows", REMEDY)
            return
        rows += 1
        into.read(f"{stem}-{row['id']}", name, REMEDY, _entry, row, stem)
    into.skip(stem, name, f"it is damaged: its rows end after {rows}", REMEDY)


def _problem(path: Path) -> str:
    """Why a file is no whole LMDB database, by its two headers; empty where it is one."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(152)
        if len(head) < 152 or head[16:20] != _MAGIC:
            return "it is no LMDB database"
        page = int.from_bytes(head[40:44], "little")
        handle.seek(page)
        other = handle.read(152)
    if not 512 <= page <= 2**16 or page & (page - 1) or other[16:20] != _MAGIC:
        return "it is no LMDB database, or its headers are damaged"
    last = [int.from_bytes(header[136:144], "little") for header in (head, other)]
    newer = int.from_bytes(other[144:152], "little") > int.from_bytes(head[144:152], "little")
    if (last[newer] + 1) * page > size:
        return f"it is cut off: {size} bytes of {(last[newer] + 1) * page}"
    return ""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """What the reading process writes, line by line; it is ended where a row takes too long."""
    said = {"path": str(path.resolve()), "modules": sys.path, "energies": ENERGIES}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        if child.stdin is None or child.stdout is None:  # both are pipes
            raise OSError("No pipes to the process that reads the database.")
        watch = _Watch(child)
        try:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(said))
                child.stdin.close()
            for line in child.stdout:
                watch.seen = time.monotonic()
                with suppress(ValueError):  # a line that it could not end
                    yield json.loads(line)
        finally:
            child.kill()


class _Watch(threading.Thread):
    """Ends a process that writes nothing for ``LONGEST`` seconds."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.seen = time.monotonic()
        self._child = child
        self.start()

    def run(self) -> None:
        """Look once a second."""
        while self._child.poll() is None:
            if time.monotonic() - self.seen > LONGEST:
                self._child.kill()
            time.sleep(0.5)


def _entry(row: Mapping[str, Any], stem: str) -> Entry:
    """One row as an entry.

    Raises:
        InputError: if it could not be read, or is not periodic.
    """
    from ase import Atoms

    if "error" in row:
        raise InputError(f"it cannot be read: {row['error']}")
    if not row["numbers"]:
        raise InputError("no atoms in it")
    values = {k: v for k, v in row["values"].items() if is_scalar(v)}
    values.update({k: v for k, v in row["data"].items() if k not in values and is_scalar(v)})
    atoms = Atoms(
        numbers=row["numbers"],
        positions=np.array(row["positions"], dtype=np.float64),
        cell=row["cell"],
        pbc=row["pbc"],
    )
    return from_atoms(atoms, id_of(values, f"{stem}-{row['id']}"), values)
