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
    folder: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="DIR")],
) -> None:
    """Write report.html from what a run has stored."""
    from crystalssl.report.html import write_report

    say(f"Report: {write_report(folder)}")
