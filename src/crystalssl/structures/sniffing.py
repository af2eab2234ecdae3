"""First bytes of a file to its format, for files whose names do not tell.

Called by ``reading.py`` for files without an ending and for text files named outright.
"""

from __future__ import annotations

import re

_CELL = re.compile(rb"^\s*_cell[_.]length_a\s", re.IGNORECASE | re.MULTILINE)
_NUMBERS = re.compile(rb"^\s*[-+.\d]\S*\s+[-+.\d]\S*\s+[-+.\d]\S*")
_SCALE = re.compile(rb"^\s*[-+.\d][-+.\dEeDd]*(\s|$)")


def kind_of_content(head: bytes) -> str:
    """Format of a file by its first bytes, or an empty text."""
    if head.startswith(b"SQLite format 3\0"):
        return "ase-db"
    if b"\0" in head[:1000]:
        return ""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        return "json" if b"lattice" in head or b'"cell"' in head else ""
    if _CELL.search(head):
        return "cif"
    lines = head.splitlines()[:8]
    if len(lines) > 2 and lines[0].strip().isdigit() and b"attice=" in lines[1]:
        return "extxyz"
    if len(lines) == 8 and _SCALE.match(lines[1]) and all(map(_NUMBERS.match, lines[2:5])):
        return "poscar"
    return ""
