"""Fitted heads, stack, intervals and domain <-> tensors, JSON and LightGBM's text, never pickle.

Each kind of head has one writer and one reader here. Tensors go to one safetensors file, trees to
a text file each; what else there is to say is JSON in the card. Before model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crystalssl.errors import InputError
from crystalssl.models.boosting import FittedLightGBM, import_lightgbm
from crystalssl.models.contract import Fitted, Kind
from crystalssl.models.ensemble import FittedEnsemble
from crystalssl.models.gaussian_process import FittedGaussianProcess
from crystalssl.models.linear import FittedLogistic
from crystalssl.models.linear_boosting import FittedLinearBoosting
from crystalssl.models.mlp import FittedMLP
from crystalssl.models.ridge import LinearModel
from crystalssl.models.scaling import Scaler

Arrays = dict[str, npt.NDArray[Any]]
Texts = dict[str, str]
SCALER = ("centre", "scale", "low", "high", "columns")


def pack(model: Fitted, name: str) -> tuple[str, Arrays, Texts]:
    """The kind of a fitted head, its arrays and its texts, under a name.

    Args:
        model: fitted head.
        name: prefix of its arrays and texts.

    Raises:
        InputError: for a head that cannot be stored.
    """
    if isinstance(model, LinearModel):
        arrays = {
            "coefficients": model.coefficients,
            "intercept": model.intercept,
            "strength": model.strength,
            **pack_scaler(model.scaler, "scaler"),
        }
        return "linear", _prefixed(arrays, name), {}
    if isinstance(model, FittedGaussianProcess):
        fields = ("scales", "points", "weights", "mean", "amplitude", "noise")
        arrays = {field: getattr(model, field) for field in fields}
        for view, (scaler, axes) in enumerate(zip(model.scalers, model.axes, strict=True)):
            arrays |= pack_scaler(scaler, f"view{view}") | {f"view{view}.axes": axes}
        return "gaussian_process", _prefixed(arrays, name), {}
    if isinstance(model, FittedLightGBM):
        texts = {
            f"{name}.{label}.txt": booster.model_to_string(num_iteration=-1)
            for label, booster in enumerate(model.boosters)
        }
        return "lightgbm", {f"{name}.rounds": np.array(model.rounds)}, texts
    if isinstance(model, FittedLinearBoosting):
        arrays = {"named": np.array([model.named]), "axes": model.axes}
        arrays |= pack_scaler(model.scaler, "scaler") | pack(model.linear, "linear")[1]
        _, trees, texts = pack(model.trees, f"{name}.trees")
        if model.residual is not None:
            _, rest, more = pack(model.residual, f"{name}.residual")
            trees, texts = trees | rest, texts | more
        return "lightgbm_linear", _prefixed(arrays, name) | trees, texts
    if isinstance(model, FittedLogistic):
        arrays = {
            "coefficients": np.stack([m.coef_[0] for m in model.models]),
            "intercept": np.array([m.intercept_[0] for m in model.models]),
            "strengths": np.array(model.strengths),
            **pack_scaler(model.scaler, "scaler"),
        }
        return "logistic", _prefixed(arrays, name), {}
    if isinstance(model, FittedMLP):
        return "mlp", _prefixed(_pack_mlp(model), name), {}
    if isinstance(model, FittedEnsemble):
        arrays = {"size": np.array([len(model.members)])}
        for number, member in enumerate(model.members):
            arrays |= pack(member, f"member{number}")[1]
        return "ensemble", _prefixed(arrays, name), {}
    raise InputError(f"A {type(model).__name__} cannot be stored; expected a head of a plan.")


def unpack(
    kind: str, name: str, arrays: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]
) -> Fitted:
    """What :func:`pack` made.

    Raises:
        InputError: if a kind is unknown, an array is missing, or shapes do not fit.
    """
    try:
        return _unpack(kind, below(arrays, name), texts, name)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(
            f"The stored model {name!r} is incomplete or damaged ({error}). Fit it again."
        ) from error


def _unpack(
    kind: str, own: Mapping[str, npt.NDArray[Any]], texts: Texts | Any, name: str
) -> Fitted:
    if kind == "linear":
        scaler = unpack_scaler(own, "scaler")
        shape_of(own["coefficients"], len(scaler.columns), len(own["intercept"]))
        return LinearModel(
            scaler=scaler,
            coefficients=own["coefficients"],
            intercept=own["intercept"],
            strength=own["strength"],
            rank=len(scaler.columns),
            label_shape=own["intercept"].shape,
        )
    if kind == "gaussian_process":
        return _gaussian_process(own)
    if kind == "lightgbm":
        return _trees(own, texts, name)
    if kind == "lightgbm_linear":
        return _linear_boosting(own, texts, name)
    if kind == "logistic":
        return _logistic(own)
    if kind == "mlp":
        return _mlp(own)
    if kind == "ensemble":
        members = [_mlp(below(own, f"member{at}")) for at in range(int(own["size"][0]))]
        return FittedEnsemble(members=list(members), label_shape=members[0].label_shape)
    raise ValueError(f"unknown kind {kind!r}")


def _pack_mlp(model: FittedMLP) -> Arrays:
    """Scaler, labels' scale, and weights of each layer of each network."""
    arrays = {"centre": model.centre, "scale": model.scale, **pack_scaler(model.scaler, "scaler")}
    for label, network in enumerate(model.networks):
        for number, layer in enumerate(linear_layers(network)):
            arrays[f"{label}.{number}.weight"] = layer.weight.detach().numpy()
            arrays[f"{label}.{number}.bias"] = layer.bias.detach().numpy()
    arrays["classes"] = np.array([model.kind == "classification"])
    return arrays


def _mlp(own: Mapping[str, npt.NDArray[Any]]) -> FittedMLP:
    """Networks of linear layers with ReLU between them."""
    scaler = unpack_scaler(own, "scaler")
    labels = len(own["centre"])
    networks = []
    for label in range(labels):
        layers: list[nn.Module] = []
        width = len(scaler.columns)
        while f"{label}.{len(layers) // 2}.weight" in own:
            number = len(layers) // 2
            weight, bias = own[f"{label}.{number}.weight"], own[f"{label}.{number}.bias"]
            shape_of(weight, len(bias), width)
            layer = nn.Linear(width, len(bias), device="meta").to_empty(device="cpu")
            layer.load_state_dict(
                {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
            )
            layers += [layer, nn.ReLU()]
            width = len(bias)
        if width != 1:
            raise ValueError(f"a network ends in {width} outputs, expected 1")
        networks.append(nn.Sequential(*layers[:-1]).eval().requires_grad_(False))
    kind: Kind = "classification" if bool(own["classes"][0]) else "regression"
    return FittedMLP(
        scaler=scaler,
        networks=networks,
        centre=own["centre"],
        scale=own["scale"],
        kind=kind,
        label_shape=(labels,),
    )


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The layers of a network that have weights."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def _gaussian_process(own: Mapping[str, npt.NDArray[Any]]) -> FittedGaussianProcess:
    views = sum(key.endswith(".axes") for key in own)
    scalers = [unpack_scaler(own, f"view{view}") for view in range(views)]
    axes = [own[f"view{view}.axes"] for view in range(views)]
    width = sum(turned.shape[1] for turned in axes)
    for scaler, turned in zip(scalers, axes, strict=True):
        shape_of(turned, len(scaler.columns), turned.shape[1])
    labels = len(own["mean"])
    shape_of(own["scales"], labels, width)
    shape_of(own["points"], len(own["weights"]), width)
    fields = ("scales", "points", "weights", "mean", "amplitude", "noise")
    return FittedGaussianProcess(
        scalers=scalers,
        axes=axes,
        **{field: own[field] for field in fields},
        label_shape=(labels,),
    )


def _trees(own: Mapping[str, npt.NDArray[Any]], texts: Texts | Any, name: str) -> FittedLightGBM:
    """A booster a label, of LightGBM's text."""
    lightgbm = import_lightgbm()
    rounds = own["rounds"].tolist()
    try:
        boosters = [
            lightgbm.Booster(model_str=texts[f"{name}.{label}.txt"]) for label in range(len(rounds))
        ]
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(str(error)) from error
    return FittedLightGBM(boosters=boosters, rounds=rounds, label_shape=(len(rounds),))


def _linear_boosting(
    own: Mapping[str, npt.NDArray[Any]], texts: Texts | Any, name: str
) -> FittedLinearBoosting:
    """Ridge, principal axes, and trees on both."""
    scaler, axes = unpack_scaler(own, "scaler"), own["axes"]
    linear = _unpack("linear", below(own, "linear"), texts, name)
    if not isinstance(linear, LinearModel):
        raise ValueError("expected a linear model")
    trees = _trees(below(own, "trees"), texts, f"{name}.trees")
    rest = below(own, "residual")  # none for classes
    residual = _trees(rest, texts, f"{name}.residual") if rest else None
    labels = len(trees.boosters)
    named, scores = int(own["named"][0]), axes.shape[1] if axes.ndim == 2 else 0
    shape_of(axes, len(scaler.columns), scores)
    shape_of(linear.coefficients, len(linear.scaler.columns), labels)
    boosters = trees.boosters + (residual.boosters if residual else [])
    if residual and len(residual.boosters) != labels:
        raise ValueError("trees on residuals predict another number of labels")
    if any(booster.num_feature() != named + scores + labels for booster in boosters):
        raise ValueError("trees read other columns than there are")
    return FittedLinearBoosting(
        named=named,
        scaler=scaler,
        axes=axes,
        linear=linear,
        trees=trees,
        residual=residual,
        label_shape=(labels,),
    )


def _logistic(own: Mapping[str, npt.NDArray[Any]]) -> FittedLogistic:
    from sklearn.linear_model import LogisticRegression

    scaler, models = unpack_scaler(own, "scaler"), []
    shape_of(own["coefficients"], len(own["intercept"]), len(scaler.columns))
    for coefficients, intercept in zip(own["coefficients"], own["intercept"], strict=True):
        model = LogisticRegression()
        model.coef_, model.intercept_ = coefficients[None], np.array([intercept])
        model.classes_, model.n_features_in_ = np.array([0.0, 1.0]), len(coefficients)
        models.append(model)
    return FittedLogistic(
        scaler=scaler,
        models=models,
        strengths=own["strengths"].tolist(),
        label_shape=(len(models),),
    )


def pack_scaler(scaler: Scaler, name: str) -> Arrays:
    """Arrays of a scaler under a name."""
    return {f"{name}.{field}": getattr(scaler, field) for field in SCALER}


def unpack_scaler(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Scaler:
    """What :func:`pack_scaler` made.

    Raises:
        ValueError: if its arrays differ in length, or do not rise.
    """
    own = {field: arrays[f"{name}.{field}"] for field in SCALER}
    if len({values.shape for values in own.values()}) != 1 or own["columns"].ndim != 1:
        raise ValueError(f"scaler {name!r} has arrays of several lengths")
    if (own["columns"] < 0).any() or (np.diff(own["columns"]) <= 0).any():
        raise ValueError(f"columns of scaler {name!r} do not rise")
    return Scaler(**own)


def shape_of(values: npt.NDArray[Any], rows: int, columns: int) -> None:
    """Make sure of a shape.

    Raises:
        ValueError: if it is another.
    """
    if values.shape != (rows, columns):
        raise ValueError(f"got an array of shape {values.shape}, expected {(rows, columns)}")


def below(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Arrays:
    """Arrays under a name, without it."""
    start = f"{name}."
    return {key[len(start) :]: values for key, values in arrays.items() if key.startswith(start)}


def _prefixed(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Arrays:
    return {f"{name}.{key}": np.ascontiguousarray(values) for key, values in arrays.items()}
