"""Pictures of docs/concepts.md and docs/index.md, drawn from bundled crystals.

    python docs/figures.py           all
    python docs/figures.py panel     one

Writes docs/_static/figures/*.svg. Every number in them is computed here by the package itself; what
each picture shows in words is its alternative text on the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from crystalssl import CrystalRegressor, canonicalize
from crystalssl.datasets.bundled import load_bundled
from crystalssl.representation import ftcp
from crystalssl.representation.electronic import describe
from crystalssl.representation.layout import (
    GROUPS,
    RAW_CELL_ROW,
    RAW_DISTANCE_ROW,
    RAW_OCCUPANCY_ROW,
    RAW_SITE_ROW,
    ROWS,
    VALIDITY,
)
from crystalssl.representation.panel import build_panel
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS

FOLDER = Path(__file__).parent / "_static" / "figures"
CRYSTAL = "mp-761486"
"""LiFePO4 in a cell of seven sites: four elements, few enough sites to draw."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito, which colour-blind readers tell apart; one for each view."""
WIDTH = 4.6  # inches: text stays legible where the picture is as wide as a phone
STYLE: Mapping[str, object] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "crystalssl",
    "figure.facecolor": "white",
}
DENSITY = re.compile(r"dos[+-]\d_eV")
"""Numbers of block 7 that are a density of states, by energy around the Fermi level."""
Array = npt.NDArray[np.floating]


def crystal() -> Crystals:
    """The crystal of all pictures, as the table has it."""
    crystals = load_bundled()
    return crystals.take(np.flatnonzero(crystals.ids == CRYSTAL))


def raw_ftcp() -> Figure:
    """Where raw FTCP of one crystal is not zero, and what the rows are."""
    array = ftcp.encode(crystal()).array[0]  # (400, 63)
    figure, axes = plt.subplots(figsize=(WIDTH, 5.6), layout="constrained")
    axes.imshow(array != 0, aspect="auto", cmap=ListedColormap(["#f2f2f2", COLOURS[0]]))
    bands = (
        (0, "elements"),
        (RAW_CELL_ROW, "cell"),
        (RAW_SITE_ROW, "coordinates"),
        (RAW_OCCUPANCY_ROW, "element of each site"),
        (RAW_DISTANCE_ROW, "code of the\nelements;\nk-points"),
    )
    for row, name in bands:
        axes.axhline(row - 0.5, color="#777777", linewidth=0.8)
        beside = row in (RAW_CELL_ROW, RAW_DISTANCE_ROW)
        at = (64, row + 40) if row == RAW_DISTANCE_ROW else (64, row) if beside else (16, row + 20)
        axes.text(*at, name, va="center", fontsize=10 if beside else 11, color="#111111")
    filled = np.count_nonzero(array)
    axes.set(title=f"{filled:,} of {array.size:,} numbers are not zero")
    axes.set(xlabel="63 columns", ylabel="400 rows", xticks=[0, 3, 62], yticks=[0, 102, 204, 304])
    return figure


def panel() -> Figure:
    """The panel of one crystal: six column groups and the validity column."""
    array = build_panel(canonicalize(crystal()).crystals)[0]  # (103, 64)
    owner = np.zeros(array.shape, int)
    for number, group in enumerate(GROUPS.values(), start=1):
        owner[:, group.slice] = number
    owner[:, VALIDITY] = len(GROUPS) + 1
    shown = np.where(array != 0, owner, 0)
    figure, axes = plt.subplots(figsize=(WIDTH, 4.6), layout="constrained")
    colours = ["#f2f2f2", *COLOURS[: len(GROUPS)], "#000000"]
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    axes.imshow(shown, aspect="auto", cmap=ListedColormap(colours), norm=norm)
    for number, group in enumerate(GROUPS.values()):
        middle = (group.slice.start + group.slice.stop - 1) / 2
        axes.axvline(group.slice.start - 0.5, color="white", linewidth=1.5)
        axes.text(
            middle, -2, group.name.replace("_", " "), rotation=40, ha="left", va="bottom",
            color=COLOURS[number], fontweight="bold", fontsize=10,
        )  # fmt: skip
    axes.text(VALIDITY, -2, "validity", rotation=40, ha="left", va="bottom", fontsize=10)
    axes.set(xlabel="64 columns", ylabel=f"{ROWS} rows", xticks=[0, 31, 63], yticks=[0, 50, 102])
    return figure


def views() -> Figure:
    """One crystal seven times: what each block reads."""
    canonical = canonicalize(crystal()).crystals
    array = build_panel(canonical)[0]
    figure, grid = plt.subplots(4, 2, figsize=(WIDTH, 8.4), layout="constrained")
    drawn: list[Callable[[Axes], None]] = [
        lambda axes: _composition(axes, canonical),
        lambda axes: _lattice(axes, _block(array, "lattice")),
        lambda axes: _sites(axes, canonical),
        lambda axes: _occupancy(axes, canonical),
        lambda axes: _reciprocal(axes, _block(array, "reciprocal")),
        lambda axes: _factors(axes, _block(array, "structure_factors")),
        lambda axes: _electrons(axes, canonical),
    ]
    names = [*GROUPS, "electronic"]
    for number, (axes, draw, name) in enumerate(zip(grid.flat, drawn, names, strict=False)):
        draw(axes)
        axes.set_title(f"{number + 1} {name.replace('_', ' ')}", color=COLOURS[number])
    grid.flat[-1].axis("off")
    return figure


def pretext() -> Figure:
    """Three pretext tasks: what is there, what the encoder sees instead."""
    canonical = canonicalize(crystal()).crystals
    array = build_panel(canonical)[0]
    figure, grid = plt.subplots(3, 2, figsize=(WIDTH, 6.6), layout="constrained")
    names, fractions = _fractions(canonical)
    left = np.where(np.arange(len(names)) == 0, 0.0, fractions)
    for axes, values, title in zip(
        grid[0], (fractions, left / left.sum()), ("true", "seen"), strict=True
    ):
        axes.bar(names, values, color=COLOURS[0])
        axes.set(title=title, ylim=(0, 0.8), ylabel="atomic fraction")
    grid[0, 1].text(0, 0.05, "?", ha="center", fontsize=16, color=COLOURS[1])
    coords = canonical.cart_coords[:, :2]
    moved = coords.copy()
    moved[[3, 5]] += [[0.7, 0.5], [-0.6, 0.4]]
    for axes, points in zip(grid[1], (coords, moved), strict=True):
        axes.scatter(*points.T, s=70, color=COLOURS[2], zorder=2)
        axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
        axes.margins(0.15)
    grid[1, 1].quiver(
        *moved.T, *(coords - moved).T, angles="xy", scale_units="xy", scale=1, width=0.012,
        color=COLOURS[1], zorder=3,
    )  # fmt: skip
    factors = _block(array, "structure_factors")
    length, amplitude = factors[:, 0], factors[:, 1]
    valid = length > 0
    _, shell = np.unique(length.round(3), return_inverse=True)
    hidden = valid & np.isin(shell, [2, 5, 9, 10, 15])
    for axes, rows in zip(grid[2], (valid, valid & ~hidden), strict=True):
        axes.vlines(length[rows], 0, amplitude[rows], color=COLOURS[5], linewidth=2)
        axes.set(xlabel="|g| (1/Å)", ylabel="|F| of Z", ylim=(0, 1))
    for at in np.unique(length[hidden].round(3)):
        grid[2, 1].axvspan(at - 0.012, at + 0.012, color=COLOURS[1], alpha=0.35, linewidth=0)
    return figure


def parity() -> Figure:
    """Bulk moduli of crystals whose formulas were not fitted, with their intervals."""
    crystals = load_bundled()
    moduli = crystals.column("bulk_modulus_vrh").astype(float)
    rows = np.flatnonzero(np.isfinite(moduli))[::4]
    crystals, labels = crystals.take(rows), np.log10(moduli[rows])
    formulas = crystals.column("chemical_formula_reduced")
    test = np.isin(formulas, np.unique(formulas)[::3])
    model = CrystalRegressor(folds=5, repeats=1, candidates=["ridge"])
    model.fit(crystals[~test], labels[~test])
    low, high = model.predict_interval(crystals[test]).T
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
    axes.vlines(labels[test], low, high, color="0.75", linewidth=1.5, label="90 % interval")
    axes.scatter(labels[test], model.predict(crystals[test]), s=16, color=COLOURS[0], zorder=2)
    axes.axline((2, 2), slope=1, color="black", linewidth=1)
    axes.set(xlabel="true log10 of the bulk modulus (GPa)", ylabel="predicted")
    axes.legend(frameon=False)
    return figure


def _block(array: Array, name: str) -> Array:
    """(103, width): the columns of one group."""
    return array[:, GROUPS[name].slice]


def _fractions(crystals: Crystals) -> tuple[list[str], Array]:
    composition = crystals[0].composition
    return list(composition), np.array(list(composition.values())) / sum(composition.values())


def _composition(axes: Axes, crystals: Crystals) -> None:
    names, fractions = _fractions(crystals)
    axes.bar(names, fractions, color=COLOURS[0])
    axes.set(ylabel="atomic fraction")


def _lattice(axes: Axes, rows: Array) -> None:
    lengths = rows[4:, 3]
    axes.hist(lengths[lengths > 0], bins=12, color=COLOURS[1])
    axes.set(xlabel="length (Å)", ylabel="lattice vectors")


def _sites(axes: Axes, crystals: Crystals) -> None:
    axes.scatter(*crystals.cart_coords[:, :2].T, s=60, color=COLOURS[2])
    axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    axes.margins(0.15)


def _occupancy(axes: Axes, crystals: Crystals) -> None:
    coords = crystals.cart_coords[:, :2]
    axes.scatter(*coords.T, s=330, color="#f0dbe6")
    for point, number in zip(coords, crystals.numbers[:, 0], strict=True):
        axes.text(*point, SYMBOLS[int(number)], ha="center", va="center", color="#5c1a42")
    axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    axes.margins(0.2)


def _reciprocal(axes: Axes, rows: Array) -> None:
    group = GROUPS["reciprocal"]
    g, length = rows[:, group.at("vector")], rows[:, group.column("length")]
    shown = length > 0
    points = np.concatenate([g[shown], -g[shown]])
    axes.scatter(*points[:, :2].T, s=8, color=COLOURS[4])
    axes.set(xlabel="g$_x$ (1/Å)", ylabel="g$_y$ (1/Å)", aspect="equal")


def _factors(axes: Axes, rows: Array) -> None:
    shown = rows[:, 0] > 0
    axes.vlines(rows[shown, 0], 0, rows[shown, 1], color=COLOURS[5], linewidth=1.5)
    axes.set(xlabel="|g| (1/Å)", ylabel="|F| of Z", ylim=(0, 1))


def _electrons(axes: Axes, crystals: Crystals) -> None:
    numbers = describe(crystals)
    values = dict(zip(numbers.names, numbers.values[0], strict=True))
    window = {name: value for name, value in values.items() if DENSITY.fullmatch(name)}
    axes.bar([int(name[3:-3]) for name in window], list(window.values()), color=COLOURS[6])
    axes.set(xlabel="energy (eV)", ylabel="density of states")


FIGURES: Mapping[str, Callable[[], Figure]] = {
    "raw_ftcp": raw_ftcp,
    "panel": panel,
    "views": views,
    "pretext": pretext,
    "parity": parity,
}
"""What is drawn, by file name."""


def main(names: Sequence[str]) -> None:
    """Draw the pictures of these names, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or FIGURES:
        draw = FIGURES[name]
        with mpl.rc_context({str(key): value for key, value in STYLE.items()}):
            figure = draw()
            figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
