"""crystalssl: label-free features for crystals.

Structures in, 2,048 numbers per crystal out. Names are resolved on first use, so
``import crystalssl`` stays fast and does not import torch; ``__init__.pyi`` has their types.
"""

from __future__ import annotations

__version__ = "0.2.0"

_LAZY = {
    "Block": "crystalssl.blocks.contract",
    "BlockBatch": "crystalssl.blocks.contract",
    "CrystalClassifier": "crystalssl.properties.estimators",
    "CrystalFeaturizer": "crystalssl.adapters.sklearn",
    "CrystalIndex": "crystalssl.search",
    "CrystalRegressor": "crystalssl.properties.estimators",
    "CrystalSSLError": "crystalssl.errors",
    "Crystals": "crystalssl.structures.crystals",
    "Encoded": "crystalssl.blocks.contract",
    "Features": "crystalssl.features.features",
    "PretextResult": "crystalssl.blocks.contract",
    "PropertyModel": "crystalssl.properties.property_model",
    "TaskInfo": "crystalssl.blocks.contract",
    "canonicalize": "crystalssl.structures.canonical",
    "convert": "crystalssl.pipeline",
    "evaluate": "crystalssl.pipeline",
    "explain": "crystalssl.pipeline",
    "extract": "crystalssl.pipeline",
    "fit": "crystalssl.pipeline",
    "load_features": "crystalssl.features.store",
    "predict": "crystalssl.pipeline",
    "pretrain": "crystalssl.pipeline",
    "read_structures": "crystalssl.structures.reading",
    "report": "crystalssl.pipeline",
    "run": "crystalssl.pipeline",
    "train_bottleneck": "crystalssl.pipeline",
}

__all__ = [
    "Block",
    "BlockBatch",
    "CrystalClassifier",
    "CrystalFeaturizer",
    "CrystalIndex",
    "CrystalRegressor",
    "CrystalSSLError",
    "Crystals",
    "Encoded",
    "Features",
    "PretextResult",
    "PropertyModel",
    "TaskInfo",
    "__version__",
    "canonicalize",
    "convert",
    "evaluate",
    "explain",
    "extract",
    "fit",
    "load_features",
    "predict",
    "pretrain",
    "read_structures",
    "report",
    "run",
    "train_bottleneck",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'crystalssl' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
