"""A trained block to safetensors with its card, and back, checked on the way.

``save_weights`` and ``load_weights`` handle one block's folder, ``save_run`` and ``load_run`` a
run with a folder for each block, ``find_run`` turns a path, the name of bundled weights or an
address into such a run. Nothing is unpickled; only addresses are downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from crystalssl import __version__
from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import known_blocks
from crystalssl.errors import InputError, unknown_name
from crystalssl.files import atomic_set, remove, write_bytes
from crystalssl.hub.card import CARD_FILE, ModelCard
from crystalssl.hub.halves import as_stored, halved_if_exact, round_matrices
from crystalssl.hub.remote import fetch_weights, is_address
from crystalssl.hub.seen import SEEN_FILE, Seen
from crystalssl.hub.tensors import build_for, pack_tensors, read_header, read_tensors
from crystalssl.representation import layout

WEIGHTS_FILE = "weights.safetensors"
"""File name of a block's weights."""
BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the weights that ship with the package: one run for each name."""


def new_card(block: Block, **details: Any) -> ModelCard:
    """A card for a block with the versions of this package filled in.

    Args:
        block: the block the card describes.
        details: further fields of :class:`ModelCard`.
    """
    return ModelCard(
        block=block.name,
        config=asdict(block.config),
        layout_version=layout.VERSION,
        package_version=__version__,
        **details,
    )


def save_weights(
    block: Block, folder: Path, card: ModelCard | None = None, seen: Seen | None = None
) -> ModelCard:
    """Write a block's weights and card into a folder; the same block gives the same bytes.

    Args:
        block: the trained block.
        folder: made if absent.
        card: its card; checksums are filled in. Without one a bare card is written.
        seen: what the corpus held; without it nobody can tell which crystals are new to the block.

    Returns:
        The card as written.
    """
    folder = Path(folder)
    content, checksum = pack_tensors(halved_if_exact(block.state_dict()))
    card = replace(card or new_card(block), sha256=checksum)
    data = {name: value for name, value in card.data.items() if name != "seen"}
    if seen is None:
        contents = {WEIGHTS_FILE: content}
        remove(folder / SEEN_FILE)
    else:
        listed = seen.pack()
        data["seen"] = {"sha256": hashlib.sha256(listed).hexdigest(), **seen.summary()}
        contents = {SEEN_FILE: listed, WEIGHTS_FILE: content}
    card = replace(card, data=data)
    with atomic_set(*(folder / name for name in (*contents, CARD_FILE))) as (*asides, last):
        for aside, piece in zip(asides, contents.values(), strict=True):
            aside.write_bytes(piece)
        card.write(last)
    return card


def load_weights(folder: Path) -> Block:
    """Read a block from its folder, in evaluation mode.

    Raises:
        InputError: if a file is missing, the checksum or the panel layout differs, or the
            weights do not fit the block.
        UnknownNameError: if the card names a block or a setting that does not exist.
    """
    folder = Path(folder)
    if not (folder / CARD_FILE).is_file():
        raise InputError(
            f"Found no {CARD_FILE} in {folder}, expected the folder of a trained block. Give the "
            "folder that `crystalssl pretrain` wrote."
        )
    card = ModelCard.load(folder)
    if card.layout_version != layout.VERSION:
        raise InputError(
            f"Weights in {folder} read panel layout {card.layout_version}, this version makes "
            f"layout {layout.VERSION}. Pre-train again or install crystalssl "
            f"{card.package_version}."
        )
    path = folder / WEIGHTS_FILE
    header = read_header(path)
    block = build_for(card.block, card.config, header, path)
    expected = as_stored(header, block.state_dict())
    block.load_state_dict(read_tensors(path, card.sha256, expected))  # float16 becomes float32
    return block.eval()


def load_seen(folder: Path) -> Seen | None:
    """What the corpus of a block's weights held; None for weights that came without.

    Args:
        folder: folder of the block.

    Raises:
        InputError: if the card cannot be read, or names a list that is missing or damaged.
    """
    recorded = ModelCard.load(folder).data.get("seen")
    if not isinstance(recorded, dict):
        return None
    checksum = str(recorded.get("sha256"))
    own, shared = Path(folder) / SEEN_FILE, Path(folder).parent / _shared_name(checksum)
    return Seen.load(shared if shared.is_file() and not own.is_file() else own, checksum)


def save_run(blocks: Mapping[str, Block], folder: Path) -> Path:
    """Write several blocks as one run; ``load_run`` reads it.

    Args:
        blocks: block of each name.
        folder: gets one folder for each block.
    """
    for name, block in blocks.items():
        save_weights(block, Path(folder) / name)
    return Path(folder)


def export_run(run: Path | str, folder: Path, *, rounded: bool = False) -> Path:
    """Copy what is shared of a run (weights, cards, seen crystals; all checked), not logs.

    A list of seen crystals that several blocks have is kept once.

    Args:
        run: folder, name or address.
        folder: gets the copy.
        rounded: round matrices to float16, which halves the files. These are other weights, with
            other checksums: what reads their features (bottleneck, student) is trained after it.

    Raises:
        InputError: as ``load_weights`` and ``load_seen``.
    """
    for name, source in run_folders(run).items():
        block, card, seen = load_weights(source), ModelCard.load(source), load_seen(source)
        if rounded:
            round_matrices(block)
        save_weights(block, Path(folder) / name, card, seen)
    share_seen(Path(folder))
    return Path(folder)


def share_seen(run: Path) -> None:
    """Keep a list of seen crystals that several blocks of a run have once, beside them.

    Args:
        run: folder with a folder for each block.
    """
    owners: dict[str, list[Path]] = {}
    for folder in run_folders(run).values():
        recorded = ModelCard.load(folder).data.get("seen")
        if isinstance(recorded, dict) and folder.parent == run:
            owners.setdefault(str(recorded.get("sha256")), []).append(folder / SEEN_FILE)
    for checksum, paths in owners.items():
        there = [path for path in paths if path.is_file()]
        if len(paths) > 1 and there:
            Seen.load(there[0], checksum)  # damaged ones stay where they are, and are named
            write_bytes(there[0].read_bytes(), run / _shared_name(checksum))
            remove(*there)
    needed = {_shared_name(checksum) for checksum in owners}
    remove(*(path for path in run.glob(_shared_name("*")) if path.name not in needed))


def _shared_name(checksum: str) -> str:
    """File name of a list of seen crystals that several blocks share."""
    return f"seen-{checksum[:12]}.safetensors"


def load_run(run: Path | str, blocks: Collection[str] = ()) -> dict[str, Block]:
    """Read the blocks of a run, ordered by number.

    Args:
        run: folder of a run or of one block, or the name of bundled weights.
        blocks: names of those to read; all if there are none. What is not named need not be
            installed.

    Raises:
        InputError: as ``load_weights``, or if there is no block in it.
        UnknownNameError: if it is neither a folder nor a name, or lacks a block.
    """
    folders = run_folders(run)
    for name in blocks:
        if name not in folders:
            raise unknown_name("block in these weights", name, folders, "crystalssl info weights")
    wanted = set(blocks or folders)
    return {name: load_weights(path) for name, path in folders.items() if name in wanted}


def load_cards(run: Path | str) -> dict[str, ModelCard]:
    """Read the cards of a run without its weights, ordered by block number."""
    return {name: ModelCard.load(folder) for name, folder in run_folders(run).items()}


def run_folders(run: Path | str) -> dict[str, Path]:
    """Folder of every block in a run, ordered by block number.

    Raises:
        InputError: if there is none.
        UnknownNameError: if ``run`` is neither a folder nor a name.
    """
    folder = find_run(run)
    cards = [folder / CARD_FILE] if (folder / CARD_FILE).is_file() else []
    cards = cards or sorted(folder.glob(f"*/{CARD_FILE}"))
    cards = cards or sorted(folder.glob(f"blocks/*/{CARD_FILE}"))  # models/ has cards too
    if not cards:
        raise InputError(
            f"Found no trained block in {folder}, expected folders with a {CARD_FILE}. Make some "
            "with `crystalssl pretrain`."
        )
    folders = {ModelCard.load(card.parent).block: card.parent for card in cards}
    order = {block.name: block.number for block in known_blocks()}
    return dict(sorted(folders.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def bundled_names() -> list[str]:
    """Names of the weights that ship with the package."""
    if not BUNDLED.is_dir():
        return []
    return sorted(folder.name for folder in BUNDLED.iterdir() if any(folder.glob("*/card.json")))


def find_run(run: Path | str) -> Path:
    """Folder of a run: a path that exists, the name of bundled weights, or an address.

    Addresses are those of ``remote.py``: ``hf://organisation/name@revision``, and ``https://`` of a
    ``.zip`` with its checksum.

    Raises:
        InputError: if it is none of these and no weights are bundled, or as
            ``remote.fetch_weights``.
        NetworkError: as ``remote.fetch_weights``.
        UnknownNameError: if it is none of these.
    """
    if Path(run).is_dir():
        return Path(run)
    if is_address(run):
        return fetch_weights(str(run))
    names = bundled_names()
    if str(run) in names:
        return BUNDLED / str(run)
    if not names:
        raise InputError(
            f"Found no weights {str(run)!r}: it is no folder, and this version bundles no weights. "
            "Make your own with `crystalssl pretrain STRUCTURES --out RUN` and give that folder."
        )
    raise unknown_name("weights", str(run), names, "crystalssl info weights")
