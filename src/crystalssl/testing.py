"""The conformance suite every block must pass, for ours and for those of other packages.

Use: ``for check in CHECKS: check(MyBlock, corpus)``, or parametrize pytest over both. Every
failure says what to change. ``corpus`` is a small :class:`crystalssl.datasets.corpus.Corpus`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crystalssl.blocks.contract import Block, BlockBatch
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import CrystalSSLError, InputError
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.transforms import TRANSFORMS

Check = Callable[[type[Block], Corpus], None]
COSINE = 0.9999
"""Least cosine similarity of the features of one crystal in two descriptions."""
SHARE = 0.98
"""Share of crystals that must reach it."""


class ConformanceError(CrystalSSLError, AssertionError):
    """A block breaks the contract; the text says how to mend it."""


def _need(holds: bool, block: type[Block], message: str) -> None:
    if not holds:
        raise ConformanceError(f"block {block.name!r}: {message}")


def _fresh(block: type[Block], seed: int = 0) -> Block:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return block(block.Config())


def _batch(block: type[Block], corpus: Corpus, count: int | None = None) -> BlockBatch:
    index = torch.arange(len(corpus) if count is None else count)
    batch: BlockBatch = corpus.batch(index, block)
    return batch


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@torch.no_grad()
def _features(model: Block, batch: BlockBatch) -> Tensor:
    return model.eval().encode(batch).features


def check_shapes(block: type[Block], corpus: Corpus) -> None:
    """Features are (crystals, width), tokens carry their crystal, everything is finite."""
    batch = _batch(block, corpus)
    encoded = _fresh(block).eval().encode(batch)
    got = tuple(encoded.features.shape)
    _need(
        got == (len(corpus), block.width), block, f"features are {got}, `width` says {block.width}"
    )
    _need(
        len(encoded.tokens) == len(encoded.crystal),
        block,
        "tokens and crystal differ in length: give one crystal index per token",
    )
    _need(bool(torch.isfinite(encoded.features).all()), block, "features hold NaN or infinity")


def check_batch_of_one(block: type[Block], corpus: Corpus) -> None:
    """A crystal has the same features alone and in company: padding is never read."""
    model = _fresh(block)
    together = _features(model, _batch(block, corpus))
    for row in range(min(4, len(corpus))):
        alone = _features(model, corpus.batch(torch.tensor([row]), block))[0]
        close = torch.allclose(alone, together[row], atol=1e-4, rtol=1e-3)
        _need(close, block, f"features of crystal {row} change with its batch: mask the padding")


def check_order(block: type[Block], corpus: Corpus) -> None:
    """Features follow the crystals when their order in the batch changes."""
    model = _fresh(block)
    index = torch.arange(len(corpus)).flip(0)
    forward = _features(model, _batch(block, corpus))
    backward = _features(model, corpus.batch(index, block))
    close = torch.allclose(forward.flip(0), backward, atol=1e-4, rtol=1e-3)
    _need(close, block, "features depend on the order of crystals in a batch")


def check_determinism(block: type[Block], corpus: Corpus) -> None:
    """Two extractions in evaluation mode are bit-identical."""
    model, batch = _fresh(block), _batch(block, corpus)
    same = torch.equal(_features(model, batch), _features(model, batch))
    _need(same, block, "encode() is random in evaluation mode: switch dropout and noise off")


def check_pretext_results(block: type[Block], corpus: Corpus) -> None:
    """Every listed task is scored, beside its trivial baseline, with a finite loss."""
    results = _fresh(block).train().pretext(_batch(block, corpus), _generator())
    listed = {task.name: task for task in block.tasks}
    got = {result.task for result in results}
    _need(got == set(listed), block, f"pretext() returns {sorted(got)}, `tasks` {sorted(listed)}")
    for result in results:
        trivial = listed[result.task].trivial
        _need(trivial in result.sums, block, f"{result.task} lacks its baseline {trivial!r}")
        _need("model" in result.sums, block, f"{result.task} lacks the key 'model' in sums")
        _need(bool(torch.isfinite(result.loss)), block, f"loss of {result.task} is not finite")


def check_input_untouched(block: type[Block], corpus: Corpus) -> None:
    """Corruption works on copies: the true batch is what it was."""
    batch = _batch(block, corpus)
    before = batch.rows.clone()
    _fresh(block).train().pretext(batch, _generator())
    _need(torch.equal(before, batch.rows), block, "pretext() changes batch.rows in place: copy it")


def check_same_seed_same_corruption(block: type[Block], corpus: Corpus) -> None:
    """All randomness of corruption comes from the generator."""
    model, batch = _fresh(block).eval(), _batch(block, corpus)
    with torch.no_grad():
        runs = [model.pretext(batch, _generator()) for _ in range(2)]
    same = all(torch.equal(a.loss, b.loss) for a, b in zip(*runs, strict=True))
    _need(
        same,
        block,
        "the same generator state gives another loss: take all random numbers from `generator`",
    )


def check_gradients(block: type[Block], corpus: Corpus) -> None:
    """Some loss reaches every parameter; a projection that none reaches is random."""
    model = _fresh(block).train()
    results = model.pretext(_batch(block, corpus), _generator())
    total: Any = sum(result.weight * result.loss for result in results)
    torch.autograd.backward(total)
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool((parameter.grad != 0).any())
        _need(reached, block, f"no loss reaches parameter {name!r}: train it or remove it")


def check_features_are_trained(block: type[Block], corpus: Corpus) -> None:
    """Every parameter that shapes the features receives a gradient from the tasks."""
    model, batch = _fresh(block).train(), _batch(block, corpus)
    torch.autograd.backward(model.encode(batch).features.square().sum())
    behind = [name for name, p in model.named_parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    results = model.pretext(batch, _generator())
    loss: Any = sum(result.weight * result.loss for result in results)
    torch.autograd.backward(loss)
    trained = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    missing = [name for name in behind if name not in trained]
    _need(not missing, block, f"features rest on untrained parameters: {missing}")


def check_overfit(block: type[Block], corpus: Corpus) -> None:
    """Twenty steps on one batch with one corruption lower the total loss."""
    model, batch = _fresh(block).train(), _batch(block, corpus)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        results = model.pretext(batch, _generator())
        loss: Any = sum(result.weight * result.loss for result in results)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    low = min(losses[-3:])
    _need(low < 0.9 * losses[0], block, f"20 steps take the loss from {losses[0]:.3f} to {low:.3f}")


def check_targets_are_no_input(block: type[Block], corpus: Corpus) -> None:
    """Features do not change when the batch's targets do."""
    model, batch = _fresh(block), _batch(block, corpus)
    other = replace(
        batch,
        targets=batch.targets + 1,
        crystal_system=(batch.crystal_system + 1) % 7,
        histogram=batch.histogram + 1,
    )
    same = torch.equal(_features(model, batch), _features(model, other))
    _need(same, block, "encode() reads targets, crystal_system or histogram: these are targets")


def check_state_round_trip(block: type[Block], corpus: Corpus) -> None:
    """Weights put into a fresh block give the same features."""
    first, second = _fresh(block, 0), _fresh(block, 1)
    second.load_state_dict(first.state_dict())
    batch = _batch(block, corpus)
    same = torch.equal(_features(first, batch), _features(second, batch))
    _need(same, block, "state_dict() does not hold all that shapes the features")


def check_invariance(block: type[Block], corpus: Corpus) -> None:
    """Features stay when the same crystals are written down in another way.

    Supercell, conventional cell, origin, orientation, order of sites, coordinates outside the cell
    (``structures.transforms.TRANSFORMS``). Features are standardised over the corpus; their cosine
    similarity must reach ``COSINE`` for ``SHARE`` of the crystals: in a few, noise far below the
    tolerance of the symmetry search decides which of two cells is the shortest.
    """
    crystals = Crystals.concatenate(list(corpus.crystals(np.arange(len(corpus)))))
    model = _fresh(block)
    before = _features(model, _batch(block, _canonical(crystals, len(corpus))))
    mean, std = before.mean(0), before.std(0, unbiased=False) + 1e-9
    for name, transform in TRANSFORMS.items():
        after = _features(model, _batch(block, _canonical(transform(crystals, 3), len(corpus))))
        one, other = (before - mean) / std, (after - mean) / std
        cosine = torch.nn.functional.cosine_similarity(one, other, dim=1)
        share = float((cosine >= COSINE).double().mean())
        _need(
            share >= SHARE,
            block,
            f"features notice {name!r}: {share:.0%} of crystals keep a cosine of {COSINE}, lowest "
            f"{float(cosine.min()):.5f}. Read lengths, angles and differences, not coordinates, "
            "and never the order of rows of equal length",
        )


def check_sites(block: type[Block], corpus: Corpus) -> None:
    """Where a block says that its tokens are the sites, they are: one each, in their order."""
    if not block.has_site_states:
        return
    crystals = Crystals.concatenate(list(corpus.crystals(np.arange(len(corpus)))))
    model = _fresh(block).eval()
    with torch.no_grad():
        states = model.encode(_batch(block, corpus))
    counts = torch.bincount(states.crystal, minlength=len(corpus))
    same = torch.equal(counts, torch.from_numpy(crystals.site_counts).to(counts))
    _need(same, block, "`has_site_states`, but tokens are not one for each site of a crystal")
    got, told = states.tokens.shape[1], model.site_channels
    _need(got == told, block, f"tokens have {got} channels, `site_channels` says {told}")
    last = np.repeat(crystals.offsets[1:] - 1, crystals.site_counts)
    first = np.repeat(crystals.offsets[:-1], crystals.site_counts)
    turned = last - (np.arange(len(last)) - first)  # sites of each crystal, the last one first
    other = replace(
        crystals,
        frac_coords=crystals.frac_coords[turned],
        numbers=crystals.numbers[turned],
        occupancy=crystals.occupancy[turned],
    )
    with torch.no_grad():
        moved = model.encode(_batch(block, Corpus.from_crystals(other, targets=False))).tokens
    close = torch.allclose(states.tokens[torch.from_numpy(turned)], moved, atol=1e-3, rtol=1e-3)
    _need(close, block, "tokens do not follow the sites when their order changes")


def _canonical(crystals: Crystals, count: int) -> Corpus:
    """The corpus of crystals in any cell; none of them may get lost."""
    corpus = Corpus.from_crystals(canonicalize(crystals), targets=False)
    if len(corpus) != count:
        raise InputError(
            f"Only {len(corpus)} of {count} crystals of the corpus are valid in another cell. "
            "Give check_invariance others."
        )
    return corpus


CHECKS: tuple[Check, ...] = (
    check_shapes,
    check_batch_of_one,
    check_order,
    check_determinism,
    check_pretext_results,
    check_input_untouched,
    check_same_seed_same_corruption,
    check_gradients,
    check_features_are_trained,
    check_overfit,
    check_targets_are_no_input,
    check_state_round_trip,
    check_sites,
    check_invariance,
)
"""All checks, cheap ones first."""
