"""Which blocks there are: one module here, or one entry point elsewhere, is one block.

A module in this folder without a leading underscore, beside this one and ``contract.py``, defines
exactly one final ``Block``; another package adds one, or puts one in the place of ours, under the
entry-point group ``crystalssl.blocks``. Command line, feature names, conformance tests, docs and
report follow from :func:`list_blocks`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from crystalssl import blocks as _package
from crystalssl.blocks.contract import Block
from crystalssl.errors import InputError, unknown_name

GROUP = "crystalssl.blocks"
"""Entry points under which other packages add blocks."""
NOT_BLOCKS = ("contract", "registry")
"""Public modules of this folder that define no block."""
_REGISTERED: list[type[Block]] = []


def _from_module(name: str) -> type[Block]:
    module = importlib.import_module(name)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Block) and value.__module__ == name
    ]
    if len(classes) != 1:
        raise InputError(f"{name} must define exactly one Block class, got {len(classes)}")
    return classes[0]


def register_block(block: type[Block]) -> type[Block]:
    """Add a block for this process, as an entry point would; usable as a decorator.

    Raises:
        InputError: if it clashes with another block (:func:`known_blocks`).
    """
    if block not in _REGISTERED:
        _in_order([*_all_blocks(), block])
        _REGISTERED.append(block)
    return block


def list_blocks() -> tuple[type[Block], ...]:
    """All block classes in use, ordered by number; those that others replace are left out.

    Raises:
        InputError: as :func:`known_blocks`.
    """
    known = known_blocks()
    replaced = {block.replaces for block in known}
    return tuple(block for block in known if block.name not in replaced)


def known_blocks() -> tuple[type[Block], ...]:
    """All block classes, ordered by number, those that others replace among them.

    A replaced block is still there for weights that were trained with it, and for who names it.

    Raises:
        InputError: if an entry point cannot be loaded or is no block, if two blocks have the same
            name, if two blocks in use have the same number, or if two replace the same block.
        UnknownNameError: if one replaces a block that does not exist.
    """
    return _in_order(_all_blocks())


def _all_blocks() -> list[type[Block]]:
    """Blocks of this package, of entry points, and of this process."""
    blocks = [
        _from_module(f"{_package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(_package.__path__)
        if not info.name.startswith("_") and info.name not in NOT_BLOCKS
    ]
    blocks += [_from_entry_point(point) for point in _entry_points(tuple(sys.path))]
    return list(dict.fromkeys([*blocks, *_REGISTERED]))


@cache
def _entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of packages on a search path, whose metadata are many files: read once."""
    return tuple(entry_points(group=GROUP))


def _from_entry_point(point: EntryPoint) -> type[Block]:
    origin = f"entry point {point.name!r} ({point.value})"
    if point.dist is not None:
        origin += f" of {point.dist.name} {point.dist.version}"
    try:
        block = point.load()
    except Exception as error:  # whatever the other package does on import
        raise InputError(
            f"Cannot load the block of {origin}: {error}. Update or uninstall that package."
        ) from error
    if not isinstance(block, type) or not issubclass(block, Block):
        raise InputError(
            f"The {origin} gives {block!r}, expected a class that inherits Block "
            "(docs/add_a_block.md)."
        )
    return block


def _in_order(blocks: Iterable[type[Block]]) -> tuple[type[Block], ...]:
    """The blocks by number, a replaced one before the one in its place; clashes are errors."""
    ordered = sorted(blocks, key=lambda b: (b.number, b.replaces is not None, b.name))
    names = [block.name for block in ordered]
    for index, block in enumerate(ordered):
        if block.replaces is not None and block.replaces not in names:
            raise unknown_name("replaced block", block.replaces, names, "crystalssl info blocks")
        for other in ordered[:index]:
            _refuse_clash(block, other)
    return tuple(ordered)


def _refuse_clash(block: type[Block], other: type[Block]) -> None:
    """Two blocks may share nothing, but one that replaces the other may have its number."""
    clash = f"block {block.name!r} (number {block.number}, {block.__module__}) clashes with "
    clash += f"{other.name!r} (number {other.number}, {other.__module__})"
    if block.name == other.name:
        raise InputError(
            f"{clash}: weights tell blocks apart by name. Give it a name of its own, and "
            f"`replaces = {other.name!r}` if it is to take that block's place."
        )
    if block.replaces is not None and block.replaces == other.replaces:
        raise InputError(f"{clash}: both replace {block.replaces!r}. Uninstall one of them.")
    related = block.replaces == other.name or other.replaces == block.name
    if block.number == other.number and not related:
        raise InputError(f"{clash}; give it a number of its own, or `replaces = {other.name!r}`")


def get_block(name: str | int) -> type[Block]:
    """A block class by name or number.

    A number means the block in use; a replaced one has to be named.

    Raises:
        UnknownNameError: if there is no such block.
    """
    used = list_blocks()
    for block in (*used, *known_blocks()):
        if str(name) == block.name or (block in used and str(name) == str(block.number)):
            return block
    raise unknown_name("block", str(name), [b.name for b in used], "crystalssl info blocks")


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
    return tuple(block for block in known_blocks() if block in chosen)


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
