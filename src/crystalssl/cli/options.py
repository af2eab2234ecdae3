"""Options that several commands share, each with its help text written once.

Read by typer when a command is called; nothing happens here. Old spellings of renamed options are
hidden options of the same commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Files, folders, archives or tables: CIF, POSCAR, extxyz, ASE db, JSON(.gz), "
        "Parquet, .zip/.tar, raw FTCP .npy.",
        metavar="STRUCTURES",
        show_default=False,
    ),
]
OptionalSources = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Files, folders, archives or tables; the bundled crystals if none are given.",
        metavar="[STRUCTURES]",
        show_default=False,
    ),
]
Labelled = Annotated[
    list[Path],
    typer.Option("--structures", "-s", help="Structures with labels; may be repeated."),
]
FeaturesFile = Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")]
Table = Annotated[Path, typer.Option("--out", "-o", help="Structure table, .parquet.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop if any structure cannot be used.")]
Symprec = Annotated[float, typer.Option(help="Symmetry tolerance in angstrom.", min=1e-6, max=0.5)]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.", min=0)]
MaybeSeed = Annotated[
    int | None, typer.Option("--seed", help="Seed of all randomness; 0 if not given.", min=0)
]
Threads = Annotated[int | None, typer.Option(help="Threads to use; all cores if not given.", min=1)]
Epochs = Annotated[
    int | None, typer.Option(help="At most so many epochs, instead of the preset's.", min=1)
]
DType = Annotated[
    str, typer.Option("--dtype", help="Type of stored features: float32, float16 or int8.")
]
Weights = Annotated[
    str, typer.Option("--weights", "-w", help="Folder of a run, or a name (info weights).")
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        help="blocks: side by side; bottleneck: its features; auto: these if the run has one.",
    ),
]
BlockChoice = Annotated[
    str,
    typer.Option(
        "--block", "-b", help="all, or names and numbers joined by commas (crystalssl info blocks)."
    ),
]
Preset = Annotated[str, typer.Option("--preset", "-p", help="quick, paper or large.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Replace trained weights that are there.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings in TOML: sections [training], [bottleneck] and blocks (config show).",
        show_default=False,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.SETTING=VALUE",
        help="One setting, like sites.move_ratio=0.4; may be repeated, wins over --config.",
        show_default=False,
    ),
]
Target = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        help="Label column to predict, or log10(COLUMN); may be given several times.",
    ),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        help="NAME=FILE: further features to compare, under this name; may be repeated.",
        show_default=False,
    ),
]
Shared = Annotated[
    Path | None,
    typer.Option(
        "--shared",
        help="Folder shared by scenarios of the same structures and features: baselines are made "
        "and models on all labels fitted once.",
        show_default=False,
    ),
]
DropSeen = Annotated[
    str,
    typer.Option(
        "--drop-seen",
        help="Leave out test crystals that the weights saw in pre-training: none, formulas (any "
        "crystal of a seen formula) or structures.",
    ),
]
Untrained = Annotated[
    bool, typer.Option(help="Also compare with encoders that were never trained.")
]
