"""README and docs say what works: marked Python blocks run, commands and links exist."""

from __future__ import annotations

import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crystalssl.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    *sorted({*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")}),
]
MARKED = re.compile(r"<!-- run -->\n```python\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"(?:<!-- ([^>\n]*) -->\n)?```python\n(.*?)```", re.DOTALL)
QUOTED = re.compile(r"<!-- from (\S+) -->\n```python\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")


def python_blocks() -> Iterator[object]:
    for page in PAGES:
        for number, code in enumerate(MARKED.findall(page.read_text(encoding="utf-8"))):
            yield pytest.param(code, id=f"{page.name}-{number}")


def commands() -> Iterator[object]:
    for page in PAGES:
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("crystalssl "):
                    yield pytest.param(line, id=f"{page.name}-{line[:60]}")


@pytest.mark.parametrize("code", list(python_blocks()))
def test_a_marked_python_block_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("code_block")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "code_block", "exec"), module.__dict__)
    assert "import" in code


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_in_the_docs_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    depth = 2 if words[0] in ("evaluate", "info", "config") else 1
    result = CliRunner().invoke(app, [*words[:depth], "--help"], env={"COLUMNS": "200"})
    if words[0].startswith("-"):
        return
    assert result.exit_code == 0, result.output
    for word in words:
        if word.startswith("--"):
            assert word in result.output, f"{line}: no option {word}"


def test_every_python_block_is_run_quoted_or_a_fragment_of_one_that_is() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        run = "\n".join(code for mark, code in PYTHON.findall(text) if mark in ("run", "job"))
        for mark, code in PYTHON.findall(text):
            if mark in ("run", "job") or mark.startswith("from "):
                continue
            new = [line for line in code.splitlines() if line.strip() not in run]
            assert len(new) <= 3, f"{page.name}: mark this block with <!-- run -->:\n{code}"


def test_quoted_lines_are_the_real_ones() -> None:
    quotes = [quote for page in PAGES for quote in QUOTED.findall(page.read_text("utf-8"))]
    assert quotes
    for path, code in quotes:
        assert code in (ROOT / path).read_text(encoding="utf-8"), f"{path} reads otherwise now"


def test_the_example_block_passes_the_conformance_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.structures.canonical import canonicalize
    from crystalssl.testing import CHECKS

    monkeypatch.chdir(tmp_path)
    code = MARKED.findall((ROOT / "docs" / "add_a_block.md").read_text(encoding="utf-8"))[0]
    module = types.ModuleType("example_block")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "example_block", "exec"), module.__dict__)
    corpus = Corpus.from_crystals(canonicalize(load_bundled().take(range(0, 600, 50))))
    for check in CHECKS:
        check(module.VolumeBlock, corpus)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
