"""What the commands do, as functions: objects or paths in, objects and files out.

``pretrain(structures, "runs/mine")`` does what ``crystalssl pretrain STRUCTURES --out runs/mine``
does; the command line makes its options from these signatures, calls the functions and prints.
Silent unless a :class:`Progress` is given. Nothing heavy is imported before a function is called.
"""

from crystalssl.pipeline.bottleneck import train_bottleneck
from crystalssl.pipeline.evaluation import evaluate
from crystalssl.pipeline.extraction import extract, extract_to, featurize_corpus
from crystalssl.pipeline.fetching import fetch
from crystalssl.pipeline.full_run import run
from crystalssl.pipeline.map import write_map
from crystalssl.pipeline.matbench_task import matbench
from crystalssl.pipeline.predictions import explain, predict
from crystalssl.pipeline.progress import SILENT, Progress, Screen
from crystalssl.pipeline.properties import fit
from crystalssl.pipeline.publishing import push
from crystalssl.pipeline.report_page import report
from crystalssl.pipeline.search import duplicates, neighbors, novelty
from crystalssl.pipeline.selection import select
from crystalssl.pipeline.structures import convert, generate, write_ftcp, write_panel
from crystalssl.pipeline.training import pretrain

__all__ = [
    "SILENT",
    "Progress",
    "Screen",
    "convert",
    "duplicates",
    "evaluate",
    "explain",
    "extract",
    "extract_to",
    "featurize_corpus",
    "fetch",
    "fit",
    "generate",
    "matbench",
    "neighbors",
    "novelty",
    "predict",
    "pretrain",
    "push",
    "report",
    "run",
    "select",
    "train_bottleneck",
    "write_ftcp",
    "write_map",
    "write_panel",
]  # fmt: skip
