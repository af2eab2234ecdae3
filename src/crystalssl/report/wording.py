"""Numbers and names -> the words of the page.

Used by every section; knows nothing of what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MINUS = "\N{MINUS SIGN}"
MODELS = {
    "ridge": "ridge",
    "ols": "least squares",
    "lightgbm": "LightGBM",
    "mlp": "MLP",
    "random_forest": "random forest",
    "mean": "mean of labels",
}
"""Models as a person would call them."""


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


def ranged(low: float | None, high: float | None) -> str:
    """The ends of an interval; empty where they are not known."""
    ends = number(low), number(high)
    return f"{ends[0]} to {ends[1]}" if all(ends) else ""


def percent(value: float, digits: int = 0) -> str:
    """A share as percentage, with a minus sign that is one."""
    return f"{100 * value:.{digits}f}".replace("-", MINUS) + " %"


def words(name: str) -> str:
    """A column or task name as words, first letter large."""
    text = name.replace("_", " ")
    if text.startswith("log10(") and text.endswith(")"):
        text = f"log10 of {text[6:-1]}"
    return text[:1].upper() + text[1:]


def model_name(name: str) -> str:
    """A model as a person would call it."""
    return MODELS.get(name, name.replace("_", " "))


def in_sentence(label: str) -> str:
    """A label inside a sentence: its first word in lower case, unless it is a name."""
    first = label.split()[0] if label.strip() else ""
    is_name = first[1:] != first[1:].lower() or first in ("Magpie",)
    return label if is_name else label[:1].lower() + label[1:]


def label_of(labels: Mapping[str, str], name: str) -> str:
    """The readable name of a feature set."""
    return labels.get(name, words(name))


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
