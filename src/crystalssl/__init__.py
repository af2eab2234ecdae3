"""crystalssl: label-free features for crystals.

Structures in, 2,048 numbers per crystal out. Names are resolved on first use, so
``import crystalssl`` stays fast and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Block": "crystalssl.blocks.contract",
    "BlockBatch": "crystalssl.blocks.contract",
    "CrystalFeaturizer": "crystalssl.adapters.sklearn",
    "CrystalSSLError": "crystalssl.errors",
    "Crystals": "crystalssl.structures.crystals",
    "Encoded": "crystalssl.blocks.contract",
    "PretextResult": "crystalssl.blocks.contract",
    "TaskInfo": "crystalssl.blocks.contract",
    "canonicalize": "crystalssl.structures.canonical",
    "read_structures": "crystalssl.structures.reading",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'crystalssl' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
