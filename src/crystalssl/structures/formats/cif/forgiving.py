"""CIF text that gemmi refuses to text that it takes: quotes are put in, stray lines left out.

A line is left out only where no site or operation can be lost by it. What is read afterwards passes
the same checks as any other file. Called by ``reading.py`` after a syntax error.
"""

from __future__ import annotations

import re

from gemmi import cif

MOST_REPAIRS = 20
"""Lines that are mended before a file is given up."""

LONGEST_LINE = 2_048
"""Characters of a line that is mended, as in CIF; patterns take the square of them."""

_PLACE = re.compile(r":(\d+):\d+\(\d+\): (.*)")
_PAIR = re.compile(r"^(\s*_\S+\s+)([^'\"#;\s].*?)\s*$")
_LAST_TAG = re.compile(r"^\s*(_\S+)", re.MULTILINE)
_NEEDED = re.compile(r"_atom_site|sym|_cell[_.]|_space_group", re.IGNORECASE)


def repaired(text: str) -> tuple[cif.Document, str] | None:
    """The document of a text with slips, and what was mended; None where it cannot be."""
    lines = text.splitlines()
    mended: list[int] = []
    for _ in range(MOST_REPAIRS):
        try:
            document = cif.read_string("\n".join(lines) + "\n", check_level=0)
        except (ValueError, RuntimeError) as error:
            row = _mend(lines, str(error))
            if row is None or row in mended[-2:]:
                return None
            mended.append(row)
            continue
        places = ", ".join(str(row + 1) for row in dict.fromkeys(mended))
        return document, f"its syntax was mended in line {places}"
    return None


def _mend(lines: list[str], error: str) -> int | None:
    """Change the line that an error speaks of; None where that might lose a site."""
    match = _PLACE.search(error)
    if match is None or "unterminated" in error or "Wrong number" in error:
        return None
    row = int(match.group(1)) - 1
    if not 0 <= row < len(lines):
        return None
    if "block header" in error:
        start = next((i for i, line in enumerate(lines) if line.startswith("data_")), None)
        if start is None:
            lines.insert(0, "data_")
        else:
            lines[:start] = [f"# {line}" for line in lines[:start]]
        return row
    if len(lines[row]) > LONGEST_LINE:
        return None
    pair = _PAIR.match(lines[row])
    if pair:
        number = re.match(r"[-+.\d()]+(?=\s)", pair.group(2))
        quote = '"' if "'" in pair.group(2) else "'"
        value = number.group() if number else f"{quote}{pair.group(2)}{quote}"
        lines[row] = pair.group(1) + value
        return row
    tags = _LAST_TAG.findall("\n".join(lines[: row + 1]))
    if tags and not _NEEDED.search(tags[-1]) and not lines[row].lstrip().startswith(("_", ";")):
        lines[row] = f"# {lines[row]}"
        return row
    return None
