"""docs/tasks.md describes every task there is, with the figures that are in the cards."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from crystalssl.blocks.registry import list_blocks
from crystalssl.hub.weights import load_cards

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tasks.md"
TASKS = [task for block in list_blocks() for task in block.tasks]
SAID = ("Hidden", "The encoder sees", "Why nothing gives it away", "To learn", "Shown by")


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "update_docs.py"))


@pytest.mark.parametrize("name", [task.name for task in TASKS])
def test_every_task_has_a_section_that_says_all_there_is_to_say(name: str, page: str) -> None:
    sections = re.split(r"^##+ ", page, flags=re.MULTILINE)
    own = [section for section in sections if f"<!-- task {name} -->" in section]
    assert len(own) == 1, f"docs/tasks.md must describe {name} once: what is hidden, and so on"
    for what in SAID:
        assert f"**{what}**: " in own[0], f"docs/tasks.md does not say of {name}: {what}"


def test_a_task_that_is_not_described_is_noticed(page: str, script: dict[str, Any]) -> None:
    assert script["missing"](page, [task.name for task in TASKS]) == []
    assert script["missing"](page, ["masked_element", "new_task"]) == ["new_task"]
    with pytest.raises(KeyError, match="no_task"):
        script["filled"]("<!-- task no_task -->\n<!-- end -->", {})


def test_the_page_agrees_with_the_registry_and_the_cards(page: str, script: dict[str, Any]) -> None:
    filled = script["filled"](page, load_cards("default"))
    assert filled == page, "run: python scripts/update_docs.py"
    for task in TASKS:
        assert task.teaches in page and task.figure in page


def test_figures_follow_the_cards(page: str, script: dict[str, Any]) -> None:
    cards = load_cards("tiny")
    filled = script["filled"](page, cards)
    assert filled != page
    for name, card in cards.items():
        assert f"| {name} | " in filled
        for figure in card.figures:
            assert f"`{figure.task}`. " in filled
            assert f"**{figure.model:.3g}**; " in filled


def test_the_tests_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:test|check)_\w+)`", page)
    files = [*(ROOT / "tests" / "blocks").glob("*.py"), ROOT / "src" / "crystalssl" / "testing.py"]
    defined = {n for f in files for n in re.findall(r"def (\w+)\(", f.read_text("utf-8"))}
    assert len(named) > 20
    assert not set(named) - defined
