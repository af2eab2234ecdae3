"""Encoders trained on with labels, and the network behind them: crystals to predictions.

The network reads the features of the encoders and the user's own columns; those fitted by older
versions read the other frozen inputs too.
Cards of these encoders say which labels they saw, so that nobody takes them for label-free ones.
Trained by finetuning.py, stored as safetensors and JSON in the folder of a property model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor, nn

from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack
from crystalssl.devices import choose_device
from crystalssl.errors import InputError
from crystalssl.features.extract import ready
from crystalssl.files import write_bytes
from crystalssl.hub.weights import load_cards, load_run, new_card, save_weights
from crystalssl.models.contract import Kind
from crystalssl.models.scaling import Scaler
from crystalssl.properties.storage import linear_layers, pack_scaler, shape_of, unpack_scaler

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
FINETUNED, HEAD_FILE = "finetuned", "head.safetensors"
"""Folder in a model, and the network behind its encoders."""
BATCH = {"cpu": 96, "cuda": 1_024}
"""Crystals that are predicted at a time, by device."""
WIDEST = 5.0
"""Standard deviations at which features of the encoders are clipped."""


class TunedNetwork(nn.Module):
    """Encoders, what standardises their features, and a multilayer perceptron.

    Attributes:
        blocks: encoders by name.
        centre: (w,) mean of their features before they were trained on.
        deviation: (w,) standard deviation.
        head: own columns and features of the encoders to one output a label.
    """

    centre: Tensor
    deviation: Tensor

    def __init__(self, blocks: Mapping[str, Block], head: nn.Sequential) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        width = sum(block.width for block in blocks.values())
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.head = head

    def encoders(self) -> dict[str, Block]:
        """The encoders by name."""
        return {name: block for name, block in self.blocks.items() if isinstance(block, Block)}

    def features(self, corpus: Corpus, rows: Index) -> Float[Tensor, "crystal feature"]:
        """Features of the encoders, side by side."""
        made = [
            block.encode(corpus.batch(rows, block)).features.float()
            for block in self.encoders().values()
        ]
        return torch.cat(made, dim=1)

    def forward(
        self, corpus: Corpus, rows: Index, frozen: Float[Tensor, "crystal column"]
    ) -> Float[Tensor, "crystal label"]:
        """Outputs for some rows of a corpus, with their frozen inputs."""
        scaled = (self.features(corpus, rows) - self.centre) / self.deviation
        inputs = torch.cat([frozen, scaled.clamp(-WIDEST, WIDEST)], dim=1)
        outputs: Tensor = self.head(inputs)
        return outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedEncoders:
    """A network after training.

    Attributes:
        network: in evaluation mode.
        scaler: standardisation of the frozen inputs.
        centre: (t,) mean of each label; 0 for classes.
        scale: (t,) its standard deviation; 1 for classes.
        kind: what labels are.
    """

    network: TunedNetwork
    scaler: Scaler
    centre: Floats
    scale: Floats
    kind: Kind

    def predict(
        self, corpus: Corpus, frozen: npt.NDArray[np.float32], device: str | None = None
    ) -> Floats:
        """(m, t) predictions of the crystals of a corpus.

        Args:
            corpus: m crystals.
            frozen: (m, p) their frozen inputs.
            device: where to compute; a CUDA GPU if there is one by default.
        """
        predictions = np.empty((len(corpus), len(self.centre)))
        there = choose_device(device)
        corpus, network = corpus.to(there), self.network.eval()
        with ready(network, there), torch.inference_mode():
            step = BATCH.get(there.type, BATCH["cpu"])
            for rows in pack(np.arange(len(corpus)), corpus.site_counts, step, 64 * step):
                inputs = torch.from_numpy(self.scaler.transform(frozen, rows, np.float32))
                outputs = network(corpus, rows, inputs.to(there)).double()
                if self.kind == "classification":
                    outputs = outputs.sigmoid()
                predictions[rows] = outputs.cpu().numpy()
        return predictions * self.scale + self.centre

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of everything but the encoders."""
        arrays = {
            "centre": self.centre,
            "scale": self.scale,
            "features.centre": self.network.centre.numpy(),
            "features.deviation": self.network.deviation.numpy(),
            **pack_scaler(self.scaler, "scaler"),
        }
        for number, layer in enumerate(linear_layers(self.network.head)):
            arrays[f"{number}.weight"] = layer.weight.detach().numpy()
            arrays[f"{number}.bias"] = layer.bias.detach().numpy()
        return arrays

    def save(self, folder: Path, target: str, labelled: int) -> list[str]:
        """Write encoders with their cards, and the network behind them.

        Args:
            folder: where they go.
            target: whose labels they saw.
            labelled: number of labelled crystals.

        Returns:
            Names of the files, below the folder.
        """
        names = []
        for name, block in self.network.encoders().items():
            card = new_card(block, labels=target, training={"labelled_crystals": labelled})
            save_weights(block, folder / name, card)
            names += [f"{name}/{path.name}" for path in sorted((folder / name).iterdir())]
        arrays = {key: np.ascontiguousarray(value) for key, value in sorted(self.arrays().items())}
        write_bytes(save_arrays(arrays), folder / HEAD_FILE)
        return [*names, HEAD_FILE]


def load_tuned(folder: Path, kind: Kind) -> TunedEncoders:
    """What :meth:`TunedEncoders.save` wrote; the property model's card has the checksums.

    Args:
        folder: where it lies.
        kind: what labels are.

    Raises:
        InputError: if a file is missing or damaged, or a card says no labels.
    """
    unsaid = [name for name, card in load_cards(folder).items() if not card.labels]
    if unsaid:
        raise InputError(f"Cards in {folder} do not say whose labels were seen: {unsaid}.")
    try:
        arrays = load_arrays((folder / HEAD_FILE).read_bytes())
        return tuned_of_arrays(arrays, load_run(folder), kind)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"The encoders in {folder} are damaged ({error}). Copy the folder again, or fit again."
        ) from error


def tuned_of_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], blocks: Mapping[str, Block], kind: Kind
) -> TunedEncoders:
    """A network from its arrays and encoders.

    Raises:
        KeyError: if an array is missing.
        ValueError: if shapes do not fit.
    """
    scaler = unpack_scaler(arrays, "scaler")
    width = len(scaler.columns) + sum(block.width for block in blocks.values())
    shapes: list[int] = []
    while (name := f"{len(shapes)}.weight") in arrays:
        shape_of(arrays[name], len(arrays[f"{len(shapes)}.bias"]), width)
        width = len(arrays[name])
        shapes.append(width)
    if not shapes or width != len(arrays["centre"]):
        raise ValueError(f"got {width} outputs for {len(arrays['centre'])} labels")
    network = TunedNetwork(blocks, head_of(arrays["0.weight"].shape[1], shapes))
    network.centre.copy_(torch.from_numpy(arrays["features.centre"]))
    network.deviation.copy_(torch.from_numpy(arrays["features.deviation"]))
    for number, layer in enumerate(linear_layers(network.head)):
        layer.load_state_dict(
            {
                "weight": torch.from_numpy(arrays[f"{number}.weight"]),
                "bias": torch.from_numpy(arrays[f"{number}.bias"]),
            }
        )
    return TunedEncoders(
        network=network.eval().requires_grad_(False),
        scaler=scaler,
        centre=arrays["centre"],
        scale=arrays["scale"],
        kind=kind,
    )


def head_of(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, none after the last.

    Args:
        inputs: width of the inputs.
        widths: widths of the layers.
    """
    layers: list[nn.Module] = []
    for width in widths:
        if layers:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(inputs, width))
        inputs = width
    return nn.Sequential(*layers)
