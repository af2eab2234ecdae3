"""Count of operations of pre-training, from PyTorch's own counter; no timing.

``python benchmarks/operations.py [--crystals 512]`` counts multiply-adds (as two operations each)
of forward and backward passes of every block on a sample, and scales them to 129,473 crystals and
50 epochs. Element-wise work is not counted, so the count is what matrix units have to do.
"""

from __future__ import annotations

import argparse
import json

import steps
import torch
from torch.utils.flop_counter import FlopCounterMode

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack
from crystalssl.pretraining.module import generator_for
from crystalssl.structures.canonical import canonicalize

CRYSTALS, EPOCHS = 129_473, 50
DENSE_BF16 = 989e12
"""Peak of an H100 SXM in bf16 without sparsity, operations a second (data sheet of the maker)."""


def count(crystals: int) -> dict[str, float]:
    """Operations of one training step a crystal, for every block."""
    corpus = Corpus.from_crystals(canonicalize(steps.sample(crystals)))
    rows = torch.arange(len(corpus)).numpy()
    found = {}
    for kind in list_blocks():
        block = build_block(kind.name, seed=0).train()
        with FlopCounterMode(display=False) as counter:
            for number, part in enumerate(pack(rows, corpus.site_counts, 256, 8_192)):
                results = block.pretext(corpus.batch(part, block), generator_for(0, 0, 0, number))
                torch.stack([r.weight * r.loss for r in results]).sum().backward()
        found[kind.name] = counter.get_total_flops() / len(corpus)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", type=int, default=512)
    found = count(parser.parse_args().crystals)
    whole = sum(found.values()) * CRYSTALS * EPOCHS
    record = {
        "operations_per_crystal_and_step": {name: round(value) for name, value in found.items()},
        "crystals": CRYSTALS,
        "epochs": EPOCHS,
        "operations": whole,
        "h100_seconds_at_full_rate": whole / DENSE_BF16,
        "h100_share_needed_for_30_minutes": whole / DENSE_BF16 / 1_800,
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
