"""Text such as ``band_gap > 1 and nsites < 20`` -> a condition on the columns of a table.

Python's parser reads the text and nothing of it is ever run: comparisons, ``and``, ``or``, ``not``,
``in``, names of columns, numbers and quoted texts become an Arrow expression, all else is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crystalssl.errors import InputError, unknown_name

LONGEST = 2_000
"""Characters of a condition."""
_QUOTED = re.compile(r"`([^`]+)`")
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def parse_condition(text: str, columns: Sequence[str]) -> tuple[pc.Expression, list[str]]:
    """A condition as an Arrow expression, and the columns that it names.

    Args:
        text: for instance ``band_gap > 1 and split == 'train'``; names with blanks or signs in
            them stand between backticks.
        columns: columns that there are.

    Raises:
        InputError: if the text is no condition.
        UnknownNameError: if there is no such column.

    Example:
        >>> parse_condition("band_gap > 1", ["band_gap"])[1]
        ['band_gap']
    """
    if len(text) > LONGEST:
        raise InputError(f"Got a condition of {len(text):,} characters, at most {LONGEST:,}.")
    quoted: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        quoted.append(match.group(1))
        return f"_column_{len(quoted) - 1}_"

    try:
        tree = ast.parse(_QUOTED.sub(replaced, text.strip()), mode="eval").body
        reader = _Reader(columns, quoted)
        expression = reader.condition(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text) from error
    return expression, list(dict.fromkeys(reader.named))


def _refused(text: str) -> InputError:
    return InputError(
        f"Cannot read the condition {text!r}. Compare columns with numbers or quoted texts, for "
        "instance: band_gap > 1 and not split == 'test', or: nsites in [2, 4]."
    )


class _Reader:
    """Nodes of a parsed text to Arrow; ``ValueError`` for anything that is not listed here."""

    def __init__(self, columns: Sequence[str], quoted: Sequence[str]) -> None:
        self.columns, self.quoted = columns, quoted
        self.named: list[str] = []

    def condition(self, node: ast.AST) -> Any:
        if isinstance(node, ast.BoolOp):
            first, *others = [self.condition(value) for value in node.values]
            for other in others:
                first = first & other if isinstance(node.op, ast.And) else first | other
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
            first, *others = [self.comparison(*pair) for pair in pairs]
            for other in others:  # 1 < x < 2 is 1 < x and x < 2
                first = first & other
            return first
        if isinstance(node, ast.Name):
            return self.column(node)  # a column of truth values
        raise ValueError(ast.dump(node)[:80])

    def comparison(self, operator: ast.cmpop, left: ast.AST, right: ast.AST) -> Any:
        if isinstance(operator, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise ValueError("expected a list")
            values = [ast.literal_eval(item) for item in right.elts]
            inside = self.column(left).isin(pa.array(values))
            return inside if isinstance(operator, ast.In) else ~inside
        if isinstance(operator, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise ValueError("expected None")
            missing = self.column(left).is_null()
            return missing if isinstance(operator, ast.Is) else ~missing
        if not any(isinstance(side, ast.Name) for side in (left, right)):
            raise ValueError("no column")
        return _COMPARED[type(operator)](self.value(left), self.value(right))

    def value(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            return self.column(node)
        value = ast.literal_eval(node)  # numbers, also negative ones, and texts
        if not isinstance(value, int | float | str):
            raise ValueError(f"{value!r}")
        return pc.scalar(value)

    def column(self, node: ast.AST) -> Any:
        if not isinstance(node, ast.Name):
            raise ValueError("no column")
        name = node.id
        if match := re.fullmatch(r"_column_(\d+)_", name):
            name = self.quoted[int(match.group(1))]
        if name not in self.columns:
            raise unknown_name("column", name, self.columns, "crystalssl info data")
        self.named.append(name)
        return pc.field(name)
