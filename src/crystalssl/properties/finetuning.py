"""Pre-trained encoders and labels -> encoders trained on, with a network behind them.

The encoders that see species and distances are trained on: those that read the periodic graph and
learn an embedding of elements. The network behind them reads their features alone, and the user's
own columns: what the other candidates read made it no better, and made their errors more alike.
Deep layers learn at smaller rates than shallow ones (layer-wise rates), all in one cycle; every
crystal is trained on. After cross_validation.py, before blending.py. Source: Howard, Ruder, ACL
2018 (rates by layer); Smith, Topin, arXiv:1708.07120 (one cycle).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks._layers import ElementEmbedding
from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.devices import choose_device
from crystalssl.evaluation.cache import digest
from crystalssl.properties import finetuning_steps
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.finetuning_steps import Finetuning, Steps
from crystalssl.properties.inputs import frozen_columns
from crystalssl.properties.tuned_encoders import TunedEncoders, tuned_of_arrays

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
KIND = "finetuned"
"""Kind of the cache's entries."""
LEAST_LABELS = 2_000
"""Labels from which encoders are trained on unless told otherwise."""
KEPT_EVERY = 60.0
"""Seconds of training after which the next end of an epoch is kept; a stop loses the rest."""
LEAST_EPOCHS = 8
"""Epochs below which a budget leaves no time for it."""


def tunable_blocks(blocks: Mapping[str, Block]) -> dict[str, Block]:
    """The encoders that are worth being trained on.

    Those that learn an embedding of elements and read the periodic graph; where there is none,
    those that learn an embedding.
    """
    learned = {
        name: block
        for name, block in blocks.items()
        if any(isinstance(module, ElementEmbedding) for module in block.modules())
    }
    return {name: block for name, block in learned.items() if block.uses_graph} or learned


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What encoders are trained on.

    Attributes:
        experiment: labelled crystals.
        corpus: the same crystals.
        blocks: pre-trained encoders; copies of them are trained.
        origin: checksums of their weights.
        settings: of the training.
        device: where to train; a CUDA GPU if there is one by default.
    """

    experiment: Experiment
    corpus: Corpus
    blocks: Mapping[str, Block]
    origin: tuple[str, ...]
    settings: Finetuning
    device: str | None = None

    def fit(self, rows: Index, watch: Callable[[int, str], None]) -> TunedEncoders:
        """Encoders trained on with the labels of some rows, from the cache or now.

        Args:
            rows: training rows.
            watch: told of every epoch.
        """
        cache, experiment = self.experiment.cache, self.experiment
        settings = {**asdict(self.settings), "seed": experiment.seed, "kind": experiment.kind}
        data = [*experiment.data(), *self.origin, digest([rows])]
        key = cache.key(KIND, settings, data=data, code=(__name__, finetuning_steps.__name__))
        stored = cache.get(key)
        if stored is None:
            tuned = self._train(rows, watch, key)
            state = {
                f"block.{name}.{key}": value.numpy()
                for name, block in tuned.network.encoders().items()
                for key, value in block.state_dict().items()
            }
            cache.put(key, {**tuned.arrays(), **state})
            return tuned
        watch(self.settings.epochs_for(len(rows)), "encoders, from before")
        blocks = self._copies()
        for name, block in blocks.items():
            start = f"block.{name}."
            state_of = {k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)}
            block.load_state_dict({k: torch.from_numpy(v) for k, v in state_of.items()})
        return tuned_of_arrays(stored, blocks, experiment.kind)

    def predict(self, encoders: TunedEncoders, rows: Index) -> Floats:
        """(m, t) predictions of some rows."""
        inputs = self.experiment.inputs
        frozen = inputs.matrix[:, frozen_columns(inputs)][rows]
        return encoders.predict(self.corpus.take(rows), frozen, self.device)

    def seconds(self, rows: Index) -> float:
        """Seconds that :meth:`fit` takes about, from three steps; kept with the fits."""
        cache, there = self.experiment.cache, choose_device(self.device)
        data = [*self.experiment.data(), *self.origin, digest([rows])]
        settings = {"seconds": asdict(self.settings), "device": str(there)}
        key = cache.key(KIND, settings, data=data, code=(__name__, finetuning_steps.__name__))

        def measure() -> Mapping[str, npt.NDArray[np.float64]]:
            steps = self._steps(rows, there)
            batch = rows[: len(rows) // self.settings.batches_for(len(rows))]
            steps.take(batch)
            start = perf_counter()
            for _ in range(2):
                steps.take(batch)
            each = (perf_counter() - start) / 2
            return {"seconds": np.array(1.1 * each * self.settings.steps_for(len(rows)))}

        return float(cache.once(key, measure)["seconds"])

    def shortened(self, share: float) -> Tuning | None:
        """The same in a share of the time, by fewer epochs; None if these are too few to learn."""
        count = len(self.experiment.labels)
        epochs = int(share * self.settings.epochs_for(count))
        if epochs < LEAST_EPOCHS:
            return None
        return replace(self, settings=replace(self.settings, epochs=epochs, steps=0))

    def _copies(self) -> dict[str, Block]:
        return {name: copy.deepcopy(block) for name, block in self.blocks.items()}

    def _steps(self, rows: Index, there: torch.device) -> Steps:
        """A network before its first step."""
        corpus = self.corpus.to(there)
        return Steps(self.experiment, corpus, self._copies(), rows, self.settings)

    def _train(self, rows: Index, watch: Callable[[int, str], None], key: str) -> TunedEncoders:
        """Train for all epochs; the rate ends near zero, so that the last weights are the best.

        Epochs of a training that was stopped are not taken again.
        """
        keep_freed_memory()
        settings, seed, there = self.settings, self.experiment.seed, choose_device(self.device)
        epochs, batches = settings.epochs_for(len(rows)), settings.batches_for(len(rows))
        cache, key = self.experiment.cache, f"{key}-epochs"
        with torch.random.fork_rng(devices=[there] if there.type == "cuda" else []):
            torch.manual_seed(seed)
            steps, order = self._steps(rows, there), np.random.default_rng(seed)
            before = cache.get(key)
            done = 0 if before is None else steps.resume(before) // batches
            if done:
                watch(done, "encoders, from before")
            kept = perf_counter()
            for epoch in range(epochs):
                mixed = order.permutation(rows)
                if epoch < done:
                    continue
                for batch in np.array_split(mixed, batches):
                    steps.take(batch)
                watch(1, f"encoders, epoch {epoch + 1} of {epochs}")
                if cache.folder is not None and perf_counter() - kept > KEPT_EVERY:
                    cache.put(key, steps.state())
                    kept = perf_counter()
        return steps.finished()
