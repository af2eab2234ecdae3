"""What features are asked for -> the blocks that take part.

All, those with states of sites, or those that need no numbers of the electrons. Used by
``extractor.py``, which loads their weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from crystalssl.blocks.registry import known_blocks
from crystalssl.errors import InputError, unknown_name
from crystalssl.features.bottleneck import AUTO, BLOCKS
from crystalssl.features.features import PHYSICS
from crystalssl.features.physics import TAUGHT
from crystalssl.features.sites import POOLS
from crystalssl.files import read_json
from crystalssl.hub.weights import find_run
from crystalssl.representation import layout

CRYSTAL: str = "crystal"
SITE: str = "site"
LEVELS = (CRYSTAL, SITE)
"""What a row of features describes."""
OFF: str = "off"
ELECTRONS_FROM: str = "electrons_from"
"""Setting of a run: where its features have the electrons from."""
CONFIG: str = "config.json"
"""File of a run's settings."""
ELECTRONIC_WAYS: dict[str, str | None] = {TAUGHT: None, "exact": "fast", "full": "full", OFF: None}
"""Ways to the numbers of the electrons, and the level of the tight binding that each runs:
predicted by the student of the weights, computed, computed with spin, or without the block.
``AUTO`` is ``TAUGHT``, and ``OFF`` for named physics, which needs no weights then."""


def asks_for_sites(level: str, pool: str | None, output: str) -> bool:
    """Whether states of sites are asked for.

    Args:
        level: one of ``LEVELS``.
        pool: how states of sites are pooled, or None.
        output: output of crystals that is asked for.

    Raises:
        InputError: if an output of crystals is asked for too, or sites and their pooling.
        UnknownNameError: if there is no such level or pooling.
    """
    if level not in LEVELS:
        raise unknown_name("level", level, LEVELS)
    if pool is not None and pool not in POOLS:
        raise unknown_name("pooling of sites", pool, POOLS)
    if level == CRYSTAL and pool is None:
        return False
    if level == SITE and pool is not None:
        raise InputError(
            f"Got --level {SITE} with --pool {pool}: pooled features are of crystals. Leave one "
            "of them out."
        )
    if output not in (AUTO, BLOCKS):
        raise InputError(
            f"Got --output {output} with features of sites, which blocks alone have. Leave it out."
        )
    return True


def with_sites(names: Sequence[str]) -> tuple[str, ...]:
    """Those of the blocks whose tokens are sites.

    Args:
        names: blocks that are there.

    Raises:
        InputError: if there is none.
    """
    known = [block.name for block in known_blocks() if block.has_site_states]
    kept = tuple(name for name in names if name in known)
    if not kept:
        raise InputError(
            f"Of {', '.join(names)} no block has states of sites; expected {' or '.join(known)}. "
            "Name one with --block (blocks=), or leave it out."
        )
    return kept


def readers_of_electrons() -> set[str]:
    """Names of the blocks that read numbers of the electrons."""
    return {block.name for block in known_blocks() if block.group == layout.ELECTRONIC}


def without_electrons(names: Iterable[str], electronic: str) -> tuple[str, ...]:
    """The blocks in use: where the electrons are off, those that do not read them.

    Args:
        names: blocks that are there.
        electronic: a key of ``ELECTRONIC_WAYS``.

    Raises:
        InputError: if none is left.
    """
    readers = readers_of_electrons() if electronic == OFF else set()
    kept = tuple(name for name in names if name not in readers)
    if not kept:
        raise InputError(
            f"Got --electronic {OFF} with no block that reads anything else. Name other blocks, or "
            f"take --electronic exact."
        )
    return kept


def way_to_electrons(electronic: str, output: str, weights: str | Path) -> str:
    """The key of ``ELECTRONIC_WAYS`` that a user means.

    Args:
        electronic: a key, or ``AUTO``: as the features of a run were made, else taught.
        output: output that is asked for.
        weights: folder of a run, name or address of weights.

    Raises:
        InputError: if there are no such weights, or their settings cannot be read.
        UnknownNameError: if there is no such way.
    """
    if electronic == AUTO and output == PHYSICS:
        return OFF
    if electronic == AUTO:
        electronic = electrons_of(weights) or TAUGHT
    if electronic not in ELECTRONIC_WAYS:
        raise unknown_name("way to the electrons", electronic, [AUTO, *ELECTRONIC_WAYS])
    return electronic


def electrons_of(weights: str | Path) -> str | None:
    """Where features of these weights are to have the electrons from; None where nothing is said.

    Args:
        weights: folder of a run, name or address of weights.

    Raises:
        InputError: if there are no such weights, or their settings cannot be read.
    """
    path = find_run(weights) / CONFIG
    settings = read_json(path) if path.is_file() else {}
    said = settings.get(ELECTRONS_FROM) if isinstance(settings, dict) else None
    return None if said is None else str(said)
