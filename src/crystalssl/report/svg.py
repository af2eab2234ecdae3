"""A matplotlib figure -> inline SVG whose colours and fonts follow the page.

Figures are drawn with the light colours of ``COLOURS``; here each becomes a CSS variable, so that
the same drawing is right on a dark page and in print. Text stays text: sharp, and searchable.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from crystalssl.report.page import TEMPLATES

LIGHT = (TEMPLATES / "report.css").read_text(encoding="utf-8").partition("}")[0]
COLOURS: dict[str, str] = dict(re.findall(r"--([\w-]+): (#\w+);", LIGHT))
"""Names of the CSS variables of the style sheet and their colours on a light page."""

BLOCK_COLOURS = 8
"""Colours for blocks, given in the order of the registry and then again from the start."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib; wider than what pages use
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.titlecolor": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.linewidth": 1.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.7,
    **{f"{axis}tick.color": COLOURS["rule"] for axis in "xy"},
    **{f"{axis}tick.labelcolor": COLOURS["muted"] for axis in "xy"},
    **{f"{axis}tick.major.size": 0 for axis in "xy"},
    "text.color": COLOURS["ink"],
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.labelcolor": COLOURS["muted"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "crystalssl",
}
"""Settings of every figure."""


def block_colour(index: int) -> str:
    """Colour of the block at a position of the registry."""
    return COLOURS[f"block-{index % BLOCK_COLOURS}"]


def colour_of(name: str) -> str:
    """A colour by its name in ``COLOURS``, or as it is."""
    return COLOURS.get(name, name)


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure in the style of the page, inches, and its axes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def to_svg(figure: Figure, description: str) -> str:
    """Inline SVG of a figure.

    Args:
        figure: drawn with :func:`drawing`, inside its context.
        description: what it shows, for those who cannot see it; unique in the page, since it keeps
            the ids of figures apart.
    """
    name = re.sub(r"\W+", "-", description)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=220, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would reach the page
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = text.replace('xlink:href="data:', 'href="data:')
    text = re.sub(r'font-family: [^;"]*', "font-family: var(--sans)", text)
    text = re.sub(r"font: ((?:[\w.]+ )*[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", text)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = re.sub(r'<svg\b[^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" '
                  rf'aria-label="{label}">', text, count=1)  # fmt: skip
    return re.sub(r"\n\s*", "\n", text).strip()
