"""Commands that measure features and show the result: evaluate linear-probe, report.

Features and labels go in; tidy rows and ``report.html`` come out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl.cli import ablation, few_labels, matbench, probing, shap_share
from crystalssl.cli.console import (
    load,
    make_canonical,
    make_folder,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import Seed, Strict, Symprec, Target, Threads

app = typer.Typer(help="Measure features against labels and baselines.")


app.command("few-shot")(few_labels.few_shot)
app.command("ablation")(ablation.ablation)


@app.callback()
def scenarios() -> None:
    """Keep ``evaluate`` a group, so that the scenario is spelled out."""


@app.command("linear-probe")
def linear_probe(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Annotated[
        list[Path],
        typer.Option("--structures", "-s", help="Structures with labels; may be repeated."),
    ],
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and predictions.")],
    untrained: Annotated[
        bool, typer.Option(help="Also compare with encoders that were never trained.")
    ] = True,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 1: ridge and least squares on features and baselines, formulas kept together."""
    from crystalssl.blocks._registry import build_block, list_blocks
    from crystalssl.cli import steps
    from crystalssl.features.container import UNTRAINED
    from crystalssl.features.store import load_features

    make_folder(out)
    use_threads(threads)
    found = load_features(features)
    loaded = load(structures)
    report_skipped(loaded.skipped, loaded.total, out, strict)
    crystals = probing.labelled(loaded.crystals, target)
    protocol = probing.protocol_for(crystals, seed)
    probing.check_protocol(crystals, target, protocol)
    random = None
    if untrained:
        fresh = {block.name: build_block(block.name, seed=seed) for block in list_blocks()}
        canonical = make_canonical(crystals, out, strict=strict, symprec=symprec)
        random = steps.extract_features(canonical, fresh, UNTRAINED, "Untrained encoders")
    sets = probing.build_sets(crystals, found, random, out / "cache")
    result = probing.probe(sets, crystals, target, protocol, out)
    probing.show_results(result.table)
    say(f"Rows and predictions: {out}")


app.command("shap-share")(shap_share.shap_share)
app.command("matbench")(matbench.matbench)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="DIR")],
) -> None:
    """Write report.html from what a run has stored."""
    from crystalssl.report.html import write_report

    say(f"Report: {write_report(folder)}")
