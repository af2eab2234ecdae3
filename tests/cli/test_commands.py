"""What the commands write and show, on good input."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.blocks.registry import get_block, list_blocks
from crystalssl.config import PRESETS
from crystalssl.datasets.bundled import load_bundled
from crystalssl.hub.weights import load_cards
from crystalssl.representation import ftcp, layout
from crystalssl.structures.table import read_table, write_table

Invoke = Callable[..., Any]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten bundled crystals as a structure table."""
    return write_table(load_bundled().take(range(10)), tmp_path / "few.parquet")


def test_help_takes_less_than_a_second_of_work() -> None:
    program = Path(sys.executable).with_name("crystalssl")
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert "Label-free pre-training" in done.stdout
    assert min(times) < 1.0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["convert"],
        ["ftcp"],
        ["panel"],
        ["generate"],
        ["featurize-corpus"],
        ["pretrain"],
        ["extract"],
        ["evaluate", "linear-probe"],
        ["evaluate", "shap-share"],
        ["evaluate", "matbench"],
        ["evaluate", "few-shot"],
        ["evaluate", "ablation"],
        ["report"],
        ["info", "data"],
        ["config", "show"],
    ],
    ids=" ".join,
)
def test_every_command_has_help(words: list[str], invoke: Invoke) -> None:
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_version_is_printed(invoke: Invoke) -> None:
    import crystalssl

    assert invoke("--version").output.strip() == crystalssl.__version__


def test_convert_keeps_order_labels_and_splits(table: Path, tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "again.parquet"
    assert invoke("convert", table, "-o", out).exit_code == 0
    before, after = read_table(table).crystals, read_table(out).crystals
    assert after.ids.tolist() == before.ids.tolist()
    assert np.array_equal(after.lattice, before.lattice)
    for name in ("formation_energy_per_atom", "split"):
        kept, given = after.column(name), before.column(name)
        assert np.array_equal(kept, given, equal_nan=kept.dtype == float)


def test_ftcp_writes_the_array_and_the_ids_of_its_rows(
    table: Path, tmp_path: Path, invoke: Invoke
) -> None:
    out = tmp_path / "raw.npy"
    assert invoke("ftcp", table, "-o", out).exit_code == 0
    crystals = read_table(table).crystals
    expected = ftcp.encode(crystals)
    stored = ftcp.load_array(out)
    assert np.array_equal(stored.array, expected.array)
    assert stored.ids.tolist() == crystals.ids[expected.kept].tolist()


def test_panel_writes_one_panel_a_crystal(table: Path, tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "panel.npy"
    assert invoke("panel", table, "-o", out).exit_code == 0
    array = np.load(out, allow_pickle=False)
    assert array.shape == (10, layout.ROWS, layout.COLUMNS)
    assert (tmp_path / "panel_ids.txt").read_text().split() == read_table(
        table
    ).crystals.ids.tolist()


def test_info_tasks_lists_every_task_of_every_block(invoke: Invoke) -> None:
    output = invoke("info", "tasks").output.replace("\n", "")
    names = [task.name for block in list_blocks() for task in block.tasks]
    assert all(name[:15] in output for name in names)


def test_info_blocks_lists_every_block_and_the_sum_of_features(invoke: Invoke) -> None:
    output = invoke("info", "blocks").output
    assert all(block.name in output for block in list_blocks())
    assert "2,304 features in all" in output


def test_info_panel_shows_every_group_with_its_width(table: Path, invoke: Invoke) -> None:
    output = invoke("info", "panel", table).output
    for name, group in layout.GROUPS.items():
        assert name in output
        assert str(group.width * layout.ROWS) in output


def test_info_data_describes_labels_with_units(invoke: Invoke) -> None:
    output = invoke("info", "data").output
    assert "6,281 crystals" in output
    assert "eV/atom" in output
    assert "train (4,422)" in output


def test_info_machine_names_the_versions(invoke: Invoke) -> None:
    output = invoke("info", "machine").output
    assert "torch" in output
    assert "memory" in output


def test_info_weights_says_what_is_bundled(invoke: Invoke) -> None:
    assert "Bundled weights" in invoke("info", "weights").output


def test_info_weights_shows_how_much_of_what_it_can_each_block_uses(invoke: Invoke) -> None:
    output = invoke("info", "weights", "tiny").output
    card = load_cards("tiny")["lattice"]
    shown = next(line for line in output.splitlines() if "crystal_system" in line).split()
    assert shown[-2:] == [str(card.data[key]) for key in ("train_crystals", "val_crystals")]
    assert "at most" in output and "at least 0.3" in output
    for name, card in load_cards("tiny").items():
        rank, width = card.training["effective_rank"], get_block(name).width
        most = min(width, card.data["val_crystals"] - 1)  # 142 crystals cannot span 512 features
        shown = [line for line in output.splitlines() if name in line and f" {width} " in line]
        assert f" {rank:.0f} " in shown[0] and f" {rank / most:.2f} " in shown[0]
        assert f" {most} " in shown[0]
        assert (" yes " in shown[0]) == (rank / most >= 0.3)
    assert "Output 'bottleneck': 64 features" in output


@pytest.mark.parametrize("preset", list(PRESETS))
def test_config_show_lists_every_setting_with_its_meaning(preset: str, invoke: Invoke) -> None:
    output = invoke("config", "show", "--preset", preset, "--block", "1").output
    assert "learning_rate" in output
    assert "Highest learning rate" in output
    assert list_blocks()[0].name in output
