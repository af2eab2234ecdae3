"""The commands that are killed: data, so that a new one is a line at the end of ``COMMANDS``.

Each takes the prepared inputs and the folder of its results, and does its work in a process of its
own; ``program`` calls the command line as a user does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crystalssl.structures.crystals import Crystals

WEIGHTS = "tiny"
LABELLED = 60
"""Crystals with labels."""
TARGET = "formation_energy_per_atom"
LOGARITHM = "log10(volume)"
"""A target that is made of a column: ``run`` takes it as ``fit`` and ``evaluate`` do."""
BRIEF = ("--set", "bottleneck.least_steps=5", "--set", "bottleneck.epochs=1")
"""Settings of a bottleneck that is trained for a few steps."""
FEW = ("--fractions", "50", "--repeats", "1", "--heads", "ridge", "--residual", "")
"""Options of the few-shot scenario with one head, one fraction and one repeat."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something that writes files.

    Attributes:
        name: what it is called in reports.
        work: called with inputs and folder of results; an exit code other than 0 ends the process.
        group: commands that are proved in one go.
        before: called like ``work``, once and never killed: makes what the command goes on from.
    """

    name: str
    work: Callable[[Path, Path], None]
    group: str = "features"
    before: Callable[[Path, Path], None] | None = None


def program(*words: object) -> None:
    """The command line; its exit code is that of the process, if it is not 0."""
    from crystalssl.cli.app import app

    code = app([str(word) for word in words], standalone_mode=False)
    if code:
        raise SystemExit(code)


def prepare(inputs: Path) -> None:
    """What the commands read: tables, features of all blocks, and a run of one epoch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.structures.table import to_arrow, write_table

    crystals = load_bundled().take(np.arange(0, 240, 10)).with_columns(None)
    coords = crystals.frac_coords.copy()
    coords[crystals.offsets[3] : crystals.offsets[4]] = 0.0  # one that cannot be used
    table = to_arrow(replace(crystals, frac_coords=coords))
    inputs.mkdir(parents=True)
    pq.write_table(table, inputs / "table.parquet", row_group_size=9)
    for number, name in enumerate(("a", "deep/b")):
        write_table(
            crystals.take(np.arange(6 * number, 6 * number + 6)),
            inputs / "shards" / f"{name}.parquet",
        )
    bundled = load_bundled()
    labelled = np.flatnonzero(np.isfinite(bundled.column(TARGET).astype(float)))
    some = bundled.take(labelled[:: len(labelled) // LABELLED])
    columns = pa.table({TARGET: some.column(TARGET), "volume": some.volumes})
    write_table(some.with_columns(columns), inputs / "labelled.parquet")
    _matbench_task(crystals, inputs / "matbench_tiny.json")
    for table in ("table", "labelled"):
        _features(inputs / f"{table}.parquet")
    fit(inputs, inputs)


def _matbench_task(crystals: Crystals, path: Path) -> None:
    """The crystals with numbers to learn, as matminer writes a task of Matbench."""
    from crystalssl.structures.objects import to_pymatgen

    structures = to_pymatgen(crystals)
    rows = [[each.as_dict(), float(row % 7)] for row, each in enumerate(structures)]
    content = {"index": list(range(len(rows))), "columns": ["structure", "y"], "data": rows}
    path.write_text(json.dumps(content))


def _features(table: Path) -> None:
    name = "features" if table.stem == "table" else f"{table.stem}_features"
    features = table.with_name(f"{name}.parquet")
    program("extract", table, "-o", features, "-w", WEIGHTS, "--output", "blocks")


def convert(inputs: Path, out: Path) -> None:
    program("convert", inputs / "table.parquet", "-o", out / "structures.parquet")


def extract(name: str, *options: str) -> Callable[[Path, Path], None]:
    def work(inputs: Path, out: Path) -> None:
        words = ("-w", WEIGHTS, "--block", "2", *options)
        program("extract", inputs / "table.parquet", "-o", out / name, *words)

    return work


def stream(name: str, dtype: str, blocks: tuple[str, ...]) -> Callable[[Path, Path], None]:
    """A table as if it were long; all blocks are mixed."""

    def work(inputs: Path, out: Path) -> None:
        from crystalssl.features import stream
        from crystalssl.features.extractor import ExtractorConfig

        stream.PIECE = 8
        config = ExtractorConfig(weights=WEIGHTS, device="cpu", blocks=blocks)
        stream.stream_features(inputs / "table.parquet", out / name, config, dtype=dtype)

    return work


def pretrain(*options: str) -> Callable[[Path, Path], None]:
    def work(inputs: Path, out: Path) -> None:
        from crystalssl.datasets import shards

        shards.SHARD = 12
        words = ("--block", "1,2", "--epochs", "2", "--threads", "1")
        program("pretrain", inputs / "table.parquet", "--out", out, *words, *options)

    return work


def pretrain_to(epochs: int, *options: str) -> Callable[[Path, Path], None]:
    """Training of one block up to an epoch."""

    def work(inputs: Path, out: Path) -> None:
        words = ("--block", "2", "--threads", "1", "--epochs", epochs)
        program("pretrain", inputs / "table.parquet", "--out", out, *words, *options)

    return work


def bottleneck(inputs: Path, out: Path) -> None:
    words = ("-s", inputs / "table.parquet", "--width", "16", "--epochs", "1", "--threads", "1")
    program("bottleneck", inputs / "features.parquet", "--out", out, *words)


def featurize_corpus(inputs: Path, out: Path) -> None:
    words = ("-w", WEIGHTS, "--workers", "1", "--block", "2")
    program("featurize-corpus", inputs / "shards", "-o", out, *words)


def run(inputs: Path, out: Path) -> None:
    _few_candidates()
    words = ("--block", "1,2", "--epochs", "1", "--threads", "1", "--target", TARGET, *BRIEF)
    program("run", inputs / "labelled.parquet", "--pretrain", "--out", out, *words)


def run_on_given_weights(inputs: Path, out: Path) -> None:
    _few_candidates()
    words = ("-w", WEIGHTS, "--threads", "1", "--target", LOGARITHM)
    program("run", inputs / "labelled.parquet", "--out", out, *words)
    listed = sorted(path.name for path in (out / "models").iterdir())
    if not any("log10" in name for name in listed):
        raise SystemExit(f"no model of {LOGARITHM}: {listed}")


def encode(name: str, suffix: str) -> Callable[[Path, Path], None]:
    """Raw FTCP or the panel."""

    def work(inputs: Path, out: Path) -> None:
        program(name, inputs / "table.parquet", "-o", out / f"{name}{suffix}")

    return work


def matbench(inputs: Path, out: Path) -> None:
    words = ("-w", WEIGHTS, "--block", "2", "--threads", "1", "--out", out)
    program("evaluate", "matbench", inputs / "matbench_tiny.json", *words)


def shap_share(inputs: Path, out: Path) -> None:
    """Scenario 2 with heads that learn for seconds only."""
    from crystalssl.evaluation.scenarios import shap_share as scenario
    from crystalssl.models.registry import build_head

    def brief(name: str, *, threads: int = 0) -> object:
        changes = {"mlp": {"epochs": 2, "steps": 10}, "lightgbm": {"rounds": 10}}
        return replace(build_head(name, threads=threads), **changes.get(name, {}))

    scenario.build_head = brief  # type: ignore[assignment]
    evaluate("shap-share", "--explained", "5", "--samples", "5")(inputs, out)


def fit(inputs: Path, out: Path) -> None:
    _few_candidates()
    words = ("-w", WEIGHTS, "--threads", "1", "--target", TARGET)
    program("fit", inputs / "labelled.parquet", "--out", out / "model", *words)


def predict(inputs: Path, out: Path) -> None:
    model, table = inputs / "model", inputs / "table.parquet"
    program("predict", model, table, "-o", out / "predictions.parquet", "--threads", "1")


def search(name: str, *options: str) -> Callable[[Path, Path], None]:
    """A command that reads structures and writes one table."""

    def work(inputs: Path, out: Path) -> None:
        words = ("-w", WEIGHTS, "-o", out / f"{name}.csv", *options)
        program(name, inputs / "table.parquet", *words)

    return work


def make_map(inputs: Path, out: Path) -> None:
    words = ("-s", inputs / "labelled.parquet", "-o", out / "map.html", "--no-umap")
    program("map", inputs / "labelled_features.parquet", *words)


def _few_candidates() -> None:
    """Property models of one candidate and one repeat: what is written is the same files."""
    from tests.plans import few_candidates

    few_candidates()


def evaluate(scenario: str, *options: str) -> Callable[[Path, Path], None]:
    """A scenario on features and labels; without raw FTCP's rivals it takes seconds."""

    def work(inputs: Path, out: Path) -> None:
        words = ("--structures", inputs / "labelled.parquet", "--target", TARGET)
        features = inputs / "labelled_features.parquet"
        program("evaluate", scenario, features, *words, "--out", out, "--threads", "1", *options)

    return work


COMMANDS = [
    Command(name="convert", work=convert),
    Command(name="extract to parquet", work=extract("f.parquet")),
    Command(name="extract to npy", work=extract("f.npy")),
    Command(name="extract to npy, int8", work=extract("f.npy", "--dtype", "int8")),
    Command(name="streamed to parquet", work=stream("f.parquet", "float32", ())),
    Command(name="streamed to npy, float16", work=stream("f.npy", "float16", ("lattice",))),
    Command(name="streamed to parquet, int8", work=stream("f.parquet", "int8", ("lattice",))),
    Command(name="pretrain", group="training", work=pretrain()),
    Command(name="pretrain --stream", group="training", work=pretrain("--stream")),
    Command(
        name="pretrain --resume, more epochs",
        group="training",
        work=pretrain_to(2, "--resume"),
        before=pretrain_to(1),
    ),
    Command(name="bottleneck", group="training", work=bottleneck),
    Command(name="featurize-corpus", work=featurize_corpus),
    Command(name="run", group="run", work=run),
    Command(name="run on given weights", group="run", work=run_on_given_weights),
    Command(name="map", work=make_map),
    Command(name="fit", group="run", work=fit),
    Command(name="predict", group="run", work=predict),
    Command(name="select", work=search("select", "-n", "5")),
    Command(name="duplicates", work=search("duplicates")),
    Command(name="evaluate linear-probe", group="evaluation", work=evaluate("linear-probe")),
    Command(name="evaluate ablation", group="evaluation", work=evaluate("ablation")),
    Command(name="evaluate few-shot", group="evaluation", work=evaluate("few-shot", *FEW)),
    Command(name="evaluate shap-share", group="evaluation", work=shap_share),
    Command(name="evaluate matbench", group="evaluation", work=matbench),
    Command(name="ftcp", work=encode("ftcp", ".npy")),
    Command(name="panel", work=encode("panel", ".npy")),
]
