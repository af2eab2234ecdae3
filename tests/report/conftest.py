import csv
import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored_results import linear_probe, write_scenarios

from crystalssl.blocks.registry import list_blocks
from crystalssl.errors import Skip
from crystalssl.features.bottleneck import BottleneckCard
from crystalssl.features.features import Features
from crystalssl.features.store import save_parquet
from crystalssl.files import write_skipped
from crystalssl.hub.card import ModelCard, TaskFigure

CRYSTALS = 400
EPOCHS = 12
TARGET = "formation_energy_per_atom"


def _task(block, info, rng):
    """A task that is learned: its figure moves away from the trivial one."""
    trivial = float(rng.uniform(0.15, 0.4))
    gain = 2.1 if info.higher_is_better else 0.45
    curve = trivial * (1 + (gain - 1) * (1 - np.exp(-np.arange(1, EPOCHS + 1) / 4)))
    baselines = {info.trivial: trivial, "closed form": trivial * (1 + gain) / 2}
    figure = TaskFigure(
        task=info.name, number=info.number, block=block.name, figure=info.figure,
        higher_is_better=info.higher_is_better, model=float(curve[-1]), baselines=baselines,
        trivial=info.trivial, loss=0.5,
    )  # fmt: skip
    return figure, curve, baselines


def write_block(folder, block, rng):
    folder.mkdir(parents=True)
    tasks = [_task(block, info, rng) for info in block.tasks]
    rows = []
    for epoch in range(EPOCHS):
        row = {"epoch": epoch, "val_loss": 2.0 / (epoch + 1)}
        for figure, curve, baselines in tasks:
            row[f"{figure.task}/model"] = curve[epoch]
            row |= {f"{figure.task}/{name}": value for name, value in baselines.items()}
        rows.append(row)
    with (folder / "metrics.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figures = [figure for figure, _, _ in tasks]
    monitors = {"effective_rank": float(rng.uniform(10, 39)), "dead_features": 0.0}
    stored = {"tasks": [asdict(f) | {"beats_trivial": f.beats_trivial} for f in figures]}
    (folder / "tasks.json").write_text(json.dumps(stored | {"monitors": monitors}))
    ModelCard(
        block=block.name, config={"dim": 96, "layers": 3}, layout_version=1,
        package_version="0.1.0", data={"train_crystals": 280, "val_crystals": 40},
        training={"epochs": EPOCHS, "monitor_crystals": 2048},
        figures=figures, sha256="0" * 64,
    ).save(folder)  # fmt: skip


def write_bottleneck(folder):
    """The card of what mixes the blocks."""
    widths = {block.name: block.width for block in list_blocks()}
    folder.mkdir()
    card = BottleneckCard(
        widths=widths, width=2048, linear=1024, training={"epochs": 4}, data={"train": 280},
        figures={"told": dict.fromkeys(widths, 0.5)}, sha256="1" * 64,
    )  # fmt: skip
    stored = asdict(card) | {"widths": list(widths.items())}  # in order, as it is written
    (folder / "bottleneck.json").write_text(json.dumps(stored))


def write_features(folder, labels, rng):
    """Features and the table of their structures."""
    ids = np.array([f"mp-{i}" for i in range(CRYSTALS)])
    split = np.array(["train", "val", "test"])[rng.choice(3, CRYSTALS, p=[0.6, 0.1, 0.3])]
    blocks = {}
    for block in list_blocks():
        mixed = rng.normal(size=(CRYSTALS, 8))
        mixed[:, 0] = labels + 0.3 * rng.normal(size=CRYSTALS)
        blocks[block.name] = np.tanh(mixed @ rng.normal(size=(8, 16))).astype(np.float32)
    features = Features(ids=ids, blocks=blocks)
    save_parquet(features, folder / "features.parquet")
    table = pa.table({"immutable_id": ids, TARGET: labels, "split": split})
    pq.write_table(table, folder / "structures.parquet")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run folder as ``crystalssl run`` leaves it, with made-up numbers."""
    folder = tmp_path_factory.mktemp("runs") / "bundled-quick"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = rng.normal(-1.4, 1.0, CRYSTALS)
    for block in list_blocks():
        write_block(folder / "blocks" / block.name, block, rng)
    write_features(folder, labels, rng)
    linear_probe().save(folder / "linear_probe")
    write_scenarios(folder)
    write_bottleneck(folder / "bottleneck")
    (folder / "config.json").write_text(json.dumps({"preset": "quick", "training": {"seed": 0}}))
    skips = [Skip(id=f"x{i}", file="a.cif", reason="Got 150 sites, expected at most 100.",
                  remedy="Use a smaller cell.") for i in range(3)]  # fmt: skip
    skips.append(Skip(id="y", file="b.cif", reason="Got <no> cell & 'text'.", remedy="Check it."))
    write_skipped(skips, folder / "skipped.csv")
    from crystalssl.representation.layout import GROUPS, ROWS

    groups = [
        {"name": g.name, "columns": g.width, "numbers": ROWS * g.width, "varying": 0.9,
         "filled": float(rng.uniform(0.01, 0.9))}
        for g in GROUPS.values()
    ]  # fmt: skip
    (folder / "panel_sparsity.json").write_text(json.dumps({"groups": groups}))
    return folder


@pytest.fixture(scope="session")
def report(run_folder):
    """The page of the run folder."""
    from crystalssl.report.html import write_report

    return write_report(run_folder, umap=False).read_text(encoding="utf-8")
