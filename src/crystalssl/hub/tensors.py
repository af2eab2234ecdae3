"""Tensors on disk and back, trusted in nothing: names, shapes and types are compared first.

Used for the weights of blocks and bottlenecks. A safetensors file begins with the length of a JSON
header; that is read and compared before anything of the size that it claims is allocated.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import build_block, get_block
from crystalssl.errors import InputError
from crystalssl.hub.halves import as_stored

LARGEST_HEADER = 2**24
"""Bytes of the largest header that is read."""
LARGEST_SETTING = 1024
"""Largest whole number in a block's settings, unless a tensor in its file has a larger side."""
_USUAL = 4  # times the default: a block of such settings is small enough to be built
_CODES = {torch.float16: "F16", torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}

Header = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor."""


def pack_tensors(state: Mapping[str, Tensor]) -> tuple[bytes, str]:
    """Tensors as bytes, always the same, and their SHA-256."""
    content = save({name: t.detach().cpu().contiguous().clone() for name, t in state.items()})
    return content, hashlib.sha256(content).hexdigest()


def read_header(path: Path) -> Header:
    """What a safetensors file says it holds.

    Raises:
        InputError: if it cannot be read or is no such file.
    """
    try:
        with Path(path).open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > min(LARGEST_HEADER, os.fstat(handle.fileno()).st_size):
                raise ValueError("no header")
            entries = json.loads(handle.read(length))
            return {
                name: (str(entry["dtype"]), tuple(int(side) for side in entry["shape"]))
                for name, entry in entries.items()
                if name != "__metadata__"
            }
    except OSError as error:
        raise InputError(f"Cannot read the weights {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no safetensors file: copy it again.") from error


def read_tensors(path: Path, sha256: str, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read a weights file.

    Args:
        path: the file.
        sha256: checksum that its card names.
        expected: tensors of the same names, shapes and types, on any device.

    Raises:
        InputError: if it is missing, another file, does not fit, or holds NaN or infinity.
    """
    check_header(read_header(path), expected, path)
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != sha256:
        raise InputError(
            f"{path} has checksum {checksum[:12]}..., its card says {sha256[:12]}... The file is "
            "damaged or not the one described: copy it again."
        )
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}): copy it again.") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.numpy()).all():  # a quarter of torch's first call
            raise InputError(
                f"{path} holds NaN or infinity in {name!r}; such weights give no features. Train "
                "again with a lower learning rate, or copy the file again."
            )
    return tensors


def check_header(header: Header, expected: Mapping[str, Tensor], path: Path) -> None:
    """Compare what a file holds with what is needed.

    Raises:
        InputError: if they differ.
    """
    wanted = {n: (_CODES.get(t.dtype, str(t.dtype)), tuple(t.shape)) for n, t in expected.items()}
    if header == wanted:
        return
    name = min(n for n in {**header, **wanted} if header.get(n) != wanted.get(n))
    held, needed = (
        "nothing" if entry is None else f"{entry[0]} {list(entry[1])}"
        for entry in (header.get(name), wanted.get(name))
    )
    raise InputError(
        f"{path} does not fit its card: under {name!r} it holds {held}, expected {needed}. Train "
        "again, or install the version of crystalssl that wrote it."
    )


def build_for(name: str, config: dict[str, Any], header: Header, path: Path) -> Block:
    """A block of the settings of a card, once it is clear that its weights are those of a file.

    Args:
        name: block name.
        config: settings from its card.
        header: what its weights file holds.
        path: that file, for messages.

    Raises:
        InputError: if a setting is of a wrong type or absurd, or the weights are of others.
        UnknownNameError: if there is no such block or setting.
    """
    block = get_block(name)
    config = {**block.absent, **config}
    largest = max([LARGEST_SETTING, *(side for _, shape in header.values() for side in shape)])
    usual = True
    defaults = block.Config()
    for entry in fields(block.Config):
        default, value = getattr(defaults, entry.name), config.get(entry.name)
        if value is None or not isinstance(default, bool | int | float | str):
            continue
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
            raise InputError(
                f"The card beside {path} sets {entry.name!r} to {value!r}, expected a value like "
                f"{default!r}. Copy the folder again."
            )
        if isinstance(value, int | float):
            if abs(value) <= largest:  # not NaN
                usual = usual and abs(value) <= _USUAL * max(abs(float(default)), 1)
                continue
            raise InputError(
                f"The card beside {path} sets {entry.name!r} to {value!r}, expected at most "
                f"{largest}. Copy the folder again."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without a weight
            if not usual:  # shapes alone; tracing them takes seconds, so not for every block
                with torch.device("meta"):
                    state = build_block(name, dict(config)).state_dict()
                    check_header(header, as_stored(header, state), path)
            return build_block(name, dict(config))
    except (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError) as error:
        raise InputError(
            f"Block {name!r} cannot be built with the settings of the card beside {path} "
            f"({error}). Copy the folder again, or train again."
        ) from error
