"""The records a page is built of, and the words that numbers and names become on it.

A section module turns stored results into a :class:`Section` of plain texts, drawings and tables;
``html.py`` hands it to the template. Nothing is computed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from configparser import ConfigParser
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

Outcome = Literal["held", "open", "failed"]
"""Of a claim: it holds with its 95 % interval; it cannot be told apart from chance; it fails."""
OUTCOMES = {"held": "holds", "open": "is uncertain", "failed": "fails"}
"""Outcomes as words."""
TEMPLATES = Path(__file__).parent / "templates"
"""Folder of the templates of the page, its style sheet and its explanations."""
MINUS = "\N{MINUS SIGN}"
Facts = tuple[str, tuple[tuple[str, str], ...]]
"""Heading, which may be empty, and names with their values."""
HEADS = {
    "ols": "least squares", "lightgbm": "LightGBM", "mlp": "MLP", "mean": "mean of labels",
}  # fmt: skip
"""Heads as the field calls them; others by their own name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A claim that could have failed, and what came out.

    Attributes:
        claim: what the features have to do.
        outcome: whether it holds.
        evidence: the numbers behind the outcome.
    """

    claim: str
    outcome: Outcome
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure with its words.

    Attributes:
        svg: inline SVG, with its text alternative inside.
        title: what is shown, above it; may be empty.
        caption: how to read it, below it; may be empty.
        small: second line of the title; may be empty.
    """

    svg: str
    title: str = ""
    caption: str = ""
    small: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: the number, as a person would write it.
        aside: its interval, smaller.
        best: whether it is the best of its column.
        outcome: whether a difference is significantly better, uncertain or worse; None where that
            is not asked.
        prose: whether it holds words, which are aligned left.
    """

    text: str = ""
    aside: str = ""
    best: bool = False
    outcome: Outcome | None = None
    prose: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One row of a table.

    Attributes:
        label: what the row is about.
        cells: its cells.
        proposed: whether it is about the features that are compared with all others.
        aside: a remark below the label, smaller.
        link: page that the label leads to; may be empty.
    """

    label: str
    cells: tuple[TableCell, ...]
    proposed: bool = False
    aside: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with one or two rows of headings.

    Attributes:
        heads: heading of every column, that of the row labels first.
        rows: the rows.
        groups: headings above some columns with the number of columns they span, from the left;
            empty texts leave a gap.
        title: what it shows; may be empty.
    """

    heads: tuple[str, ...]
    rows: tuple[TableRow, ...]
    groups: tuple[tuple[str, int], ...] = ()
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A stretch of a section.

    Attributes:
        title: heading; may be empty.
        words: what is shown; may be empty.
        drawings: figures; one stands alone, several stand side by side.
        tables: tables, below the figures.
        notes: remarks at the end.
        facts: groups of names with their values.
        code: settings as text; may be empty.
        folded: whether it is closed until the reader opens it.
        block: position in the registry of the block it is about, which gives its colour, or None.
    """

    title: str = ""
    words: str = ""
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[Facts, ...] = ()
    code: str = ""
    folded: bool = False
    block: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of the page; that of a scenario also stands in the summary at the top.

    Attributes:
        anchor: id of the section.
        title: heading.
        finding: what came out, a sentence or two; empty for a section that is not in the summary.
        detail: how the features compare with baselines; may be empty.
        question: what is asked; may be empty.
        failure: what would count as failure; may be empty.
        protocol: what was compared, as the evaluation recorded it; may be empty.
        checks: claims that could have failed, and what came out.
        passages: figures and tables.
    """

    anchor: str
    title: str
    finding: str = ""
    detail: str = ""
    question: str = ""
    failure: str = ""
    protocol: str = ""
    checks: tuple[Check, ...] = ()
    passages: tuple[Passage, ...] = ()

    def tally(self) -> str:
        """How many of the claims fail, in words."""
        whole = counted(len(self.checks), "claim")
        if len(self.checks) == 1:
            return f"the claim {OUTCOMES[self.outcome()]}"
        failed, unsure = (sum(c.outcome == o for c in self.checks) for o in ("failed", "open"))
        text = f"{failed or 'none'} of {whole} {'fail' if failed > 1 else 'fails'}"
        return f"{text}; {unsure} uncertain" if unsure else text

    def outcome(self) -> Outcome:
        """The worst outcome of the checks."""
        return worst([check.outcome for check in self.checks])


@lru_cache
def explained(name: str) -> str:
    """The explanation of a figure or table, from ``templates/texts.ini``."""
    texts = ConfigParser(interpolation=None)
    texts.read_string((TEMPLATES / "texts.ini").read_text(encoding="utf-8"))
    return texts["texts"][name].replace("\n", " ")


def plain_row(label: str, *texts: str) -> TableRow:
    """A row of plain texts."""
    return TableRow(label=label, cells=tuple(TableCell(text=text) for text in texts))


def judged(gain: float, low: float, high: float) -> Outcome:
    """Outcome of a gain that should be positive, from its 95 % interval; NaN: not known."""
    if low > 0:
        return "held"
    return "failed" if high < 0 or (not high > 0 and gain <= 0) else "open"


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The worst of several outcomes; without any it is uncertain."""
    return next((o for o in ("failed", "open", "held") if o in outcomes), "open")


def mark_best(rows: Sequence[TableRow], column: int, values: Sequence[float]) -> list[TableRow]:
    """The same rows with the smallest value of a column marked.

    Args:
        rows: rows of a table.
        column: cell to mark.
        values: number of each row, NaN where there is none; negate where higher is better.
    """
    known = [value for value in values if value == value]
    least = min(known, default=0.0)
    marked = list(rows)
    for index, value in enumerate(values):
        if len(known) > 1 and value <= least:
            cells = list(rows[index].cells)
            cells[column] = replace(cells[column], best=True)
            marked[index] = replace(rows[index], cells=tuple(cells))
    return marked


def number(value: float | None) -> str:
    """A number as a person would write it; empty where there is none."""
    if value is None or value != value:
        return ""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")


def signed(value: float | None) -> str:
    """A difference with its sign; none where it is rounded to zero."""
    text = number(value)
    return text if not text or text.startswith(MINUS) or text == number(0.0) else f"+{text}"


def aside(low: float | None, high: float | None) -> str:
    """The ends of an interval in parentheses; empty where they are not known."""
    ends = number(low), number(high)
    return f"({ends[0]} to {ends[1]})" if all(ends) else ""


def percent(value: float, digits: int = 0) -> str:
    """A fraction as percentage, with a minus sign that is one."""
    return f"{100 * value:.{digits}f}".replace("-", MINUS) + " %"


TERMS = {"few_shot": "Few-shot", "shap_share": "SHAP share"}
"""Names of the field that are not their letters with blanks."""


def words(name: str) -> str:
    """A column or task name as words, first letter large."""
    if name in TERMS:
        return TERMS[name]
    text = name.replace("_", " ")
    if text.startswith("log10(") and text.endswith(")"):
        text = f"log10 of {text[6:-1]}"
    return text[:1].upper() + text[1:]


def without_unit(name: str) -> str:
    """A label column without a unit in brackets at its end: ``log10(K (GPa))`` is ``log10(K)``."""
    text = name.strip()
    is_log = text.startswith("log10(") and text.endswith(")")
    inner = text[6:-1] if is_log else text
    inner = re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", inner) or inner
    return f"log10({inner})" if is_log else inner


def significant(value: float) -> str:
    """A number with four significant digits, whatever its size; empty where there is none."""
    if value != value:
        return ""
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"
    return text.replace("-", MINUS)


def head_name(name: str) -> str:
    """A head as the field calls it."""
    return HEADS.get(name, name.replace("_", " "))


def in_sentence(label: str) -> str:
    """A label inside a sentence: its first word in lower case, unless it is a name."""
    first = label.split()[0] if label.strip() else ""
    is_name = first[1:] != first[1:].lower() or first in ("Magpie",)
    return label if is_name else label[:1].lower() + label[1:]


def label_of(labels: Mapping[str, str], name: str) -> str:
    """The readable name of a feature set."""
    return labels.get(name, words(name))


def joined(sentences: Iterable[str]) -> str:
    """Sentences after one another, without empty ones."""
    return " ".join(filter(None, sentences))


def listed(names: Sequence[str]) -> str:
    """Names with commas and an 'and'."""
    if not names:
        return ""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def with_unit(text: str, unit: str) -> str:
    """A label with its unit in parentheses, where it has one."""
    return f"{text} ({unit})" if unit and unit != "1" else text


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
