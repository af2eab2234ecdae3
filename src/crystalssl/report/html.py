"""A folder of a run or of evaluations -> one self-contained ``report.html``.

Everything the page needs is inside the file: style, figures, numbers. It makes no request, follows
the reader's light or dark setting, and prints. Last step of ``crystalssl run``.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import jinja2

from crystalssl import __version__
from crystalssl.evaluation.results import Results, select
from crystalssl.files import write_text
from crystalssl.report.map import map_passage
from crystalssl.report.page import OUTCOMES, Passage, Section, Table, TableCell, TableRow
from crystalssl.report.read import RunData, read_run
from crystalssl.report.sections.comparison import comparison_section
from crystalssl.report.sections.overlap import data_section, name_of
from crystalssl.report.sections.pretraining import (
    card_section,
    curve_section,
    rank_passage,
    task_section,
)
from crystalssl.report.sections.scenarios import ALL
from crystalssl.report.sections.setting import tally

REPORT_FILE = "report.html"
"""File name of the report in the run folder."""
TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    folder: str | Path,
    *,
    features: str | Path | None = None,
    structures: str | Path | None = None,
    umap: bool = True,
) -> Path:
    """Write ``report.html`` into a folder, from what is stored there.

    Args:
        folder: folder of a run, or of evaluations; what is absent is left out of the page.
        features: features for the map, where they are not ``features.parquet`` of the folder.
        structures: their structure table, where it is not ``structures.parquet`` of the folder.
        umap: whether the map shows UMAP beside principal components, if umap-learn is installed.

    Returns:
        Path of the report.

    Raises:
        InputError: if there is nothing to report, or a file is missing or damaged.
    """
    run = read_run(folder, features=features, structures=structures, umap=umap)
    return write_text(render(run), run.folder / REPORT_FILE)


def render(run: RunData) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    evaluated = [
        comparison_section(scenario, entries)
        for name, scenario in ALL.items()
        if (entries := run.of(name))
    ]
    others = [
        task_section(run.weights),
        curve_section(run.weights.blocks),
        _feature_section(run),
        data_section(run.data, run.panel, run.results),
        card_section(run.weights),
        _environment_section(run),
    ]
    return environment.get_template("report.html").render(
        title=run.folder.resolve().name,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        tiles=_tiles(run),
        unreadable=run.unreadable,
        evaluated=evaluated,
        sections=[*evaluated, *(section for section in others if section is not None)],
        outcomes=OUTCOMES,
        version=__version__,
    )


def _feature_section(run: RunData) -> Section | None:
    """The map of the crystals and the health of the features."""
    rank = rank_passage(run.weights.blocks)
    passages = [map_passage(run.embedding)] if run.embedding is not None else []
    passages += [rank] if rank is not None else []
    if not passages:
        return None
    return Section(anchor="features", title="Features", passages=tuple(passages))


def _environment_section(run: RunData) -> Section:
    """Versions, where the numbers come from, and settings."""
    versions = run.results[0].record.versions if run.results else {"crystalssl": __version__}
    facts = [("Report made on", f"{platform.system()} {platform.machine()}"), *versions.items()]
    passages = [Passage(facts=(("", tuple(facts)),))]
    if run.results:
        heads = ("Evaluation", "stored rows", "seeds", "digest of the data", "crystalssl")
        rows = tuple(_record_row(entry) for entry in run.results)
        title = "Where the numbers come from"
        passages.append(Passage(title=title, tables=(Table(heads=heads, rows=rows),)))
    settings = {name_of(entry.record): entry.record.config for entry in run.results}
    settings |= {"the run": run.config} if run.config else {}
    passages += [
        Passage(title=f"Settings: {name}", code=_pretty(config), folded=True)
        for name, config in settings.items()
    ]
    return Section(anchor="environment", title="Environment and settings", passages=tuple(passages))


def _record_row(entry: Results) -> TableRow:
    record = entry.record
    seeds = ", ".join(str(seed) for seed in record.seeds[:6])
    if len(record.seeds) > 6:
        seeds += f" and {len(record.seeds) - 6} more"
    texts = (
        f"{len(entry.rows):,}", seeds, record.data_hash[:12], record.versions.get("crystalssl", "")
    )  # fmt: skip
    return TableRow(label=name_of(record), cells=tuple(TableCell(text=text) for text in texts))


def _tiles(run: RunData) -> list[tuple[str, str]]:
    """Numbers for the top of the page with what they count; only those that are known."""
    tiles = [(f"{run.data.crystals:,}", "crystals")] if run.data.crystals else []
    if run.embedding is not None:
        tiles.append((f"{run.embedding.width:,}", "features per crystal"))
    figures = [f for b in run.weights.blocks for f in b.figures if f.number is not None]
    if figures:
        beaten = sum(figure.beats_trivial for figure in figures)
        text = "figures of pretext tasks beat the trivial baseline"
        tiles.append((f"{beaten} of {len(figures)}", text))
    for probe in run.of("linear_probe"):
        wanted = {"feature_set": next(iter(probe.record.proposed), ""), "metric": "rmse"}
        entries = select(probe.differences, head="ridge", best_head=False, **wanted)
        if entries:
            better = sum(entry.gain > 0 for entry in entries)
            sure = tally(entries).partition(", ")[2].rstrip(".")
            text = f"comparisons with lower error under ridge, {sure}"
            tiles.append((f"{better} of {len(entries)}", text))
    return tiles


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True)
