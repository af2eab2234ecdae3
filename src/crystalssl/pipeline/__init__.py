"""What the commands do, as functions: objects or paths in, objects and files out.

``crystalssl.pretrain(structures, "runs/mine")`` does what ``crystalssl pretrain STRUCTURES --out
runs/mine`` does; the command line only parses, calls these and prints. Silent unless a
:class:`~crystalssl.pipeline.progress.Progress` is given. Names are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalssl.pipeline.bottleneck import train_bottleneck
    from crystalssl.pipeline.evaluation import evaluate, matbench, report
    from crystalssl.pipeline.extraction import extract, extract_to, featurize_corpus, generate
    from crystalssl.pipeline.full_run import run
    from crystalssl.pipeline.progress import SILENT, Progress, Screen
    from crystalssl.pipeline.structures import convert, write_ftcp, write_panel
    from crystalssl.pipeline.training import pretrain

_LAZY = {
    "SILENT": "progress",
    "Progress": "progress",
    "Screen": "progress",
    "convert": "structures",
    "evaluate": "evaluation",
    "extract": "extraction",
    "extract_to": "extraction",
    "featurize_corpus": "extraction",
    "generate": "extraction",
    "matbench": "evaluation",
    "pretrain": "training",
    "report": "evaluation",
    "run": "full_run",
    "train_bottleneck": "bottleneck",
    "write_ftcp": "structures",
    "write_panel": "structures",
}

__all__ = [
    "SILENT",
    "Progress",
    "Screen",
    "convert",
    "evaluate",
    "extract",
    "extract_to",
    "featurize_corpus",
    "generate",
    "matbench",
    "pretrain",
    "report",
    "run",
    "train_bottleneck",
    "write_ftcp",
    "write_panel",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
