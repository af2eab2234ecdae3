"""The site: every page is in its navigation, links and anchors exist, errors are the real ones.

Nothing is fetched. Links are read from the Markdown, so that they hold where the repository is
read as well as in the site; what the built pages add is checked by ``make docs`` itself.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts))
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1\s*$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,3} +(.+?)\s*$", re.MULTILINE)
TARGET = re.compile(r"^\(([\w-]+)\)=$", re.MULTILINE)
TREE = re.compile(r"(?:`{3}|:{3})\{toctree\}\n(.*?)(?:`{3}|:{3})", re.DOTALL)


def text_of(path: Path) -> str:
    """Markdown of a page, or that of a notebook's cells."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@cache
def anchors(path: Path) -> frozenset[str]:
    """What a link into a page may end in: slugs of its headings, and named targets."""
    text = FENCE.sub("", text_of(path))
    found: set[str] = set(TARGET.findall(text))
    for heading in HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return frozenset(found)


def links() -> Iterator[tuple[Path, str, str, str]]:
    """Page, mark of an image, text and target of every link, code left out."""
    for path in (*PAGES, *NOTEBOOKS, ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        for mark, text, target in LINK.findall(FENCE.sub("", text_of(path))):
            yield path, mark, text, target


def test_every_internal_link_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    dead, count = [], 0
    for page, _, _, target in links():
        if re.match(r"[a-z]+:", target):
            continue
        count += 1
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            dead.append(f"{page.relative_to(ROOT)}: no file {target}")
        elif anchor and path.suffix in (".md", ".ipynb") and anchor not in anchors(path):
            dead.append(f"{page.relative_to(ROOT)}: no heading {target}")
    assert not dead, "\n".join(dead)
    assert count > 100


def test_every_picture_says_what_it_shows() -> None:
    for page, mark, text, target in links():
        if mark:
            assert len(text) >= 20, f"{page.name}: {target} needs an alternative text"


def test_every_page_is_in_the_navigation_once() -> None:
    listed = []
    for page in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for tree in TREE.findall(page.read_text(encoding="utf-8")):
            entries = [line.strip() for line in tree.splitlines() if line.strip()]
            listed += [page.parent / entry for entry in entries if not entry.startswith(":")]
    pages = {path.with_suffix("") for path in (*PAGES, *NOTEBOOKS)} - {DOCS / "index"}
    pages -= {DOCS / "search"}  # shown as search_and_choice
    assert len(listed) == len(set(listed))
    assert set(listed) == pages, "docs/index.md lists every page"


@cache
def messages() -> tuple[str, ...]:
    """Every text of the program, what is filled in as an ellipsis."""
    texts = []
    for path in (ROOT / "src" / "crystalssl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return tuple(texts)


ERRORS = re.findall(r"^> (.+)$", (DOCS / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_the_questions_page_is_one_of_the_program(error: str) -> None:
    assert any(error in text for text in messages()), f"no such text in the source: {error}"


def test_the_questions_page_explains_enough_errors() -> None:
    assert len(ERRORS) >= 15
    assert not any(error.startswith("…") and len(error) < 20 for error in ERRORS)


def test_figures_of_the_comparison_are_those_of_the_readme_or_of_an_experiment() -> None:
    pages = (ROOT / "README.md", DOCS / "experiments.csv")
    measured = "".join(page.read_text(encoding="utf-8") for page in pages)
    comparison = (DOCS / "comparison.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|(.*\d\.\d{3}.*)\|$", comparison, re.MULTILINE)
    assert len(rows) == 22
    for row in rows:
        for figure in re.findall(r"\d\.\d{3}", row):
            assert figure in measured, f"{figure} is measured nowhere"


def test_the_pictures_that_are_drawn_are_the_pictures_that_are_shown() -> None:
    drawn = set(re.findall(r'^    "(\w+)": ', (DOCS / "figures.py").read_text("utf-8"), re.M))
    shown = {
        Path(target).stem for _, mark, _, target in links() if mark and "_static/figures" in target
    }
    assert drawn == shown == {path.stem for path in (DOCS / "_static" / "figures").glob("*.svg")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_executed_and_without_traces_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/(home|root|work|tmp)/", text)
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            assert cell["execution_count"], "run: python scripts/run_notebooks.py --write"
            assert not [o for o in cell["outputs"] if o["output_type"] == "error"]
            assert not [o for o in cell["outputs"] if o.get("name") == "stderr"]
