"""Multilayer perceptron head, in PyTorch: dropout, early stopping on an inner part of the rows.

Inputs and target are standardised with the training rows, inputs clipped to the range seen there.
Seeded and deterministic on a CPU; rows are standardised in chunks, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crystalssl.allocator import keep_freed_memory
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.contract import Fitted, Head, Kind, Training
from crystalssl.models.scaling import Scaler, fit_scaler

SMOOTH = 0.1
"""Error in standard deviations of the label below which an absolute error counts squared."""
ALIGNED = 16
"""Columns of inputs are made a multiple of this: gradients of weights then take two thirds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedMLP(Fitted):
    """Networks after fitting, in evaluation mode.

    Attributes:
        scaler: turns rows of the matrix into inputs of a network (``scaler.transform``).
        networks: one a label; standardised inputs (m, p) to standardised outputs (m, 1), or to
            logits where labels are classes. For instance for ``shap.GradientExplainer``.
        centre: (t,) mean of each label over the training rows; 0 for classes.
        scale: (t,) its standard deviation; 1 for classes.
        kind: what labels are.
    """

    scaler: Scaler
    networks: list[nn.Sequential]
    centre: Floats
    scale: Floats
    kind: Kind

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        inputs = torch.from_numpy(self.scaler.transform(matrix, rows, np.float32))
        with torch.inference_mode():
            outputs = [network(inputs).double() for network in self.networks]
            if self.kind == "classification":
                outputs = [logits.sigmoid() for logits in outputs]
        predictions: Floats = torch.cat(outputs, dim=1).numpy() * self.scale + self.centre  # (m, t)
        return predictions


@dataclass(frozen=True, kw_only=True, slots=True)
class MLP(Head):
    """Two hidden layers with ReLU and dropout, AdamW, learning rate in one cycle."""

    name: str = "mlp"
    """Name in the registry."""
    hidden: tuple[int, ...] = (256, 64)
    """Widths of the hidden layers."""
    dropout: float = 0.1
    """Fraction of the hidden units left out of a step."""
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
    """Fraction of all epochs without a lower error on the inner part before training stops."""
    widest: float = 5.0
    """Standard deviations from the mean at which inputs are clipped."""
    absolute: bool = False
    """Whether absolute errors are minimised, smoothed near zero, and not squared ones."""

    def _fit(self, data: Training) -> FittedMLP:
        keep_freed_memory()
        labels = data.targets  # (t, k)
        centre, scale = np.zeros(len(labels)), np.ones(len(labels))
        if self.kind == "regression":
            centre, scale = labels.mean(axis=1), labels.std(axis=1)
            scale[scale == 0] = 1.0
        targets = ((labels - centre[:, None]) / scale[:, None]).astype(np.float32)
        scaler = fit_scaler(data.matrix, data.rows).clipped(self.widest)
        width = len(scaler.columns)
        inputs = torch.from_numpy(scaler.transform(data.matrix, data.rows, np.float32, ALIGNED))
        fit, check = map(torch.from_numpy, data.inner_split())
        networks = []
        for target in torch.from_numpy(targets):
            # one each, so that a label gets the same network alone, and beside other fits
            generator = torch.Generator().manual_seed(data.seed * 1009)
            network = self._network(width, generator)
            _set_inputs(network[0], inputs.shape[1])
            self._train(network, (inputs, target), fit, check, generator)
            _set_inputs(network[0], width)
            networks.append(network.eval().requires_grad_(False))
        return FittedMLP(
            scaler=scaler,
            networks=networks,
            centre=centre,
            scale=scale,
            kind=self.kind,
            label_shape=data.label_shape,
        )

    def _train(
        self,
        network: nn.Sequential,
        data: tuple[Tensor, Tensor],
        fit: Tensor,
        check: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Leave the network with the weights that had the least error on the inner part."""
        inputs, target = data  # (k, p), (k,)
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
        least, weights, since = np.inf, {}, 0
        for _ in range(epochs):
            network.train()
            order = fit[torch.randperm(len(fit), generator=generator)]
            for rows in torch.split(order[: per_epoch * batch], batch):
                optimizer.zero_grad(set_to_none=True)
                loss = self._loss(network(inputs.index_select(0, rows))[:, 0], target[rows])
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
            network.eval()
            with torch.inference_mode():
                outputs = torch.cat(
                    [network(inputs[rows])[:, 0] for rows in torch.split(check, 4096)]
                )
            error = float(self._loss(outputs, target[check]))
            since += 1
            if error < least:
                least, since = error, 0
                weights = {name: value.clone() for name, value in network.state_dict().items()}
            if since > self.patience * epochs:
                break
        network.load_state_dict(weights)

    def _network(self, width: int, generator: torch.Generator) -> nn.Sequential:
        """Untrained network."""
        layers: list[nn.Module] = []
        for hidden in self.hidden:
            layers += [
                _linear(width, hidden, generator),
                nn.ReLU(),
                Dropout(self.dropout, generator),
            ]
            width = hidden
        return nn.Sequential(*layers, _linear(width, 1, generator))

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        if self.kind == "classification":
            return nn.functional.binary_cross_entropy_with_logits(outputs, target)
        if self.absolute:
            return nn.functional.smooth_l1_loss(outputs, target, beta=SMOOTH)
        return nn.functional.mse_loss(outputs, target)


class Dropout(nn.Module):
    """Dropout with a random generator of its own."""

    def __init__(self, fraction: float, generator: torch.Generator) -> None:
        super().__init__()
        self.fraction, self.generator = fraction, generator

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs, some of them zero and the others larger while training."""
        if not self.training or not self.fraction:
            return inputs
        kept = torch.empty_like(inputs).bernoulli_(1 - self.fraction, generator=self.generator)
        return inputs * kept.div_(1 - self.fraction)


def _linear(width: int, hidden: int, generator: torch.Generator) -> nn.Linear:
    """A layer as PyTorch begins with, with a random generator."""
    layer = nn.Linear(width, hidden, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)
    return layer


def _set_inputs(layer: nn.Module, width: int) -> None:
    """Give a layer more inputs, of weight zero, or take such inputs away."""
    known = layer.get_parameter("weight").detach()
    added = known.new_zeros(len(known), max(0, width - known.shape[1]))
    layer.weight = nn.Parameter(torch.cat([known[:, :width], added], dim=1))
    layer.in_features = width  # type: ignore[assignment]  # a linear layer, as of _linear
