"""README and docs say what works: marked Python blocks run, commands and links exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from crystalssl.cli import app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"<!-- run -->\n```python\n(.*?)```", re.DOTALL)
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


@pytest.mark.parametrize("code", python_blocks())
def test_a_marked_python_block_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "block", "exec"), {"__name__": "block"})
    assert "import" in code


@pytest.mark.parametrize("line", commands())
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
