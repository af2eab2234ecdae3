"""``crystalssl info`` and ``config``: what there is, where it runs, and every setting.

Everything shown comes from the registry, the panel table, the dataclasses of the settings or a
measurement, so it cannot go stale.
"""

from __future__ import annotations

import ast
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl.cli.console import grid, say
from crystalssl.cli.options import BLOCK, BUNDLED, PRESET
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.structures.crystals import Crystals

app = typer.Typer(help="What there is: data, panel, blocks, tasks, weights, machine.")
settings = typer.Typer(help="Settings: presets and block configurations.")

LEAST_RANK = 0.3
"""Share of what it can be that a block's effective rank should reach."""
LIBRARIES = ("torch", "lightning", "numpy", "pyarrow", "gemmi", "moyopy", "pymatgen", "matminer")


def crystals_of(sources: list[Path] | None) -> Crystals:
    """The named structures, or the bundled ones.

    Raises:
        InputError: if there is none among those named.
    """
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.load import read_any
    from crystalssl.pipeline.progress import counted

    if not sources:
        return load_bundled()
    result = read_any(sources)
    if not len(result.crystals):
        first = f" First: {result.skipped[0].reason}." if result.skipped else ""
        raise InputError(
            f"Found no structures that can be read.{first} Give files, folders or archives "
            "with structures in them."
        )
    if result.skipped:
        say(f"{counted(len(result.skipped), 'structure')} cannot be read", warning=True)
    return result.crystals


@app.command()
def data(sources: BUNDLED = None) -> None:
    """Count crystals, elements and sites, and describe every column."""
    from collections import Counter

    import numpy as np

    from crystalssl.datasets.bundled import UNITS
    from crystalssl.structures.formulas import reduced_formulas

    crystals = crystals_of(sources)
    sites = crystals.site_counts
    ordered = np.all(crystals.occupancy[:, 0] >= 1 - 1e-3) if len(sites) else True
    span = f"{sites.min()} to {sites.max()}" if len(sites) else "no"
    elements = np.unique(crystals.numbers[crystals.numbers > 0])
    say(
        f"{len(crystals):,} crystals, {len(np.unique(reduced_formulas(crystals))):,} formulas, "
        f"{len(elements)} elements, {span} sites, "
        f"{'all sites full' if ordered else 'with partial occupancy'}"
    )
    rows = []
    for name in [] if crystals.columns is None else crystals.columns.column_names:
        values = crystals.column(name)
        if np.issubdtype(values.dtype, np.number):
            known = values[np.isfinite(values.astype(float))].astype(float)
            extent = [f"{f(known):.4g}" if len(known) else "" for f in (np.min, np.median, np.max)]
            rows.append([name, UNITS.get(name, ""), f"{len(known):,}", *extent, ""])
        else:
            common = Counter(str(value) for value in values if value is not None).most_common(3)
            text = ", ".join(f"{value} ({count:,})" for value, count in common)
            rows.append([name, "", f"{len(values):,}", "", "", "", text])
    if rows:
        grid("Columns", ["column", "unit", "known", "min", "median", "max", "most common"], rows)


@app.command()
def panel(
    sources: BUNDLED = None,
    limit: Annotated[int, typer.Option(help="Crystals to measure.", min=1)] = 1000,
) -> None:
    """Show the columns of every panel group, its width and its measured sparsity."""
    import numpy as np

    from crystalssl.representation.layout import GROUPS, ROWS, VERSION
    from crystalssl.representation.panel import build_panel, sparsity
    from crystalssl.structures.canonical import canonicalize

    crystals = crystals_of(sources)
    step = max(1, len(crystals) // limit)
    chosen = canonicalize(crystals.take(np.arange(0, len(crystals), step)[:limit]))
    records = {record.name: record for record in sparsity(build_panel(chosen.crystals))}
    rows = []
    for name, group in GROUPS.items():
        columns = f"{group.start}:{group.start + group.width}"
        filled = f"{100 * records[name].filled:.1f} %"
        varying = f"{100 * records[name].varying:.1f} %"
        numbers = str(group.width * ROWS)
        rows.append([name, columns, numbers, filled, varying, summary(group.columns)])
    title = f"Panel, version {VERSION}; measured on {len(chosen.crystals):,} crystals"
    grid(title, ["group", "columns", "numbers", "not zero", "varying", "what"], rows)


def summary(columns: Sequence[str], most: int = 8) -> str:
    """Names of columns, the middle ones left out where there are many."""
    if len(columns) <= most:
        return "; ".join(columns)
    return "; ".join([*columns[: most - 2], f"... ({len(columns)} in all)", columns[-1]])


@app.command()
def blocks() -> None:
    """List the blocks: encoder, width, tasks."""
    from crystalssl.blocks.registry import build_block, list_blocks

    rows = []
    for block in list_blocks():
        size = sum(parameter.numel() for parameter in build_block(block.name).parameters())
        tasks = ", ".join(task.name for task in block.tasks)
        rows.append(
            [str(block.number), block.name, str(block.width), f"{size:,}", block.summary, tasks]
        )
    grid("Blocks", ["", "block", "width", "parameters", "encoder", "tasks"], rows)
    say(f"{sum(block.width for block in list_blocks()):,} features in all")


@app.command()
def tasks() -> None:
    """List the pretext tasks and further objectives, and what each teaches."""
    from crystalssl.blocks.registry import list_blocks

    rows = []
    for block in list_blocks():
        for task in block.tasks:
            better = "up" if task.higher_is_better else "down"
            number = "" if task.number is None else str(task.number)
            rows.append([number, task.name, block.name, task.figure, better, task.trivial])
            rows[-1].append(task.teaches)
    rows.sort(key=lambda row: (row[0] == "", int(row[0] or 0)))
    columns = ["", "task", "block", "figure", "good", "trivial", "teaches"]
    grid("Pretext tasks, and further objectives without a number", columns, rows)


@app.command()
def weights(
    run: Annotated[
        str | None, typer.Argument(help="Folder of a run, or a name.", show_default=False)
    ] = None,
) -> None:
    """List the weights that ship with the package, or the model cards of a run."""
    from crystalssl.hub.weights import bundled_names, load_cards

    if run is None:
        names = bundled_names()
        say(f"Bundled weights: {', '.join(names) or 'none in this version'}")
        say("Those of a run: crystalssl info weights RUN")
        return
    rows = []
    for name, card in load_cards(run).items():
        counts = [f"{card.data.get(key, '?')}" for key in ("train_crystals", "val_crystals")]
        for figure in card.figures:
            trivial = figure.baselines.get(figure.trivial)
            values = ["" if v is None else f"{v:.4g}" for v in (figure.model, trivial)]
            rows.append([name, figure.task, figure.figure, *values, figure.trivial, *counts])
    columns = ["block", "task", "figure", "block's", "trivial", "which", "trained on", "held out"]
    grid(f"Weights in {run}, figures of held-out crystals", columns, rows)
    for name, card in load_cards(run).items():
        if card.labels:
            say(f"Block {name} was trained on labels of {card.labels}")
    health(run)


def health(run: str) -> None:
    """Show how much of its width every block uses, and what mixes the blocks."""
    from crystalssl.blocks.registry import get_block
    from crystalssl.features.bottleneck import find_bottlenecks, load_card
    from crystalssl.features.student import find_student, load_student_card
    from crystalssl.hub.weights import find_run, load_cards

    rows = []
    for name, card in load_cards(run).items():
        rank, dead = (card.training.get(key) for key in ("effective_rank", "dead_features"))
        width = get_block(name).width
        watched = min(
            card.data.get("val_crystals", 0), card.training.get("monitor_crystals", sys.maxsize)
        )
        verdict = ["unknown"] * 5
        if rank is not None and dead is not None:
            # features less their mean have a rank below the number of crystals
            limit = card.training.get("effective_rank_limit", max(watched - 1, 1))
            most = max(min(width, limit), 1)
            enough = "yes" if rank / most >= LEAST_RANK else "no"
            verdict = [f"{rank:.0f}", f"{most:.0f}", f"{rank / most:.2f}", enough, f"{dead:.0f}"]
        rows.append([name, str(width), *verdict, f"{watched:,}"])
    share = f"at least {LEAST_RANK:g}"
    columns = ["block", "width", "effective rank", "at most", "of that", share, "dead", "crystals"]
    grid("Features of held-out crystals", columns, rows)
    if (student := find_student(run)) is not None:
        taught = load_student_card(student)
        r2 = sorted(taught.figures.get("r2", {}).items(), key=lambda item: -item[1])
        grid("Student, held-out crystals", ["predicts", "R2"], [[n, f"{v:.2f}"] for n, v in r2])
        say(f"Student: reads {', '.join(taught.widths)}")
    for name, folder in find_bottlenecks(find_run(run)).items():
        mixed = load_card(folder)
        say(f"Output {name!r}: {mixed.width:,} features that mix {', '.join(mixed.widths)}")


@app.command()
def sources() -> None:
    """List the databases that ``fetch`` knows, with licences and examples of queries."""
    from crystalssl.databases.matminer_files import data_sets
    from crystalssl.databases.registry import SOURCES

    rows = [[s.name, s.title, s.licence, s.query_example] for s in SOURCES]
    grid("Databases", ["source", "what", "licence", "query"], rows)
    say(f"Data sets of matminer: {', '.join(data_sets())}")


@app.command()
def machine() -> None:
    """Show what this runs on: processor, memory, GPU, versions."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = [
        ["system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"],
        ["cores", f"{cores}"],
        ["threads", f"{torch.get_num_threads()} (PyTorch)"],
        ["memory", memory()],
        ["GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none"],
        *([name, installed(name)] for name in ("crystalssl", *LIBRARIES)),
    ]
    grid("Machine", ["", ""], rows)


def installed(name: str) -> str:
    """Version of a package, or that it is not there."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def memory() -> str:
    """Physical memory in GiB, where the system tells it."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{size / 2**30:.1f} GiB"


@settings.callback()
def _settings() -> None:
    """Keep ``config`` a group, so that ``config show`` is spelled out."""


@settings.command()
def show(preset: PRESET = "quick", block: BLOCK = "all") -> None:
    """Show every setting by its section: value and meaning; for --config and --set."""
    from crystalssl.blocks.registry import resolve_blocks
    from crystalssl.config import get_preset
    from crystalssl.features.bottleneck_objective import BottleneckConfig
    from crystalssl.features.student_training import StudentConfig

    show_config(f"[training], preset {preset}", get_preset(preset))
    for entry in resolve_blocks(block):
        show_config(f"[{entry.name}], block {entry.number}", entry.Config())
    if block == "all":
        show_config("[student]", StudentConfig())
        show_config("[bottleneck]", BottleneckConfig())


def show_config(title: str, config: Any) -> None:
    """Print one configuration: field, value, meaning."""
    from dataclasses import fields

    meanings = field_docs(type(config))
    rows = [
        [field.name, str(getattr(config, field.name)), meanings.get(field.name, "")]
        for field in fields(config)
    ]
    grid(title, ["setting", "value", "meaning"], rows)


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, from its source."""
    import inspect
    import textwrap

    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        if not isinstance(body, ast.ClassDef):
            continue
        for entry, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(entry, ast.AnnAssign)
                and isinstance(entry.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                docs[entry.target.id] = " ".join(str(below.value.value).split())
    return docs
