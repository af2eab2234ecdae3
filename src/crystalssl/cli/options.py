"""Every option of the command line, by the parameter of the pipeline that it sets.

A command takes the parameters of its function that stand here, in the order and with the defaults
of that function (``commands.py``). Texts that stand for several values are parsed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crystalssl.errors import InputError
from crystalssl.representation.layout import ELECTRONIC

FILES = (
    "Files, folders, archives or tables: CIF, POSCAR, extxyz, ASE db, JSON(.gz), Parquet, "
    ".zip/.tar, raw FTCP .npy"
)


def argument(kind: Any, text: str, **details: Any) -> Any:
    """What stands in the command without a name."""
    return Annotated[kind, typer.Argument(help=text, show_default=False, **details)]


def option(kind: Any, text: str, *names: str, **details: Any) -> Any:
    """What is given by a name; that of the parameter by default."""
    return Annotated[kind, typer.Option(*names, help=text, **details)]


def several(kind: Any, text: str, *names: str, **details: Any) -> Any:
    """An option that may be repeated."""
    return option(list[kind], f"{text}; may be repeated.", *names, show_default=False, **details)


Number, Text, File = int | None, str | None, Path | None
ARRAY = option(Path, "Array, .npy; ids of its rows go beside it.", "--out", "-o")
TABLE = option(Path, "Structure table, .parquet.", "--out", "-o")
FEATURES_FILE = option(Path, ".parquet, or .npy for an array (n, 2048).", "--out", "-o")
LEVEL_OF_ROWS = option(str, "A row a crystal, or a row a site.")
SHARDS_OUT = option(Path, "Folder for the features.", "--out", "-o")
LABELLED = several(Path, "Structures with labels", "--structures", "-s")
BUNDLED = argument(list[Path] | None, f"{FILES}; the bundled crystals if none are given.")
MAP_FILE = option(File, "Their table, with labels; that of DIR if none.", "--structures", "-s")
MAP_FEATURES = option(File, "Features for the map; those of DIR if none.")
MAP_OUT = option(Path, "Page, .html; needs nothing else, also offline.", "--out", "-o")
MAP_STRUCTURES = option(
    list[Path] | None, f"{FILES}; those the features are of.", "--structures", "-s",
    show_default=False,
)  # fmt: skip
PREDICTIONS = option(Path, "Predictions, .parquet or .csv.", "--out", "-o")
SHARES = option(Path, "Contributions, .parquet or .csv.", "--out", "-o")
TASK = option(str, "auto, regression or classification.", "--task")
REPEATS = option(Number, "Cross-validations with other folds; what suits if not given.", min=1)
MODEL_OUT = option(Path, "Folder for the model.", "--out", "-o")
PROPERTY = option(str, "Label column to predict, or log10(COLUMN).", "--target", "-t")
PRESET = option(str, "quick, paper or large.", "--preset", "-p")
BLOCK = option(str, "all, or names and numbers joined by commas (info blocks).", "--block", "-b")
UNTRAINED_FILE = option(File, "Their features, where they are there already.")

SOURCE_QUERY = argument(str, "Filter, fields or data set, as the source asks; all if none.")
SHARED_WEIGHTS = argument(str, "Folder of a run, or a name (info weights).")
PUSH_TARGET = argument(str, "hf://organisation/name, a new folder, or a .zip.")
RESULT = option(File, "Table to write, .parquet or .csv.", "--out", "-o")
UNCERTAIN_MODEL = option(File, "Property model whose uncertainty counts.", "--model", "-m")
STRUCTURES_OR_FEATURES = argument(Path, "Structures, or features (.parquet, .npy).")
THEIR_STRUCTURES = option(
    File, "Their structures, for formula, space group and filters.", "--structures", "-s"
)

OPTIONS: dict[str, Any] = {
    "structures": argument(list[Path], f"{FILES}.", metavar="STRUCTURES"),
    "source": argument(str, "Database (info sources), or address of an OPTIMADE provider."),
    "limit": option(Number, "Most crystals that are wanted.", min=1),
    "fields": several(str, "Further property, by the source's name", "--field"),
    "page": option(Number, "Entries of a page; what suits the source if not given.", min=1),
    "private": option(bool, "Make the repository for its owner alone.", "--private"),
    "include_noncommercial": option(
        bool, "Also entries whose licence forbids commercial use.", "--include-noncommercial"
    ),
    "features": argument(Path, "Features, .parquet or .npy."),
    "file": argument(Path, "matbench_*.json.gz as matminer has it, or a structure table."),
    "folder": argument(Path, "Folder of a run, or of evaluations.", metavar="DIR"),
    "shards": argument(Path, "Folder of structure tables, .parquet."),
    "query": argument(str, "An id of those searched, a file with structures, or features."),
    "among": option(Path, "Features to search among, or a saved index.", "--in", "-i"),
    "first": argument(Path, "Features, or structures."),
    "second": argument(File, "Features or structures to compare with; within the first if none."),
    "generated": argument(Path, "Features or structures of generated crystals."),
    "against": option(Path, "Features or structures that are known."),
    "k": option(int, "Neighbours of each query.", "-k", min=1),
    "elements": option(str, "Elements they must hold, joined by commas; -F for no fluorine."),
    "where": option(str, "Condition on columns: 'band_gap > 1 and nsites < 20'."),
    "views": option(File, "Features of blocks, for the similarity by view."),
    "standardise": option(str, "auto, scale, standardise, whiten or none."),
    "threshold": option(float, "Largest distance of near-duplicates."),
    "method": option(Text, "coverage, uncertainty or both; both with --model, else coverage."),
    "labelled": option(File, "Table or list with the ids that have labels already."),
    "out": option(Path, "Folder for the results.", "--out"),
    "weights": option(
        Text, "Folder of a run, a name (info weights), or hf://organisation/name@revision.",
        "--weights", "-w",
    ),
    "block": BLOCK,
    "output": option(
        str,
        "blocks: side by side; bottleneck: its features; auto: these if the run has one; "
        "physics: named numbers, without weights.",
    ),
    ELECTRONIC: option(
        str, "Numbers of the electrons: taught (predicted from the other views), exact (tight "
        "binding), full (with spin), off (without block 7); auto: taught, off for physics.",
    ),
    "pool": option(Text, "Features of sites pooled instead: mean, by-element or cumulants."),
    "dtype": option(str, "Type of stored features: float32, float16 or int8."),
    "preset": PRESET,
    "epochs": option(Number, "At most so many passes over the training crystals.", min=1),
    "init": option(Text, "Weights to go on from: folder of a run, or a name (info weights)."),
    "resume": option(bool, "Go on where an earlier run stopped.", "--resume"),
    "pretrain": option(bool, "Train encoders on STRUCTURES instead.", "--pretrain"),
    "force": option(bool, "Replace trained weights that are there.", "--force"),
    "stream": option(bool, "Keep the corpus in shards on disk, not in memory.", "--stream"),
    "devices": option(Number, "Processes or GPUs on each host, under a launcher.", min=1),
    "nodes": option(Number, "Hosts, under a launcher.", min=1),
    "config": option(File, "Settings in TOML: training, bottleneck, blocks (config show)."),
    "assignments": several(
        str, "One setting, like sites.move_ratio=0.4; wins over --config", "--set",
        metavar="SECTION.SETTING=VALUE",
    ),
    "width": option(Number, "Number of features to give; 2048 if not given.", min=1),
    "name": option(str, "Name it is chosen by."),
    "count": option(int, "How many crystals.", "--count", "-n", min=1),
    "mean_sites": option(float | None, "Sites of a cell on average.", min=1),
    "workers": option(Number, "Shards at a time; one a core if not given.", min=1),
    "gpus": option(float, "GPUs of each worker; a fraction shares one.", min=0),
    "targets": several(str, "Label column to predict, or log10(COLUMN)", "--target", "-t"),
    "target": option(Text, "Label column, if it is not clear.", "--target", "-t"),
    "task": option(Text, "Task name, if the file has another name."),
    "model": argument(Path, "Folder of a property model.", metavar="MODEL"),
    "labels": option(File, "Table of labels (.csv, .parquet, .xlsx); those of STRUCTURES if none."),
    "id_column": option(Text, "Its column of ids or file names.", "--id"),
    "unit": option(Text, "Unit of the label; read from the column's name if not given."),
    "group": option(Text, "Column of groups that no split may divide; formulas if not given."),
    "descriptors": several(str, "Own descriptors: a table, or columns of STRUCTURES", "--also"),
    "finetune": option(
        str, "Train encoders on with the labels: auto (from about 2,000), never or always."
    ),
    "physics": option(bool, "Read named physical numbers beside features."),
    "budget": option(float | None, "Minutes it may take; repeats and candidates shrink.", min=0.1),
    "by_site": option(bool, "Explain elements and sites too."),
    "level": option(float, "Share of crystals that intervals are to hold.", min=0.5, max=0.999),
    "head": option(str, "ridge, lightgbm, mlp or random_forest."),
    "also": several(str, "NAME=FILE: further features to compare, under this name"),
    "protocol": option(
        Text, "held-out (folds of the test rows), repeated (90/10 to 60/40, random and grouped) or "
        "both; both where there is a split column, else repeated.",
    ),
    "fractions": option(str, "Train fractions, in percent, joined by commas."),
    "repeats": option(int, "Repeats of each split that is drawn at random.", min=1, max=100),
    "full_repeats": option(int, "Seeds of the heads where all labels are used.", min=1),
    "heads": option(str, "Heads, joined by commas: ridge, lightgbm, mlp, random_forest."),
    "residual": option(str, "Fractions for the residual protocol, in percent; empty for none."),
    "folds": option(int, "Folds that residuals are taken from.", min=2),
    "explained": option(int, "Test rows that are explained.", min=2),
    "samples": option(int, "Points for each explained row of the network.", min=1),
    "untrained": option(bool, "Also compare with encoders that were never trained."),
    "drop_seen": option(
        str, "Leave out test crystals that the weights saw in pre-training: none, formulas (any "
        "crystal of a seen formula) or structures.",
    ),
    "shared": option(
        File, "Folder shared by scenarios of the same structures and features: baselines are made "
        "and models on all labels fitted once.",
    ),
    "color": several(
        str, "Column of the structures that colours the map; space_group and crystal_system too",
        "--color", "-c",
    ),
    "title": option(Text, "Heading of the page."),
    "most_structures": option(int, "Crystals that can be seen in 3D, at most.", min=0),
    "umap": option(bool, "Show UMAP beside principal components, where it is installed."),
    "strict": option(bool, "Stop if any structure cannot be used.", "--strict"),
    "symprec": option(float, "Symmetry tolerance in angstrom.", min=1e-6, max=0.5),
    "seed": option(Number, "Seed of all randomness.", min=0),
    "threads": option(Number, "Threads to use; all cores if not given.", min=1),
}  # fmt: skip
RENAMED = {"--draws": "--repeats", "--full-draws": "--full-repeats"}
"""Old spellings of options, which go on working."""


def _named(texts: Sequence[str] | None) -> dict[str, Path]:
    """Files given as ``NAME=FILE``."""
    files: dict[str, Path] = {}
    for text in texts or ():
        name, _, file = text.partition("=")
        if not name or not file:
            raise InputError(f"Got --also {text!r}; expected NAME=FILE, like mine=mine.parquet.")
        if name in files:
            raise InputError(f"The name {name!r} of --also is in use; choose another.")
        files[name] = Path(file)
    return files


def _percentages(text: str) -> tuple[float, ...]:
    """Fractions given in percent, joined by commas; empty text gives none."""
    try:
        fractions = tuple(float(word) / 100 for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(
            f"Got fractions {text!r}; expected numbers joined by commas, for instance 1,10,100."
        ) from error
    if any(not 0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"Got fractions {text!r}; expected more than 0 and at most 100 percent.")
    return tuple(dict.fromkeys(fractions))


def _joined(values: Iterable[float]) -> str:
    return ",".join(f"{100 * value:g}" for value in values)


TEXTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "also": (_named, lambda files: None),
    "fractions": (_percentages, _joined),
    "residual": (_percentages, _joined),
    "heads": (lambda text: tuple(word.strip() for word in text.split(",")), ",".join),
}
"""For options that are texts of several values: how they are read, and how a default is written."""
