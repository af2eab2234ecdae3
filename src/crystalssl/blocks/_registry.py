"""Which blocks there are: one module here, or one entry point elsewhere, is one block.

A module in this folder without a leading underscore defines exactly one final ``Block``; another
package adds one under the entry-point group ``crystalssl.blocks``. Command line, feature names,
conformance tests, docs and report follow from :func:`list_blocks`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

import torch

from crystalssl import blocks as _package
from crystalssl.blocks._contract import Block
from crystalssl.errors import InputError, unknown_name

_REGISTERED: list[type[Block]] = []


def _from_module(name: str) -> type[Block]:
    module = importlib.import_module(name)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Block) and value.__module__ == name
    ]
    if len(found) != 1:
        raise InputError(f"{name} must define exactly one Block class, got {len(found)}")
    return found[0]


def register_block(block: type[Block]) -> type[Block]:
    """Add a block for this process, as an entry point would; usable as a decorator.

    Raises:
        InputError: if another block has the same name or number.
    """
    for other in list_blocks():
        if other is not block and (other.name == block.name or other.number == block.number):
            raise InputError(
                f"block {block.name!r} (number {block.number}) clashes with {other.name!r} "
                f"(number {other.number}); give it a name and a number of its own"
            )
    if block not in _REGISTERED:
        _REGISTERED.append(block)
    return block


def list_blocks() -> tuple[type[Block], ...]:
    """All block classes, ordered by number."""
    found = [
        _from_module(f"{_package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(_package.__path__)
        if not info.name.startswith("_")
    ]
    found += [point.load() for point in entry_points(group="crystalssl.blocks")]
    found += [block for block in _REGISTERED if block not in found]
    return tuple(sorted(found, key=lambda block: block.number))


def get_block(name: str | int) -> type[Block]:
    """A block class by name or number.

    Raises:
        UnknownNameError: if there is no such block.
    """
    known = list_blocks()
    for block in known:
        if str(name) in (block.name, str(block.number)):
            return block
    raise unknown_name("block", str(name), [b.name for b in known], "crystalssl info blocks")


def resolve_blocks(choice: str | Iterable[str | int] = "all") -> tuple[type[Block], ...]:
    """Blocks from ``"all"``, a comma-separated string, or names and numbers.

    Args:
        choice: what the user named; order does not matter, repeats count once.

    Returns:
        The chosen block classes, ordered by number.

    Raises:
        UnknownNameError: if one of them does not exist.
    """
    if choice == "all":
        return list_blocks()
    names = choice.split(",") if isinstance(choice, str) else list(choice)
    chosen = {get_block(n.strip() if isinstance(n, str) else n) for n in names}
    return tuple(sorted(chosen, key=lambda block: block.number))


def build_block(name: str | int, config: Any = None, seed: int = 0) -> Block:
    """A freshly initialised block; the same seed gives the same weights.

    Args:
        name: block name or number.
        config: its ``Config``, a dictionary of its fields, or None for the defaults.
        seed: seed of the initial weights.

    Raises:
        UnknownNameError: for an unknown block or config field.
    """
    block = get_block(name)
    if config is None:
        config = block.Config()
    elif isinstance(config, dict):
        known = [field.name for field in fields(block.Config)]
        for key in config:
            if key not in known:
                raise unknown_name(f"config field of {block.name}", key, known, "crystalssl config")
        config = block.Config(**config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return block(config)
