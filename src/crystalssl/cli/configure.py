"""``crystalssl config``: every setting with its value and meaning, read from the dataclasses.

Defaults are written once, beside the code that uses them; this only shows them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import fields
from typing import Any

import typer

from crystalssl.cli.console import grid
from crystalssl.cli.options import BlockChoice, Preset

app = typer.Typer(help="Settings: presets and block configurations.")


@app.callback()
def settings() -> None:
    """Keep ``config`` a group, so that ``config show`` is spelled out."""


@app.command()
def show(preset: Preset = "quick", block: BlockChoice = "all") -> None:
    """Show the settings of a preset and of the blocks, with what they mean."""
    from crystalssl.blocks.registry import resolve_blocks
    from crystalssl.config import get_preset

    chosen = get_preset(preset)
    show_config(f"Training, preset {preset}", chosen)
    for entry in resolve_blocks(block):
        show_config(f"Block {entry.number}, {entry.name}", entry.Config())


def show_config(title: str, config: Any) -> None:
    """Print one configuration: field, value, meaning."""
    meanings = field_docs(type(config))
    rows = [
        [field.name, str(getattr(config, field.name)), meanings.get(field.name, "")]
        for field in fields(config)
    ]
    grid(title, ["setting", "value", "meaning"], rows)


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, from its source."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        if not isinstance(body, ast.ClassDef):
            continue
        for entry, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(entry, ast.AnnAssign)
                and isinstance(entry.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[entry.target.id] = " ".join(str(below.value.value).split())
    return found
