"""Multilayer perceptron head, in PyTorch: dropout, early stopping on an inner part of the rows.

Inputs and target are standardised with the training rows, inputs limited to the range seen there.
Seeded and deterministic on a CPU; rows are standardised batch by batch, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crystalssl.allocator import keep_freed_memory
from crystalssl.evaluation.head_linear import Standardised
from crystalssl.evaluation.heads import Groups, Kind, inner_split, label_columns, stacked
from crystalssl.evaluation.moments import Features, Floats, Index, parts

ALIGNED = 16
"""Columns of inputs are made a multiple of this: gradients of weights then take two thirds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedMLP:
    """Networks after fitting, in evaluation mode.

    Attributes:
        scaler: turns rows of the matrix into inputs of a network (``scaler.whole``).
        networks: one a label; standardised inputs (m, p) to standardised outputs (m, 1), or to
            logits where labels are classes. For instance for ``shap.GradientExplainer``.
        centre: mean of each label over the training rows; 0 for classes.
        scale: its standard deviation; 1 for classes.
        kind: what labels are.
        single: whether labels were of one dimension.
    """

    scaler: Standardised
    networks: list[nn.Sequential]
    centre: Floats
    scale: Floats
    kind: Kind
    single: bool

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """(m,) or (m, t) predictions; probabilities of class 1 where labels were classes."""
        found = np.empty((len(rows), len(self.networks)))
        with torch.inference_mode():
            for part in parts(len(rows), matrix.shape[1]):
                inputs = torch.from_numpy(self.scaler.chunk(matrix, rows[part]))
                for place, network in enumerate(self.networks):
                    outputs = network(inputs)[:, 0].double()
                    if self.kind == "classification":
                        outputs = outputs.sigmoid()
                    found[part, place] = outputs.numpy()
        found = found * self.scale + self.centre
        return stacked(list(found.T), self.single)


@dataclass(frozen=True, kw_only=True, slots=True)
class MLP:
    """Two hidden layers with ReLU and dropout, AdamW, learning rate in one cycle."""

    name: str = "mlp"
    """Name of the head."""
    kind: Kind = "regression"
    """What labels are."""
    hidden: tuple[int, ...] = (256, 64)
    """Widths of the hidden layers."""
    dropout: float = 0.1
    """Share of the hidden units left out of a step."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    batch_size: int = 128
    """Rows in a batch at most; at least eight batches are made of the rows."""
    epochs: int = 12
    """Passes over the rows, at least as many as make ``steps`` steps."""
    steps: int = 600
    """Steps at least."""
    patience: float = 0.3
    """Share of all epochs without a lower error on the inner part before training stops."""
    widest: float = 5.0
    """Standard deviations from the mean at which inputs are limited."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> FittedMLP:
        """See :meth:`crystalssl.evaluation.heads.Head.fit`."""
        keep_freed_memory()
        # one row a label, so that a label is summed as it would be alone
        columns = np.ascontiguousarray(label_columns(labels, rows, self.kind)[rows].T)
        centre, scale = np.zeros(len(columns)), np.ones(len(columns))
        if self.kind == "regression":
            centre, scale = columns.mean(axis=1), columns.std(axis=1)
            scale[scale == 0] = 1.0
        targets = ((columns - centre[:, None]) / scale[:, None]).astype(np.float32)
        scaler = Standardised.fit(matrix, rows, self.widest)
        inputs = torch.from_numpy(scaler.whole(matrix, rows, ALIGNED))
        fit, check = inner_split(rows, groups, seed)
        networks = []
        for target in torch.from_numpy(targets):
            # its own, so that a label gets the same network alone, and beside other fits
            draws = torch.Generator().manual_seed(seed * 1009)
            parts = torch.from_numpy(fit), torch.from_numpy(check)
            network = self._network(len(scaler.low), draws)
            _widen(network[0], inputs.shape[1])
            network = self._train(network, inputs, target, *parts, draws)
            _widen(network[0], len(scaler.low))
            networks.append(network.eval().requires_grad_(False))
        return FittedMLP(
            scaler=scaler,
            networks=networks,
            centre=centre,
            scale=scale,
            kind=self.kind,
            single=labels.ndim == 1,
        )

    def _train(
        self,
        network: nn.Sequential,
        inputs: Tensor,
        target: Tensor,
        fit: Tensor,
        check: Tensor,
        draws: torch.Generator,
    ) -> nn.Sequential:
        """The network with the weights that had the least error on the inner part."""
        batch = max(2, min(self.batch_size, len(fit) // 8))
        per_epoch = max(1, len(fit) // batch)
        epochs = max(self.epochs, -(-self.steps // per_epoch))
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=epochs * per_epoch
        )
        best, kept, since = np.inf, {}, 0
        for _ in range(epochs):
            network.train()
            order = fit[torch.randperm(len(fit), generator=draws)]
            for step in range(per_epoch):
                rows = order[step * batch : (step + 1) * batch]
                optimizer.zero_grad(set_to_none=True)
                loss = self._loss(network(inputs.index_select(0, rows))[:, 0], target[rows])
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
            error = self._error(network, inputs, target, check)
            since += 1
            if error < best:
                best, since = error, 0
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            if since > self.patience * epochs:
                break
        network.load_state_dict(kept)
        return network

    def _network(self, width: int, draws: torch.Generator) -> nn.Sequential:
        """Untrained network."""
        layers: list[nn.Module] = []
        for hidden in self.hidden:
            layers += [_linear(width, hidden, draws), nn.ReLU(), Dropout(self.dropout, draws)]
            width = hidden
        return nn.Sequential(*layers, _linear(width, 1, draws))

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.kind == "classification":
            return nn.functional.binary_cross_entropy_with_logits(outputs, target)
        return nn.functional.mse_loss(outputs, target)

    def _error(self, network: nn.Sequential, inputs: Tensor, target: Tensor, rows: Tensor) -> float:
        """Loss on some rows, without dropout."""
        network.eval()
        with torch.inference_mode():
            outputs = torch.cat([network(inputs[part])[:, 0] for part in torch.split(rows, 4096)])
        return float(self._loss(outputs, target[rows]))


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own."""

    def __init__(self, share: float, draws: torch.Generator) -> None:
        super().__init__()
        self.share, self.draws = share, draws

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs, some of them zero and the others larger while training."""
        if not self.training or not self.share:
            return inputs
        kept = torch.empty_like(inputs).bernoulli_(1 - self.share, generator=self.draws)
        return inputs * kept.div_(1 - self.share)


def _linear(width: int, hidden: int, draws: torch.Generator) -> nn.Linear:
    """A layer as PyTorch begins with, drawn from a generator."""
    layer = nn.Linear(width, hidden, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(width**-0.5), width**-0.5, generator=draws)
    return layer


def _widen(layer: nn.Module, width: int) -> None:
    """Give a layer more inputs, of weight zero, or take such inputs away."""
    known = layer.get_parameter("weight").detach()
    added = known.new_zeros(len(known), max(0, width - known.shape[1]))
    layer.weight = nn.Parameter(torch.cat([known[:, :width], added], dim=1))
    layer.in_features = width  # type: ignore[assignment]  # a linear layer, as of _linear
