"""Nothing of the user's is lost: foreign files, trained weights, two processes, signals, disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_file, check_folder
from crystalssl.pipeline.stages import Stages
from crystalssl.structures.table import write_table

Invoke = Callable[..., Any]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty bundled crystals as a structure table."""
    return write_table(load_bundled().take(range(0, 400, 10)), tmp_path / "few.parquet")


def test_convert_leaves_a_foreign_list_alone(table: Path, tmp_path: Path, invoke: Invoke) -> None:
    foreign = tmp_path / "skipped.csv"
    foreign.write_text("my own notes\n")
    (tmp_path / "bad.cif").write_text("")
    result = invoke("convert", table, tmp_path / "bad.cif", "-o", tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    assert foreign.read_text() == "my own notes\n"
    assert "bad.cif" in (tmp_path / "out.parquet.skipped.csv").read_text()


def test_a_foreign_file_of_the_name_of_the_list_is_not_replaced(
    table: Path, tmp_path: Path, invoke: Invoke, registered_toy: object
) -> None:
    foreign = tmp_path / "run" / "skipped.csv"
    foreign.parent.mkdir()
    foreign.write_text("my own notes\n")
    result = invoke("pretrain", table, "--block", "toy", "--out", foreign.parent)
    assert result.exit_code == 2 and "Move it away" in result.output
    assert foreign.read_text() == "my own notes\n"


def test_trained_weights_are_replaced_only_by_force(
    table: Path, tmp_path: Path, invoke: Invoke, registered_toy: object
) -> None:
    words = ["pretrain", table, "--block", "toy", "--epochs", 1, "--threads", 1]
    words += ["--out", tmp_path / "run"]
    first = invoke(*words)
    assert first.exit_code == 0, first.output
    assert "Few crystals to learn from" in first.output
    assert "to train on" in first.output and "by column 'split'" in first.output
    weights = tmp_path / "run" / "blocks" / "toy" / "weights.safetensors"
    before = weights.read_bytes()
    again = invoke(*words, "--seed", 1)
    assert again.exit_code == 2
    assert "--force" in again.output
    assert weights.read_bytes() == before
    same = invoke(*words)
    assert same.exit_code == 0, same.output
    assert weights.read_bytes() == before
    run = invoke(
        "run", table, "--pretrain", "--block", "toy", "--threads", 1, "--out", tmp_path / "run"
    )
    assert run.exit_code == 2 and "--force" in run.output
    assert weights.read_bytes() == before
    forced = invoke(*words, "--seed", 1, "--force")
    assert forced.exit_code == 0, forced.output
    assert weights.read_bytes() != before


def test_what_is_put_aside_without_a_split_column_is_said(
    tmp_path: Path, invoke: Invoke, registered_toy: object
) -> None:
    bare = load_bundled().take(range(0, 400, 10)).with_columns(None)
    table = write_table(bare, tmp_path / "bare.parquet")
    words = ["pretrain", table, "--block", "toy", "--epochs", 1, "--threads", 1]
    result = invoke(*words, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "put aside for evaluation (formulas kept together" in result.output


@pytest.mark.parametrize("command", ["convert", "ftcp", "panel", "extract"])
def test_an_output_that_is_a_folder_is_said_before_any_work(
    command: str, table: Path, tmp_path: Path, invoke: Invoke
) -> None:
    ending = ".npy" if command in ("ftcp", "panel") else ".parquet"
    taken = tmp_path / f"taken{ending}"
    taken.mkdir()
    result = invoke(command, table, "-o", taken)
    assert result.exit_code == 2 and "it is a folder" in result.output


def test_a_full_disk_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"No space left.*Free some space"):
        check_folder(tmp_path / "out")
    with pytest.raises(InputError, match="No space left"):
        check_file(tmp_path / "a.parquet", [".parquet"])
    assert not list((tmp_path / "out").iterdir())


def test_a_second_process_in_the_same_folder_is_refused_in_words(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    holder = (
        "import sys, time\nfrom crystalssl.files import exclusive\n"
        "with exclusive(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, out], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="Another crystalssl command"), exclusive(out, 0.1):
            pass
    finally:
        process.kill()
        process.communicate()
    with exclusive(out, 5):  # the lock dies with its holder
        pass


def test_sigterm_ends_a_command_with_its_code_and_words(table: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "crystalssl", "pretrain", table, "--block", "lattice"]
    words += ["--epochs", "500", "--threads", "1", "--out", tmp_path / "run"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "run" / "blocks" / "lattice" / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 120
    while not checkpoint.is_file() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert "goes on from the last finished epoch" in " ".join(told.split())
    assert checkpoint.is_file()


def test_sigterm_ends_an_evaluation_with_its_code_and_words(tmp_path: Path, invoke: Invoke) -> None:
    bundled = load_bundled()
    known = np.isfinite(bundled.column("formation_energy_per_atom").astype(float))
    table = write_table(bundled.take(np.flatnonzero(known)[:60]), tmp_path / "labelled.parquet")
    features, out = tmp_path / "features.parquet", tmp_path / "out"
    extracted = invoke("extract", table, "-w", "tiny", "--block", "2", "-o", features)
    assert extracted.exit_code == 0, extracted.output
    words = [
        sys.executable,
        "-m",
        "crystalssl",
        "evaluate",
        "few-shot",
        features,
        "-s",
        table,
        "--out",
        out,
    ]
    words += ["-t", "formation_energy_per_atom", "--fractions", "50", "--repeats", "100"]
    words += ["--no-untrained", "--threads", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list(out.rglob("*.npz")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert "the same command again does the rest" in " ".join(told.split())


def test_what_a_file_holds_is_escaped_in_the_message_of_an_error(
    tmp_path: Path, invoke: Invoke
) -> None:
    name = "evil\x1b]0;title\x07.xyz"
    result = invoke("convert", tmp_path / name, "-o", tmp_path / "out.parquet")
    assert result.exit_code == 2
    assert "evil" in result.output and "\x1b" not in result.output and "\x07" not in result.output


def test_a_stage_whose_files_were_replaced_is_done_again(tmp_path: Path) -> None:
    stages, file = Stages(tmp_path), tmp_path / "made.txt"
    calls = []

    def work(text: str) -> Callable[[], list[Path]]:
        def write() -> list[Path]:
            calls.append(text)
            file.write_text(text)
            return [file]

        return write

    assert not stages.once("one", {"a": 1}, ["input"], work("first"))
    assert stages.once("one", {"a": 1}, ["input"], work("never"))
    first = stages.outcome("one")
    file.write_text("FIRST")  # another command's, of the same size
    assert not stages.once("one", {"a": 1}, ["input"], work("first"))
    assert stages.outcome("one") == first
    assert not stages.once("one", {"a": 1}, ["other input"], work("second"))
    assert stages.outcome("one") != first
    file.unlink()
    assert not stages.once("one", {"a": 1}, ["other input"], work("second"))
    assert calls == ["first", "first", "second", "second"]


def test_a_stage_that_is_stopped_does_not_count(tmp_path: Path) -> None:
    stages = Stages(tmp_path)

    def stopped() -> list[Path]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.once("one", {}, [], stopped)
    assert stages.is_known("one")
    assert not stages.is_done("one", stages.digest("one", {}, []))
