"""Other systems: folders with spaces, letters of any script, encodings, nothing of Unix alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crystalssl.features.store import load_features
from crystalssl.pipeline import convert, extract_to
from crystalssl.structures.table import read_table
from worlds import make_crystals

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "crystalssl"
FILES = sorted(PACKAGE.rglob("*.py"))
UNIX_ALONE = {"fcntl", "resource", "pwd", "grp", "termios", "syslog"}
"""Modules that Windows lacks."""
UNIX_NAMES = {
    "os.fork", "os.getuid", "os.geteuid", "os.setsid", "os.killpg", "os.uname", "os.getloadavg",
    "os.sysconf", "os.sched_getaffinity", "os.mkfifo", "signal.SIGKILL", "signal.SIGHUP",
    "signal.SIGUSR1", "signal.alarm", "os.fchmod", "os.O_DIRECTORY",
}  # fmt: skip
"""Names that Windows or macOS lacks."""
GUARDS = ("hasattr(os", "except (AttributeError", "except AttributeError")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def text_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open a file as text."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        words = {word.arg for word in node.keywords}
        if called == "read_text" and not node.args and "encoding" not in words:
            yield node
        owner = ast.unparse(node.func).rpartition(".")[0]
        own = owner in ("files", "") or owner.endswith("archive")
        is_method = isinstance(node.func, ast.Attribute) and not own
        if called == "write_text" and is_method and "encoding" not in words:
            yield node
        modes = [
            a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        packed = owner in ("gzip", "bz2", "lzma", "tarfile", "zipfile", "os", "_opener")
        if called == "open" and not packed and "archive" not in owner and "opened" not in owner:
            binary = any("b" in mode for mode in modes if len(mode) <= 3)
            conditional = any(isinstance(a, ast.IfExp) for a in node.args)
            if not binary and not conditional and "encoding" not in words:
                yield node


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_read_and_written_as_utf_8_on_every_system(path: Path) -> None:
    found = [node.lineno for node in text_calls(ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, f"{name_of(path)} opens text without an encoding in lines {found}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_only_unix_has_is_behind_a_guard(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    tried = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try | ast.If | ast.IfExp)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in tried:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            assert not UNIX_ALONE & set(names), f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in UNIX_NAMES:
            assert any(guard in text for guard in GUARDS), f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith("/proc/"), f"{name_of(path)}:{node.lineno}"


def test_folders_and_names_of_any_script_go_through(tmp_path: Path) -> None:
    folder = tmp_path / "Kristalle für 結晶" / "a b"
    folder.mkdir(parents=True)
    crystals = make_crystals(3)
    named = crystals.with_ids(crystals.ids.astype("<U20"))
    ids = named.ids.copy()
    ids[:] = ["β-Fe", "NaCl (ü)", "酸化物 1"]
    table = folder / "tablé.parquet"
    convert(named.with_ids(ids), table)
    assert read_table(table).crystals.ids.tolist() == ids.tolist()
    extract_to(table, folder / "mérite.parquet", weights="tiny", device="cpu")
    assert load_features(folder / "mérite.parquet").ids.tolist() == ids.tolist()


def test_a_system_that_speaks_no_utf_8_writes_the_same_files(tmp_path: Path) -> None:
    source = tmp_path / "made.json"
    lattice = {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}
    sites = [{"species": [{"element": "Cs", "occu": 1}], "abc": [0, 0, 0]}]
    records = [
        {"id": "β-Überprüfung", "structure": {"lattice": lattice, "sites": sites}, "wo": "結晶"},
        {"id": "schlecht ü", "structure": {"lattice": lattice, "sites": []}, "wo": "ü"},
    ]
    source.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    code = "import sys; from crystalssl.cli import main; sys.argv[0] = 'crystalssl'; main()"
    written = []
    for number, settings in enumerate(({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "LC_ALL": "C"})):
        out = tmp_path / f"{number}.parquet"
        environment = {**os.environ, **settings, "PYTHONCOERCECLOCALE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", code, "convert", str(source), "-o", str(out)],
            env=environment, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        skipped = tmp_path / f"{number}.parquet.skipped.csv"
        written.append((out.read_bytes(), skipped.read_bytes()))
    assert written[0] == written[1]
    assert read_table(out).crystals.ids.tolist() == ["β-Überprüfung"]
    assert "schlecht ü" in written[0][1].decode("utf-8")
