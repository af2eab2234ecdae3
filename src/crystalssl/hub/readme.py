"""Cards of a run to the README of its repository: YAML that hubs read, and a page for people.

Everything in it comes from the cards; nothing is written by hand, so it cannot say more than they
do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from crystalssl.hub.card import ModelCard, TaskFigure

LIBRARY = "crystalssl"
TAGS = ("materials-science", "crystal-structure", "self-supervised-learning", "featurizer")
"""Words under which hubs list it."""
PLACE = "ORGANISATION/NAME"
"""What stands for the repository in a README that has none yet."""


def readme(cards: Mapping[str, ModelCard], outputs: Sequence[str], place: str = PLACE) -> str:
    """The README of a run.

    Args:
        cards: card of each block.
        outputs: names of its bottlenecks.
        place: repository, of the form ``organisation/name``.
    """
    licences = sorted({card.licence for card in cards.values()})
    front = {
        "library_name": LIBRARY,
        "license": licences[0].lower() if len(licences) == 1 else "other",
        "tags": list(TAGS),
        "pipeline_tag": "feature-extraction",
    }
    lines = ["---", *(f"{key}: {_yaml(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {place.rpartition('/')[2]}", "", *_introduction(cards, outputs, place)]
    lines += ["## What they were trained on", "", *_data(cards)]
    lines += ["## Pretext tasks on held-out crystals", "", *_figures(cards)]
    lines += ["## Licence", "", f"{', '.join(licences)}. No file in here is a pickle.", ""]
    return "\n".join(lines)


def _introduction(cards: Mapping[str, ModelCard], outputs: Sequence[str], place: str) -> list[str]:
    blocks = ", ".join(cards)
    mixed = f" Bottleneck outputs: {', '.join(outputs)}." if outputs else ""
    return [
        f"Weights of [{LIBRARY}](https://pypi.org/project/{LIBRARY}/): features of crystals, "
        f"learned without property labels. Blocks: {blocks}.{mixed}",
        "",
        "```python",
        "from crystalssl import CrystalFeaturizer",
        "",
        f'featurizer = CrystalFeaturizer.from_pretrained("hf://{place}")',
        "features = featurizer.transform(structures)  # pymatgen, ASE, or paths",
        "```",
        "",
    ]


def _data(cards: Mapping[str, ModelCard]) -> list[str]:
    rows = []
    for name, card in cards.items():
        sources = card.data.get("sources")
        files = ", ".join(map(str, sources)) if isinstance(sources, list) else ""
        seen = card.data.get("seen")
        formulas = seen.get("formulas") if isinstance(seen, Mapping) else None
        counts = [_count(card.data.get(key)) for key in ("train_crystals", "val_crystals")]
        rows.append([name, *counts, _count(formulas), files, card.package_version])
    heads = ["block", "crystals", "held out", "formulas seen", "sources", "crystalssl"]
    return _table(heads, rows)


def _figures(cards: Mapping[str, ModelCard]) -> list[str]:
    rows = [_figure(figure) for card in cards.values() for figure in card.figures]
    heads = ["block", "task", "figure", "value", "baseline", "which", "better than it"]
    return _table(heads, rows) if rows else ["None were stored.", ""]


def _figure(figure: TaskFigure) -> list[str]:
    trivial = figure.baselines.get(figure.trivial)
    values = ["" if value is None else f"{value:.4g}" for value in (figure.model, trivial)]
    verdict = "yes" if figure.beats_trivial else "no"
    return [figure.block, figure.task, figure.figure, *values, figure.trivial, verdict]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown; what a cell says cannot end it."""
    clean = [[str(cell).replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads), *map(" | ".join, clean)]
    return [*(f"| {line} |" for line in lines), ""]


def _yaml(value: Any) -> str:
    """A value as YAML, of which JSON is a part."""
    return json.dumps(value, ensure_ascii=False)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
