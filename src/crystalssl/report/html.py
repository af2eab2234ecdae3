"""A folder of a run or of evaluations -> one self-contained ``report.html``.

Everything the page needs is inside the file: style, figures, numbers. It makes no request, follows
the reader's light or dark setting, and prints. Last step of ``crystalssl run``.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import jinja2

from crystalssl import __version__
from crystalssl.evaluation.cache import installed_versions
from crystalssl.evaluation.results import Results, select
from crystalssl.files import write_text
from crystalssl.report.map import map_passage
from crystalssl.report.page import OUTCOMES, TEMPLATES, Passage, Section, Table, TableRow, plain_row
from crystalssl.report.read import RunData, read_run
from crystalssl.report.sections import pretraining
from crystalssl.report.sections.comparison import comparison_section
from crystalssl.report.sections.overlap import data_section, name_of
from crystalssl.report.sections.property.classes import class_section
from crystalssl.report.sections.property.data import ClassRun
from crystalssl.report.sections.property.section import property_section
from crystalssl.report.sections.scenarios import ALL
from crystalssl.report.sections.setting import tally

REPORT_FILE = "report.html"
"""File name of the report in the run folder."""


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
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    answers = [
        class_section(model, run.map_page)
        if isinstance(model, ClassRun)
        else property_section(model, run.map_page)
        for model in run.properties
    ]
    compared = [comparison_section(s, run.of(name)) for name, s in ALL.items() if run.of(name)]
    evaluated = [*answers, *compared]
    others = [
        pretraining.task_section(run.weights),
        pretraining.curve_section(run.weights.blocks),
        _feature_section(run),
        data_section(run.data, run.panel, run.results),
        pretraining.card_section(run.weights),
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
        map_page=run.map_page,
        version=__version__,
    )


def _feature_section(run: RunData) -> Section | None:
    """The map of the crystals and the health of the features."""
    rank = pretraining.rank_passage(run.weights.blocks)
    health = None if run.embedding is None else map_passage(run.embedding)
    passages = tuple(passage for passage in (health, rank) if passage is not None)
    return Section(anchor="features", title="Features", passages=passages) if passages else None


def _environment_section(run: RunData) -> Section:
    """Versions, where the numbers come from, and settings."""
    records = [entry.record for entry in run.results]
    versions = records[0].versions if records else installed_versions()
    facts = [("Report made on", f"{platform.system()} {platform.machine()}"), *versions.items()]
    passages = [Passage(facts=(("", tuple(facts)),))]
    if records:
        heads = ("Evaluation", "stored rows", "seeds", "digest of the data", "crystalssl")
        rows = tuple(_record_row(entry) for entry in run.results)
        title = "Where the numbers come from"
        passages.append(Passage(title=title, tables=(Table(heads=heads, rows=rows),)))
    settings = {name_of(record): record.config for record in records}
    settings |= {"the run": run.config} if run.config else {}
    for name, config in settings.items():
        text = json.dumps(config, indent=2, sort_keys=True)
        passages.append(Passage(title=f"Settings: {name}", code=text, folded=True))
    title = "Environment and settings"
    return Section(anchor="environment", title=title, passages=tuple(passages))


def _record_row(entry: Results) -> TableRow:
    record, more = entry.record, len(entry.record.seeds) - 6
    seeds = ", ".join(map(str, record.seeds[:6])) + (f" and {more} more" if more > 0 else "")
    version = record.versions.get("crystalssl", "")
    texts = (f"{len(entry.rows):,}", seeds, record.data_hash[:12], version)
    return plain_row(name_of(record), *texts)


def _tiles(run: RunData) -> list[tuple[str, str]]:
    """Numbers for the top of the page with what they count; only those that are known."""
    tiles = [(f"{run.data.crystals:,}", "crystals")] if run.data.crystals else []
    if run.embedding is not None:
        tiles.append((f"{run.embedding.width:,}", "features per crystal"))
    figures = [f for b in run.weights.blocks for f in b.figures if f.number is not None]
    if figures:
        text = "figures of pretext tasks beat the trivial baseline"
        tiles.append((f"{sum(f.beats_trivial for f in figures)} of {len(figures)}", text))
    for probe in run.of("linear_probe"):
        wanted = {"feature_set": next(iter(probe.record.proposed), ""), "metric": "rmse"}
        entries = select(probe.differences, head="ridge", best_head=False, **wanted)
        if entries:
            better = sum(entry.gain > 0 for entry in entries)
            text = f"comparisons with lower error under ridge, {tally(entries).split(', ')[1]}"
            tiles.append((f"{better} of {len(entries)}", text.rstrip(".")))
    return tiles
