"""A :class:`CrystalMap` -> the text of one HTML page that needs nothing else, also offline.

Style, scripts and data are inside the file; the browser unpacks the data itself. The page follows
the reader's light or dark setting and works by pointer, by touch and by keyboard.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from crystalssl import __version__
from crystalssl.maps.crystal_map import GROUP, CrystalMap
from crystalssl.maps.elements import element_table
from crystalssl.maps.packing import (
    CHUNK,
    packed_array,
    packed_lines,
    packed_structures,
)
from crystalssl.report import page as report_page
from crystalssl.structures.elements import MAX_NUMBER, SYMBOLS

TEMPLATES = Path(__file__).parent / "templates"
"""Folder of the page's template, style sheet and scripts."""
HEAD = report_page.TEMPLATES
"""Folder of the head that map and report share."""
SCRIPTS = ("blocks.js", "scatter.js", "crystal.js", "page.js")
"""Scripts in the order in which the page has them."""


def render_map(shown: CrystalMap, made_from: str = "") -> str:
    """The page as text.

    Args:
        shown: what to show.
        made_from: where the features come from, for the line below the title.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, HEAD]), undefined=jinja2.StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    blocks, meta = _blocks_and_meta(shown)
    count = f"{len(shown):,} crystal{'' if len(shown) == 1 else 's'}"
    return environment.get_template("map.html").render(
        title=shown.title,
        count=f"{len(shown):,}",
        summary=" · ".join(filter(None, (count, made_from))),
        footer=f"Made by crystalssl {__version__}. Nothing on this page is loaded from elsewhere. "
        "Colours of atoms after Jmol; bonds join atoms closer than their covalent radii and 0.4 Å.",
        style=(TEMPLATES / "map.css").read_text(encoding="utf-8"),
        script="\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS),
        meta=_inside_script(meta),
        blocks=blocks,
    )


def _blocks_and_meta(shown: CrystalMap) -> tuple[dict[str, str], dict[str, Any]]:
    """Compressed blocks by name, and what the scripts need to read them."""
    blocks = {"ids": packed_lines(shown.ids), "formulas": packed_lines(shown.formulas)}
    for index, plane in enumerate(shown.planes):
        blocks[f"plane-{index}"] = packed_array(plane.points.T, "<f4")  # (2, n): all x, all y
    for index, column in enumerate(shown.columns):
        is_category = column.kind == "category"
        blocks[f"column-{index}"] = packed_array(column.values, "<i4" if is_category else "<f4")
    kinds: list[list[list[Any]]] = []
    stored = 0
    if shown.crystals is not None:
        chunks, kinds = packed_structures(shown.crystals)
        blocks |= chunks
        stored = len(shown.crystals)
        rows = np.arange(stored) if shown.stored is None else shown.stored
        blocks["stored"] = packed_array(rows, "<u4")
    if shown.nearest is not None:
        blocks["near"] = packed_array(shown.nearest.rows, "<u4")
        blocks["distances"] = packed_array(shown.nearest.distances, "<f4")
    names = [column.name for column in shown.columns]
    elements = sorted({z for kind in kinds for z, _ in kind})
    meta = {
        "count": len(shown),
        "planes": [{"title": plane.title, "note": plane.note} for plane in shown.planes],
        "columns": [
            {
                "title": c.title, "kind": c.kind, "unit": "" if c.unit == "1" else c.unit,
                "labels": c.labels, "low": c.low, "high": c.high, "below": c.below,
                "above": c.above, "log": c.log,
            }
            for c in shown.columns
        ],
        "hover": [names.index(GROUP)] if GROUP in names else [],
        "near": 0 if shown.nearest is None else shown.nearest.rows.shape[1],
        "metric": "" if shown.nearest is None else shown.nearest.metric,
        "chunk": CHUNK,
        "stored": stored,
        "kinds": kinds,
        "elements": element_table(elements),
        "symbols": SYMBOLS[1 : MAX_NUMBER + 1],
    }  # fmt: skip
    return blocks, meta


def _inside_script(value: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
