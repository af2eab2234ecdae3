"""A folder of a run or of evaluations -> one self-contained ``report.html``.

Everything the page needs is inside the file: style, figures, numbers. It makes no request, follows
the reader's light or dark setting, and prints. Last step of ``crystalssl run``.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jinja2

from crystalssl import __version__
from crystalssl.evaluation.scenario import installed_versions
from crystalssl.report import block_figures, overlap_page, task_tables, wording
from crystalssl.report.ablation_page import ablation_section
from crystalssl.report.block_runs import BlockRun
from crystalssl.report.few_shot_page import few_shot_section
from crystalssl.report.map_figures import map_drawings
from crystalssl.report.matbench_page import matbench_section
from crystalssl.report.page import WORDS, Part, Section
from crystalssl.report.probe_page import headline, probe_section
from crystalssl.report.run_folder import RunData, read_run
from crystalssl.report.shap_page import shap_section
from crystalssl.report.stored import Evaluations
from crystalssl.report.task_tables import TaskRow

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
    path = run.folder / REPORT_FILE
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render(run), encoding="utf-8")
    partial.replace(path)
    return path


def render(run: RunData) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["words"] = wording.words
    tables, blocks = run.evaluations.tables(), run.weights.blocks
    probe = run.evaluations.probe
    sections = sections_of(run.evaluations)
    return environment.get_template("report.html").render(
        run=run,
        title=run.folder.resolve().name,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        tiles=task_tables.tiles(run),
        headline=None if probe is None else headline(probe),
        sections=sections,
        outcomes=WORDS,
        overlap=overlap_page.overlap_table(tables),
        overlap_reasons=overlap_page.overlap_reasons(tables),
        tasks=task_tables.task_rows(blocks),
        curves=_curves(blocks),
        rank=block_figures.rank_bars(blocks) if any(b.monitors for b in blocks) else "",
        sparsity=block_figures.sparsity_bars(run.panel) if run.panel else "",
        maps=[] if run.embedding is None else map_drawings(run.embedding),
        cards=[(block, _card(block)) for block in blocks if block.card is not None],
        bottlenecks={name: asdict(card) for name, card in run.weights.bottlenecks.items()},
        records=overlap_page.record_table(tables),
        settings={overlap_page.name_of(t.record): _pretty(t.record.config) for t in tables},
        config=_pretty(run.config) if run.config else "",
        versions=tables[0].record.versions if tables else installed_versions(),
        machine=f"{platform.system()} {platform.machine()}",
        version=__version__,
    )


def sections_of(found: Evaluations) -> list[Section]:
    """One section for each scenario that was evaluated, in the order of the page."""
    sections = [
        None if found.probe is None else _counted(probe_section(found.probe), found.probe.table),
        None if found.shares is None else shap_section(found.shares),
        None
        if found.few_shot is None
        else _counted(few_shot_section(found.few_shot), found.few_shot.table),
        None if found.ablation is None else ablation_section(found.ablation),
        matbench_section(found.matbench) if found.matbench else None,
    ]
    return [section for section in sections if section is not None]


def _counted(section: Section, table: Any) -> Section:
    """The section with a remark on the crystals that took no part."""
    remark = overlap_page.left_out(table.record)
    return replace(section, parts=(*section.parts, Part(note=remark))) if remark else section


def _curves(blocks: Sequence[BlockRun]) -> list[tuple[BlockRun, list[tuple[TaskRow, str]]]]:
    """A curve for each task, by block."""
    return [
        (
            block,
            [
                (task_tables.task_row(block, task), block_figures.task_curve(block, task))
                for task in block.figures
            ],
        )
        for block in blocks
        if block.history
    ]


def _card(block: BlockRun) -> dict[str, Any]:
    """A model card without what the page shows elsewhere."""
    if block.card is None:
        return {}
    return {name: value for name, value in asdict(block.card).items() if name != "figures"}


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True)
