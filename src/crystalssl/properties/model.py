"""A folder of arrays, trees and a card <-> a property model that predicts.

Prediction takes inputs (columns of crystals) and gives values, intervals, domain and nearest
labelled crystals. Files are compared with the checksums of the card before anything of them is
used. After fitting.py and storage.py; structures.py turns structures into inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from crystalssl.errors import InputError
from crystalssl.files import check
from crystalssl.models.contract import Fitted, Kind
from crystalssl.properties.calibration import Calibration
from crystalssl.properties.card import PropertyCard
from crystalssl.properties.domain import Domain, Placement
from crystalssl.properties.fitting import Fit, feature_columns, predict_stacked
from crystalssl.properties.inputs import Inputs, Section
from crystalssl.properties.intervals import LEVEL, Intervals
from crystalssl.properties.stacking import Stack
from crystalssl.properties.storage import pack, pack_scaler, unpack, unpack_scaler
from crystalssl.properties.tuned_encoders import FINETUNED, TunedEncoders, load_tuned

Floats = npt.NDArray[np.float64]
ARRAYS_FILE = "model.safetensors"
"""File of all arrays."""
REMEDY = "Copy the folder again, or fit again."


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Predictions of m crystals.

    Attributes:
        ids: (m,) ids.
        values: (m, t) predictions; probabilities of classes.
        lower: (m,) lower end of the interval.
        upper: (m,) upper end.
        expected_error: (m,) absolute error to be expected.
        placement: domain and nearest labelled crystals.
        known_formula: (m,) whether a labelled crystal has the same formula.
    """

    ids: npt.NDArray[np.str_]
    values: Floats
    lower: Floats
    upper: Floats
    expected_error: Floats
    placement: Placement
    known_formula: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class StackedModel:
    """Fitted candidates, how they are stacked, and what intervals and domain need.

    Attributes:
        sections: columns that are read.
        models: kinds of section and fitted head of each candidate with a weight.
        stack: their weights.
        calibration: of the probabilities of classes; None for numbers.
        intervals: half widths.
        domain: region that labelled crystals cover.
        formulas: sorted formulas of labelled crystals.
        reference: (p,) mean of every column over labelled crystals.
        tuned: encoders trained on with labels, the last candidate of the stack; or None.
    """

    sections: tuple[Section, ...]
    models: tuple[tuple[tuple[str, ...], Fitted], ...]
    stack: Stack
    calibration: Calibration | None
    intervals: Intervals
    domain: Domain
    formulas: npt.NDArray[np.str_]
    reference: npt.NDArray[np.float32]
    tuned: TunedEncoders | None = None

    @staticmethod
    def of(fit: Fit, inputs: Inputs, tuned: TunedEncoders | None = None) -> StackedModel:
        """The model behind a fit.

        Args:
            fit: what was fitted.
            inputs: to what.
            tuned: encoders trained on with labels, if they are in the stack.
        """
        kept = fit.stack.weights > 0
        stack = Stack(
            weights=fit.stack.weights[kept],
            centre=fit.stack.centre,
            low=fit.stack.low,
            high=fit.stack.high,
        )
        return StackedModel(
            sections=inputs.sections,
            models=tuple((candidate.kinds, model) for candidate, model in fit.models),
            stack=stack,
            calibration=fit.calibration,
            intervals=fit.intervals,
            domain=fit.domain,
            formulas=np.unique(inputs.formulas),
            reference=inputs.matrix.mean(axis=0, dtype=np.float64).astype(np.float32),
            tuned=tuned,
        )

    def candidates(self, inputs: Inputs) -> Floats:
        """(m, c, t) predictions of every candidate.

        Raises:
            InputError: if the columns are not those that the model was fitted to.
        """
        if [(s.name, len(s.columns)) for s in inputs.sections] != [
            (s.name, len(s.columns)) for s in self.sections
        ]:
            raise InputError(
                "The crystals were described with other columns than those that the model was "
                "fitted to. Use the version of crystalssl and the weights that it names."
            )
        labels = len(self.stack.centre)
        predictions = np.zeros((len(inputs), len(self.models), labels))
        for at, (kinds, model) in enumerate(self.models):
            matrix = inputs.matrix[:, inputs.columns(kinds)[0]]
            predictions[:, at] = model.predict(matrix).reshape(len(inputs), labels)
        if self.tuned is None:
            return predictions
        if inputs.tuned is None:
            raise InputError(
                "The model holds encoders trained on with labels, but the crystals were described "
                "without them. Give it structures, or what its own describer() makes of them."
            )
        return np.concatenate([predictions, inputs.tuned[:, None]], axis=1)

    def combine(self, candidates: Floats) -> Floats:
        """(m, t) predictions of (m, c, t) predictions of candidates."""
        return predict_stacked(self.stack, self.calibration, candidates)

    def predict(self, inputs: Inputs, level: float = LEVEL) -> Predictions:
        """Predict crystals.

        Args:
            inputs: m crystals.
            level: share of crystals that intervals are to hold.
        """
        candidates = self.candidates(inputs)
        matrix = inputs.matrix[:, feature_columns(inputs)]
        placement = self.domain.place(matrix, inputs.elements)
        disagreement = self.stack.disagreement(candidates)
        values = self.combine(candidates)
        half = self.intervals.half_width(disagreement, placement.distance, level)
        expected = self.intervals.expected(disagreement, placement.distance)
        lower, upper = self.stack.interval(values[:, 0], half)
        return Predictions(
            ids=inputs.ids,
            values=values,
            lower=lower,
            upper=upper,
            expected_error=expected,
            placement=replace(placement, inside=placement.inside & self.intervals.usual(expected)),
            known_formula=np.isin(inputs.formulas, self.formulas),
        )

    def pack(self) -> tuple[bytes, dict[str, str], list[str]]:
        """Arrays as safetensors, texts by file name, and the kind of each stored head."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "stack.weights": self.stack.weights,
            "stack.centre": self.stack.centre,
            "stack.ends": np.array([self.stack.low, self.stack.high]),
            "intervals.scale": self.intervals.scale,
            "intervals.floor": np.array([self.intervals.floor]),
            "intervals.ratios": self.intervals.ratios,
            "intervals.count": np.array([self.intervals.count]),
            "intervals.limit": np.array([self.intervals.limit]),
            "domain.axes": self.domain.axes,
            "domain.points": self.domain.points,
            "domain.elements": self.domain.elements,
            "domain.own": self.domain.own,
            "domain.ids": text_bytes(self.domain.ids),
            "formulas": text_bytes(self.formulas),
            "reference": self.reference,
            **pack_scaler(self.domain.scaler, "domain.scaler"),
        }
        if self.calibration is not None:
            arrays["calibration"] = np.array([self.calibration.slope, *self.calibration.bias])
        texts: dict[str, str] = {}
        kinds = []
        for at, (_, model) in enumerate(self.models):
            kind, more, files = pack(model, f"candidate_{at}")
            arrays |= more
            texts |= files
            kinds.append(kind)
        packed = {name: np.ascontiguousarray(values) for name, values in sorted(arrays.items())}
        return save_arrays(packed), texts, kinds


def load_model(folder: Path, card: PropertyCard) -> StackedModel:
    """Read the model of a folder.

    Raises:
        InputError: if a file is missing, not the one that the card describes, or does not fit.
    """
    check(card.files, folder, REMEDY)
    for name in (ARRAYS_FILE,):
        if name not in card.files:
            raise InputError(f"The card in {folder} names no {name}. {REMEDY}")
    try:
        arrays = load_arrays((folder / ARRAYS_FILE).read_bytes())
    except (OSError, SafetensorError) as error:
        raise InputError(f"Cannot read {folder / ARRAYS_FILE} ({error}). {REMEDY}") from error
    texts = {
        name: (folder / name).read_text(encoding="utf-8")
        for name in card.files
        if name.endswith(".txt") and Path(name).name == name
    }
    try:
        tuned = load_tuned(folder / FINETUNED, _kind(card)) if card.finetuned else None
        return _unpacked(arrays, texts, card, tuned)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"The model in {folder} does not fit its card ({error}). {REMEDY}"
        ) from error


def _unpacked(
    arrays: Mapping[str, npt.NDArray[Any]],
    texts: Mapping[str, str],
    card: PropertyCard,
    tuned: TunedEncoders | None,
) -> StackedModel:
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all() and name != "stack.ends":
            raise ValueError(f"{name!r} holds NaN or infinity")
    used = [entry for entry in card.candidates if entry.stored]
    models = tuple(
        (
            tuple(entry.kinds),
            unpack(entry.stored, f"candidate_{at}", arrays, texts),
        )
        for at, entry in enumerate(used)
    )
    low, high = arrays["stack.ends"].tolist()
    if len(arrays["stack.weights"]) != len(models) + (tuned is not None):
        raise ValueError("weights and candidates differ in number")
    return StackedModel(
        sections=tuple(
            Section(name=s.name, kind=s.kind, columns=tuple(s.columns)) for s in card.sections
        ),
        models=models,
        stack=Stack(
            weights=arrays["stack.weights"], centre=arrays["stack.centre"], low=low, high=high
        ),
        calibration=_calibration(arrays, card),
        intervals=Intervals(
            scale=arrays["intervals.scale"],
            floor=float(arrays["intervals.floor"][0]),
            ratios=arrays["intervals.ratios"],
            count=int(arrays["intervals.count"][0]),
            # models from before this rule know no limit
            limit=float(arrays["intervals.limit"][0]) if "intervals.limit" in arrays else math.inf,
        ),
        domain=Domain(
            scaler=unpack_scaler(arrays, "domain.scaler"),
            axes=arrays["domain.axes"],
            points=arrays["domain.points"],
            ids=text_array(arrays["domain.ids"]),
            elements=arrays["domain.elements"].astype(bool),
            own=arrays["domain.own"],
        ),
        formulas=text_array(arrays["formulas"]),
        reference=arrays["reference"],
        tuned=tuned,
    )


def _kind(card: PropertyCard) -> Kind:
    return "classification" if card.task == "classification" else "regression"


def _calibration(arrays: Mapping[str, npt.NDArray[Any]], card: PropertyCard) -> Calibration | None:
    if card.task != "classification":
        return None
    slope, *bias = arrays["calibration"].tolist()
    if len(bias) != len(card.classes):
        raise ValueError("classes and their calibration differ in number")
    return Calibration(slope=slope, bias=np.array(bias))


def text_bytes(texts: npt.NDArray[np.str_]) -> npt.NDArray[np.uint8]:
    """Texts as UTF-8 with a NUL between them, which no id holds."""
    return np.frombuffer("\0".join(map(str, texts)).encode(), dtype=np.uint8)


def text_array(content: npt.NDArray[np.uint8]) -> npt.NDArray[np.str_]:
    """What :func:`text_bytes` made."""
    return np.array(content.tobytes().decode().split("\0"), dtype=np.str_)
