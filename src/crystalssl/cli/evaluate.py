"""Commands that measure features and show the result: evaluate linear-probe, report.

Features and labels go in; tidy rows and ``report.html`` come out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl.cli import ablation, few_labels, linear_probe, matbench, shap_share
from crystalssl.cli.console import say

app = typer.Typer(help="Measure features against labels and baselines.")


@app.callback()
def scenarios() -> None:
    """Keep ``evaluate`` a group, so that the scenario is spelled out."""


app.command("linear-probe")(linear_probe.linear_probe)
app.command("shap-share")(shap_share.shap_share)
app.command("few-shot")(few_labels.few_shot)
app.command("ablation")(ablation.ablation)
app.command("matbench")(matbench.matbench)


def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a run, or of evaluations.", metavar="DIR")
    ],
    features: Annotated[
        Path | None,
        typer.Option(help="Features for the map; those of DIR if none.", show_default=False),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option(
            "--structures", "-s",
            help="Table of their structures, with labels; that of DIR if none.",
            show_default=False,
        ),
    ] = None,
    umap: Annotated[
        bool, typer.Option(help="Show UMAP beside principal components, where it is installed.")
    ] = True,
) -> None:  # fmt: skip
    """Write report.html from what is stored; nothing is trained or evaluated."""
    from crystalssl.report.html import write_report
    from crystalssl.report.projection import has_umap

    path = write_report(folder, features=features, structures=structures, umap=umap)
    if umap and not has_umap():
        say("The map shows principal components alone; for UMAP: pip install 'crystalssl[plots]'")
    say(f"Report: {path}")
