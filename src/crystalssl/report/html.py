"""A run folder -> one self-contained ``report.html``.

Everything the page needs is inside the file: style, figures, numbers. It makes no request, follows
the reader's light or dark setting, and prints. Last step of ``crystalssl run``.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.compute as pc

from crystalssl import __version__
from crystalssl.evaluation.linear_probe import LinearProbe
from crystalssl.evaluation.scenario import ResultTable, installed_versions
from crystalssl.report import block_figures, figures, tables
from crystalssl.report.run_folder import BlockRun, RunData, read_run
from crystalssl.report.tables import ProbeRow, Setting, TaskRow

REPORT_FILE = "report.html"
"""File name of the report in the run folder."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonView:
    """One comparison as the page shows it.

    Attributes:
        setting: property and split.
        rows: one per feature set.
        bars: its figure.
    """

    setting: Setting
    rows: list[ProbeRow]
    bars: str


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder, from what is stored there.

    Args:
        folder: folder of a run; parts that are absent are left out of the page.

    Returns:
        Path of the report.

    Raises:
        InputError: if there is nothing to report, or a stored file is damaged.
    """
    run = read_run(folder)
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
    environment.filters["words"] = tables.words
    probe = run.probe
    return environment.get_template("report.html").render(
        run=run,
        title=run.folder.resolve().name,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        tiles=tables.tiles(run),
        headline=None if probe is None else tables.headline(probe.table),
        comparisons=[] if probe is None else _comparisons(probe.table),
        shares=[] if probe is None else _share_figures(probe.table),
        parity=[] if probe is None else _parity_figures(probe),
        counted="" if probe is None else tables.counted(probe.table),
        tasks=tables.task_rows(run.blocks),
        curves=_curves(run.blocks),
        rank=block_figures.rank_bars(run.blocks) if any(b.monitors for b in run.blocks) else "",
        sparsity=block_figures.sparsity_bars(run.panel) if run.panel else "",
        maps=_maps(run),
        cards=[(block, _card(block)) for block in run.blocks if block.card is not None],
        config=json.dumps(run.config, indent=2, sort_keys=True),
        versions=installed_versions() if probe is None else probe.table.record.versions,
        machine=f"{platform.system()} {platform.machine()}",
        version=__version__,
    )


def _comparisons(table: ResultTable) -> list[ComparisonView]:
    """A table and bars for each comparison."""
    champion = tables.champion_of(table)
    return [
        ComparisonView(
            setting=setting,
            rows=tables.probe_rows(table, setting),
            bars=figures.comparison_bars(
                table, setting.property, setting.split_kind, setting.share, champion
            ),
        )
        for setting in tables.settings_of(table)
    ]


def _share_figures(table: ResultTable) -> list[str]:
    """Error against share trained on, where several shares were tried."""
    shares: dict[tuple[str, str], set[float]] = {}
    for setting in tables.settings_of(table):
        if setting.share is not None:
            shares.setdefault((setting.property, setting.split_kind), set()).add(setting.share)
    champion = tables.champion_of(table)
    return [
        figures.share_lines(table, *key, champion)
        for key, found in shares.items()
        if len(found) > 1
    ]


def _parity_figures(probe: LinearProbe) -> list[str]:
    """The feature set of interest beside its strongest rival, ridge, for each property."""
    table, champion = probe.table, tables.champion_of(probe.table)
    drawn = []
    for name in dict.fromkeys(row.property for row in table.rows):
        errors = {
            s.key[0]: s.mean
            for s in table.summarize(["feature_set"], property=name, metric="rmse", model="ridge")
        }
        rivals = sorted((n for n in errors if n != champion), key=lambda n: errors[n])
        for shown in [n for n in (champion, *rivals[:1]) if n in errors]:
            kept = probe.predictions.filter(
                (pc.field("property") == name)
                & (pc.field("feature_set") == shown)
                & (pc.field("model") == "ridge")
            )
            if not kept.num_rows:
                continue
            drawn.append(
                figures.parity(
                    kept["y_true"].to_numpy(),
                    kept["y_pred"].to_numpy(),
                    table.record.labels.get(shown, shown),
                    kept["unit"][0].as_py(),
                    leading=shown == champion,
                )
            )
    return drawn


def _curves(blocks: Sequence[BlockRun]) -> list[tuple[BlockRun, list[tuple[TaskRow, str]]]]:
    """A curve for each task, by block."""
    return [
        (
            block,
            [
                (tables.task_row(block, task), block_figures.task_curve(block, task))
                for task in block.figures
            ],
        )
        for block in blocks
        if block.history
    ]


def _maps(run: RunData) -> list[str]:
    """The map of the features, coloured by each property and by crystal system."""
    if run.embedding is None:
        return []
    drawn = [block_figures.property_map(run.embedding, name) for name in run.embedding.properties]
    if run.embedding.crystal_system is not None:
        drawn.append(block_figures.system_map(run.embedding))
    return drawn


def _card(block: BlockRun) -> dict[str, Any]:
    """A model card without what the page shows elsewhere."""
    if block.card is None:
        return {}
    return {name: value for name, value in asdict(block.card).items() if name != "figures"}
