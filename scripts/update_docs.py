"""Held-out figures of the default weights, from their cards into docs/tasks.md.

    python scripts/update_docs.py

Fills what stands between ``<!-- task NAME -->`` or ``<!-- health -->`` and ``<!-- end -->``, and
leaves the rest of the page alone. Run it after training; a test compares page and cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from crystalssl.blocks.contract import TaskInfo
from crystalssl.blocks.registry import get_block, list_blocks
from crystalssl.cli.info import LEAST_RANK
from crystalssl.hub.card import ModelCard, TaskFigure
from crystalssl.hub.weights import load_cards

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tasks.md"
SLOT = re.compile(r"<!-- (task (?P<task>\S+)|health) -->\n.*?<!-- end -->", re.DOTALL)


def tasks() -> list[TaskInfo]:
    """Every task of every block that comes with the package."""
    return [task for block in list_blocks() for task in block.tasks]


def missing(text: str, names: Iterable[str]) -> list[str]:
    """Names of tasks that the page has no slot for."""
    found = [match["task"] for match in SLOT.finditer(text)]
    return [name for name in names if name not in found]


def filled(text: str, cards: Mapping[str, ModelCard]) -> str:
    """The page with every slot filled.

    Raises:
        KeyError: if it has a slot for a task that does not exist.
    """
    known = {task.name: task for task in tasks()}

    def fill(match: re.Match[str]) -> str:
        head = match[0].splitlines()[0]
        name = match["task"]
        body = health(cards) if name is None else described(known[name], cards)
        return f"{head}\n{body}\n<!-- end -->"

    return SLOT.sub(fill, text)


def described(task: TaskInfo, cards: Mapping[str, ModelCard]) -> str:
    """What the registry says of a task, and its figure in the cards."""
    better = "higher" if task.higher_is_better else "lower"
    number = "Further objective" if task.number is None else f"Task {task.number}"
    lines = [
        f"- `{task.name}`. {number}: {task.teaches}",
        f"- Scored by {task.figure}, {better} is better; trivial answer: {task.trivial}.",
    ]
    for card in cards.values():
        for figure in card.figures:
            if figure.task == task.name:
                return "\n".join([*lines, f"- {measured(figure, card)}"])
    return "\n".join([*lines, "- No figure: the default weights were trained without it."])


def measured(figure: TaskFigure, card: ModelCard) -> str:
    """The figure of a task beside all its baselines, in words."""
    others = ", ".join(f"{key} {shown(value)}" for key, value in figure.baselines.items())
    crystals = card.data.get("val_crystals", 0)
    return f"Default weights, {crystals:,} held-out crystals: **{shown(figure.model)}**; {others}."


def health(cards: Mapping[str, ModelCard]) -> str:
    """Effective rank and dead features of every block, as a table."""
    lines = [
        "| block | width | effective rank | of width | bar | dead features |",
        "|---" * 6 + "|",
    ]
    for name, card in cards.items():
        width, rank = get_block(name).width, card.training.get("effective_rank")
        share = None if rank is None else rank / width
        bar = "not recorded" if share is None else "met" if share >= LEAST_RANK else "missed"
        dead = card.training.get("dead_features")
        cells = [name, str(width), shown(rank), shown(share), bar, shown(dead)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    """Three digits, or that there is none."""
    return "not recorded" if value is None else f"{value:.3g}"


def main() -> None:
    """Fill the page and say what it lacks."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(text, load_cards("default")), encoding="utf-8")
    absent = missing(text, [task.name for task in tasks()])
    if absent:
        raise SystemExit(f"{PAGE} does not describe {', '.join(absent)}")
    print(PAGE)


if __name__ == "__main__":
    main()
