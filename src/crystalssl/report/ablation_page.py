"""Ablation -> its section: each block alone, trained and untrained, and each left out."""

from __future__ import annotations

from crystalssl.evaluation.ablation import Ablation
from crystalssl.evaluation.block_fits import ALL, ONLY, WITHOUT
from crystalssl.report.ablation_view import View, colour_of_block, views_of
from crystalssl.report.intervals import Mark, dots
from crystalssl.report.page import Check, Drawing, Part, Row, Section, Table, judged, mark_best
from crystalssl.report.summary_rows import cell_of, mark_of
from crystalssl.report.wording import (
    in_sentence,
    label_of,
    listed,
    model_name,
    number,
    signed,
    with_unit,
    words,
)


def ablation_section(found: Ablation) -> Section:
    """The section of the ablation."""
    views = views_of(found)
    return Section(
        anchor="ablation",
        title="Ablation",
        finding=" ".join(_headline(view) for view in views),
        question="What is each block worth, alone and beside the others?",
        protocol=f"{found.table.record.protocol} The same linear models as in the linear probe, on "
        "all blocks, on each alone, and on all but one.",
        checks=tuple(check for view in views for check in _checks(view, len(views) > 1)),
        parts=tuple(part for view in views for part in _parts(view)),
    )


def _headline(view: View) -> str:
    alone = {b: e for b in view.blocks if (e := view.get(view.sources[0], f"{ONLY} {b}"))}
    losses = {b: e for b in view.blocks if (e := view.loss(b))}
    whole = view.get(view.sources[0], ALL)
    if not alone or not losses or whole is None:
        return ""
    best = min(alone, key=lambda b: alone[b].mean)
    most = max(losses, key=lambda b: losses[b].mean)
    unit = f" {view.unit}" if view.unit else ""
    return (
        f"{words(view.name)}: all blocks together have an RMSE of {number(whole.mean)}{unit}; the "
        f"best alone is {words(best).lower()} ({number(alone[best].mean)}), and the one missed "
        f"most is {words(most).lower()} ({signed(losses[most].mean)} without it)."
    )


def _checks(view: View, several: bool) -> list[Check]:
    """Blocks that training did not improve, and blocks that nothing misses."""
    where = f"{words(view.name)}: " if several else ""
    found = []
    gains = {block: entry for block in view.blocks for entry in view.gains(block)[:1]}
    if gains:
        found.append(
            _verdict(
                f"{where}a trained block alone does no better than the same block untrained",
                {block: (-e.mean, -e.high, -e.low) for block, e in gains.items()},
                "lower",
            )
        )
    losses = {block: entry for block in view.blocks if (entry := view.loss(block))}
    if losses:
        found.append(
            _verdict(
                f"{where}a block can be left out and nothing gets worse",
                {block: (e.mean, e.low, e.high) for block, e in losses.items()},
                "higher",
            )
        )
    return found


def _verdict(
    failure: str, margins: dict[str, tuple[float, float | None, float | None]], way: str
) -> Check:
    """The worst of several margins that should all be positive, with the names of the losers."""
    judgements = {name: judged(*margin) for name, margin in margins.items()}
    groups = {
        outcome: [words(name).lower() for name, own in judgements.items() if own == outcome]
        for outcome in ("held", "open", "failed")
    }
    said = {"held": "better", "open": "not told apart", "failed": "not better"}
    detail = "; ".join(f"{said[o]}: {listed(names)}" for o, names in groups.items() if names)
    least = min(margins, key=lambda name: margins[name][0])
    worst = "failed" if groups["failed"] else "open" if groups["open"] else "held"
    return Check(
        failure=failure,
        outcome=worst,  # type: ignore[arg-type]  # one of three words
        detail=f"{detail[:1].upper()}{detail[1:]}. Least: {words(least).lower()}, "
        f"{_changed(margins[least][0], way)}.",
    )


def _changed(margin: float, way: str) -> str:
    """By how much the error is lower or higher; a margin below zero is a change the other way."""
    amount = number(abs(margin))
    if amount == number(0.0):
        return "whose error hardly differs"
    other = {"lower": "higher", "higher": "lower"}[way]
    return f"whose error is {way if margin > 0 else other} by {amount}"


def _parts(view: View) -> list[Part]:
    title = words(view.name)
    key = [
        (in_sentence(label_of(view.labels, f"{s}: {ALL}").removesuffix(f", {ALL}")), "ink", not i)
        for i, s in enumerate(view.sources)
    ]
    alone = [
        (
            "all blocks" if selection == ALL else words(selection.removeprefix(f"{ONLY} ")),
            _marks(view, selection),
        )
        for selection in (ALL, *(f"{ONLY} {block}" for block in view.blocks))
    ]
    losses = [
        (words(b), [mark_of(e, colour_of_block(b), sign=True)])
        for b in view.blocks
        if (e := view.loss(b))
    ]
    drawings = [
        Drawing(
            svg=dots(
                alone,
                with_unit("RMSE", view.unit),
                f"Error of each block alone, {view.name}",
                key=key,
            ),
            title="Each block alone",
            caption="Further left is better.",
        ),
        Drawing(
            svg=dots(
                losses,
                with_unit("change of RMSE", view.unit),
                f"Error when a block is left out, {view.name}",
                reference=0.0,
            ),
            title="Each block left out",
            caption="Further right, the block is missed more.",
        ),
    ]
    return [
        Part(title=title, drawings=tuple(drawings), note="Ridge; lines are 95 % intervals."),
        Part(title=f"{title}, all numbers", tables=(_table(view),), folded=True),
    ]


def _marks(view: View, selection: str) -> list[Mark]:
    colour = "ink" if selection == ALL else colour_of_block(selection.removeprefix(f"{ONLY} "))
    found = [view.get(source, selection) for source in view.sources]
    return [mark_of(e, colour, filled=not place) for place, e in enumerate(found) if e is not None]


def _table(view: View) -> Table:
    """RMSE of every selection, both models, and the differences under ridge."""
    selections = [ALL, *(f"{kind} {b}" for kind in (ONLY, WITHOUT) for b in view.blocks)]
    columns = [(source, model) for source in view.sources for model in ("ridge", "ols")]
    rows, values = [], []
    for selection in selections:
        found = [view.get(source, selection, model=model) for source, model in columns]
        against = [
            view.get(view.sources[0], selection, f"{other}: {selection}")
            for other in view.sources[1:]
        ]
        whole = view.get(view.sources[0], selection, f"{view.sources[0]}: {ALL}")
        cells = [
            *map(cell_of, found),
            *(cell_of(e, sign=True) for e in (*against, whole)),
        ]
        rows.append(Row(label=selection.replace("_", " "), cells=tuple(cells)))
        values.append([None if e is None else e.mean for e in found])
    for column in range(len(columns)):
        rows = mark_best(rows, column, [own[column] for own in values])
    names = [label_of(view.labels, f"{s}: {ALL}").removesuffix(f", {ALL}") for s in view.sources]
    return Table(
        title=f"{with_unit('RMSE', view.unit)} of every selection",
        heads=(
            "Blocks",
            *(model_name(model) for _, model in columns),
            *(f"less {in_sentence(name)}" for name in names[1:]),
            "less all blocks",
        ),
        groups=(("", 1), *((name, 2) for name in names), ("Differences, ridge", len(names))),
        rows=tuple(rows),
    )
