"""The pipeline from Python: the same as the commands, for objects and paths, silent by default."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crystalssl
from crystalssl import pipeline
from crystalssl.cli.app import app
from crystalssl.cli.options import OPTIONS
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.structures.objects import to_pymatgen
from crystalssl.structures.table import read_table, write_table

Invoke = Callable[..., Any]


class Notes:
    """A progress that remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[str] = []

    def note(self, text: str, *, warning: bool = False) -> None:
        self.lines.append(text)

    def step(self, title: str, bars: Any = ()) -> Any:
        self.steps.append(title)
        return pipeline.SILENT.step(title, bars)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(load_bundled().take(range(6)), tmp_path / "few.parquet")


def test_convert_and_extract_do_what_the_commands_do(
    table: Path, tmp_path: Path, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals = crystalssl.convert(table, tmp_path / "python.parquet")
    assert invoke("convert", table, "-o", tmp_path / "command.parquet").exit_code == 0
    one, two = (tmp_path / f"{name}.parquet" for name in ("python", "command"))
    assert one.read_bytes() == two.read_bytes()
    assert crystals.ids.tolist() == read_table(one).crystals.ids.tolist()
    progress = Notes()
    features = crystalssl.extract(
        crystals, tmp_path / "python.npy", weights="tiny", threads=1, progress=progress
    )
    words = ("extract", table, "-w", "tiny", "--threads", 1, "-o", tmp_path / "command.npy")
    assert invoke(*words).exit_code == 0
    assert (tmp_path / "python.npy").read_bytes() == (tmp_path / "command.npy").read_bytes()
    assert any("6 canonical crystals" in line for line in progress.lines)
    assert "Features" in progress.steps
    unwritten = crystalssl.extract(to_pymatgen(crystals), weights="tiny", block="1,3", threads=1)
    assert list(unwritten.blocks) == ["composition", "sites"]
    assert len(unwritten) == len(features)
    assert capsys.readouterr().out == ""


def test_pre_training_shows_a_bar_only_to_who_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {"batch_size": 16, "monitor_crystals": 8, "tensorboard": False, "accelerator": "cpu"}
    crystals = load_bundled().take(range(40))

    def shown(progress: pipeline.Progress) -> str:
        pipeline.pretrain(
            crystals, tmp_path / type(progress).__name__, block="lattice", epochs=1, threads=1,
            settings={"training": values}, progress=progress,
        )  # fmt: skip
        return capfd.readouterr().out

    assert shown(pipeline.SILENT) == ""
    told = shown(pipeline.Screen())
    assert "best epoch 1" in told and "block: lattice" in told


def test_errors_are_those_of_the_package(tmp_path: Path, table: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        crystalssl.convert(tmp_path / "nowhere.cif")
    with pytest.raises(InputError, match="in brackets"):
        crystalssl.extract(to_pymatgen(load_bundled().take([0]))[0], weights="tiny")
    with pytest.raises(UnknownNameError, match="Did you mean 'few-shot'"):
        crystalssl.evaluate(table, table, "x", tmp_path / "out", scenario="few_shot")


def test_every_parameter_of_a_command_is_one_of_its_function() -> None:
    functions = [getattr(pipeline, name) for name in pipeline.__all__]
    known = {
        name for f in functions if inspect.isfunction(f) for name in inspect.signature(f).parameters
    }
    scenarios = {"protocol", "repeats", "fractions", "full_repeats", "heads", "residual", "folds"}
    made = {"config", "assignments", "explained", "samples", *scenarios}
    assert set(OPTIONS) <= known | made
    assert app.registered_commands


def test_public_names_have_types_and_are_there() -> None:
    stub = Path(crystalssl.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    typed = set(re.findall(r"as (\w+)", stub)) | {"__version__"}
    assert typed == set(crystalssl.__all__)
    for name in crystalssl.__all__:
        assert getattr(crystalssl, name) is not None


def test_report_can_be_called_after_the_package_of_that_name_was_imported(tmp_path: Path) -> None:
    program = (
        "import sys, crystalssl, crystalssl.report.html\n"
        "try: crystalssl.report(sys.argv[1])\n"
        "except crystalssl.CrystalSSLError as error: print(error)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert str(tmp_path) in done.stdout


def test_importing_the_package_and_its_pipeline_imports_nothing_heavy() -> None:
    program = "import sys, crystalssl; from crystalssl import pipeline; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "numpy", "pyarrow", "numba", "pandas", "sklearn", "lightning", "rich"}
    assert not heavy & set(done.stdout.split())


def test_features_are_in_the_order_of_the_objects() -> None:
    crystals = load_bundled().take([5, 2, 9])
    features = crystalssl.extract(crystals, weights="tiny", output="blocks", threads=1)
    again = crystalssl.extract(crystals.take([2, 0, 1]), weights="tiny", output="blocks", threads=1)
    assert again.ids.tolist() == [features.ids[row] for row in (2, 0, 1)]
    np.testing.assert_allclose(again.matrix, features.matrix[[2, 0, 1]], rtol=1e-4, atol=1e-4)
