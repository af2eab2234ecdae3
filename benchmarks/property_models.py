"""Compare a property model with its parts and with other inputs, on rows that it never saw.

``python benchmarks/property_models.py structures.parquet --target COL [--labels 280] [--ftcp]``.
The table carries a column ``split``: everything is fitted on ``train`` and scored on ``val``, or as
``--fit`` and ``--split`` say; of the 33 k entries encoders have seen ``train`` alone. Rows:
the stack, with ``--finetune`` encoders trained on with labels beside it, every candidate alone,
LightGBM on element statistics, and with ``--ftcp`` the heads on raw FTCP. Prints one row each, and
coverage of the intervals: nested, and on the rows scored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.load import load_valid
from crystalssl.evaluation.baselines import raw_ftcp
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.magpie import magpie_statistics
from crystalssl.evaluation.statistics import scores
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.models.boosting import LightGBM
from crystalssl.models.contract import Head
from crystalssl.models.linear import Ridge
from crystalssl.models.mlp import MLP
from crystalssl.properties.blending import blend
from crystalssl.properties.candidates import shrunk
from crystalssl.properties.cross_validation import Experiment, usual_plan
from crystalssl.properties.describing import Describer
from crystalssl.properties.finetuning import Tuning, tunable_blocks
from crystalssl.properties.finetuning_steps import Finetuning
from crystalssl.properties.fitting import Fit, fit_property
from crystalssl.properties.inputs import (
    Descriptors,
    Inputs,
    arrays_of_inputs,
    frozen_columns,
    inputs_of_arrays,
)
from crystalssl.properties.labels import LabelSource, read_labels
from crystalssl.properties.model import StackedModel
from crystalssl.properties.report import coverage_card
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def main() -> None:
    """Fit on ``train``, score on another split, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--fit", default="train", help="rows that are fitted to")
    parser.add_argument("--split", default="val", help="rows that are scored")
    parser.add_argument("--labels", type=int, default=0, help="labels to fit to; all if 0")
    parser.add_argument("--draw", type=int, default=0, help="seed that draws these labels")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--electronic", default="auto", help="taught, exact, full or off")
    parser.add_argument("--folds", type=int, help="folds; then no cluster is left out: shorter")
    parser.add_argument("--finetune", action="store_true", help="train encoders on with labels")
    parser.add_argument("--ftcp", action="store_true", help="compare with raw FTCP too")
    parser.add_argument("--cache", type=Path, default=Path("property_models.cache"))
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    cache = Cache(asked.cache)
    crystals = load_valid([asked.structures]).crystals
    labels = read_labels(crystals, LabelSource(target=asked.target, task="regression"))
    split = crystals.column("split").astype(str)
    known = np.isfinite(labels.values)
    chosen = [np.flatnonzero(known & (split == name)) for name in (asked.fit, asked.split)]
    if asked.labels:
        mixed = np.random.default_rng(asked.draw).permutation(chosen[0])
        chosen[0] = np.sort(mixed[: asked.labels])
    rows = np.concatenate(chosen)
    config = ExtractorConfig.of(asked.weights, electronic=asked.electronic)
    inputs, kept = describe(crystals.take(rows), config, cache)
    values, count = labels.values[rows][kept], int((kept < len(chosen[0])).sum())
    train, test = np.arange(count), np.arange(count, len(kept))
    experiment = Experiment(
        inputs=inputs.take(train), labels=values[train][:, None], groups=inputs.formulas[train],
        cache=cache, seed=0, workers=asked.workers, nonnegative=labels.nonnegative,
    )  # fmt: skip
    fit, seconds = fitted(experiment, asked.folds)
    nested = coverage_card(fit, experiment.labels)["nested"]
    model, rest, truth = StackedModel.of(fit, experiment.inputs), inputs.take(test), values[test]
    stacked = judge("stack", model, rest, truth, seconds, f"{nested:.3f} nested")
    used = crystals.take(rows[kept])
    if asked.finetune:
        tuned(experiment, fit, used, config, rest, truth)
    for name, single, spent in alone(experiment, fit, inputs, values, train, test):
        show(name, single, truth, spent)
    for name, theirs, held, spent in others(used, values, train, test, cache, asked.ftcp):
        show(f"{name} ({len(held):,} rows)", theirs, values[held], spent)
        at = np.searchsorted(test, held)
        show(f"  stack, same {len(held):,} rows", stacked[at], values[held], 0.0)


def judge(
    name: str, model: StackedModel, inputs: Inputs, truth: Floats, seconds: float, promised: str
) -> Floats:
    """Rows of a model: errors, coverage of its intervals, domain; its predictions."""
    predicted = model.predict(inputs)
    show(name, predicted.values[:, 0], truth, seconds)
    inside = (predicted.lower <= truth) & (truth <= predicted.upper)
    print(f"  90 % intervals hold {promised}, {inside.mean():.3f} of these rows", flush=True)
    error, domain = np.abs(predicted.values[:, 0] - truth), predicted.placement.inside
    if (~domain).any():
        ratio = error[~domain].mean() / error[domain].mean()
        share = (~domain).mean()
        print(f"  outside of the domain {share:.3f}, error there {ratio:.2f} times inside")
    return predicted.values[:, 0]


def tuned(
    experiment: Experiment,
    fit: Fit,
    used: Crystals,
    config: ExtractorConfig,
    rest: Inputs,
    truth: Floats,
) -> None:
    """Rows of encoders trained on with labels, in the stack and alone."""
    start, count = time.perf_counter(), len(experiment.labels)
    corpus = Corpus.from_crystals(canonicalize(used), targets=False)
    tuning = Tuning(
        experiment=experiment,
        corpus=corpus.take(np.arange(count)),
        blocks=tunable_blocks(config.encoders()),
        origin=tuple(config.checksums()),
        settings=Finetuning(),
    )
    joined, told = blend(experiment, fit, tuning, lambda done, text: None)
    seconds = time.perf_counter() - start
    print(f"encoders trained on: weight {told.weight:.2f}, {seconds:,.0f} s")
    if told.encoders is None:
        return
    frozen = rest.matrix[:, frozen_columns(rest)]
    own = told.encoders.predict(corpus.take(np.arange(count, len(corpus))), frozen)
    model = StackedModel.of(joined, experiment.inputs, told.encoders)
    with_own = replace(rest, tuned=own)
    promised = f"{told.coverage:.3f} of the fold held out"
    judge("stack with encoders trained on", model, with_own, truth, seconds, promised)
    show("encoders trained on, alone", own[:, 0], truth, 0.0)


def describe(crystals: Crystals, config: ExtractorConfig, cache: Cache) -> tuple[Inputs, Rows]:
    """Inputs of crystals and the rows that could be described, from the cache or made."""
    settings = {"sha256": config.checksums(), "electrons_from": config.electronic}
    key = cache.key("inputs", settings, data=[crystals.digest()])
    arrays = cache.get(key)
    if arrays is None:
        canonical = canonicalize(crystals)
        none = Descriptors.none(len(canonical.crystals))
        inputs, _ = Describer(extractor=config.extractor()).describe(canonical, none)
        at = {name: row for row, name in enumerate(crystals.ids.tolist())}
        kept = np.array([at[name] for name in inputs.ids.tolist()], dtype=np.int64)
        cache.put(key, {**arrays_of_inputs(inputs), "kept": kept})
        return inputs, kept
    return inputs_of_arrays(arrays), arrays["kept"].astype(np.int64)


def fitted(experiment: Experiment, folds: int | None) -> tuple[Fit, float]:
    """The usual fit, or one of so many folds without clusters, and seconds of the clock."""
    start = time.perf_counter()
    plan = shrunk(usual_plan(experiment), experiment.groups, folds)
    plan = plan if folds is None else replace(plan, clusters=0)
    fit = fit_property(experiment, plan, lambda done, text: None)
    return fit, time.perf_counter() - start


def alone(
    experiment: Experiment, fit: Fit, inputs: Inputs, values: Floats, train: Rows, test: Rows
) -> Iterator[tuple[str, Floats, float]]:
    """Every candidate fitted to all training rows."""
    for candidate in fit.plan.candidates:
        start = time.perf_counter()
        matrix = inputs.matrix[:, inputs.columns(candidate.kinds)[0]]
        head = candidate.head.fit(matrix, train, values, inputs.formulas, experiment.seed)
        yield candidate.name, head.predict(matrix, test), time.perf_counter() - start


def others(
    crystals: Crystals, values: Floats, train: Rows, test: Rows, cache: Cache, ftcp: bool
) -> Iterator[tuple[str, Floats, Rows, float]]:
    """LightGBM on element statistics, and heads on raw FTCP, each on the rows that it holds."""
    data = (values, reduced_formulas(crystals))
    statistics = magpie_statistics(crystals, cache)
    held = np.asarray(np.isfinite(statistics).all(axis=1))
    heads: list[tuple[str, Head]] = [("LightGBM on element statistics", LightGBM())]
    yield from on_rows(heads, statistics, data, train[held[train]], test[held[test]])
    if ftcp:
        raw = raw_ftcp(crystals)  # columns that vary, some 7,000 of 25,200
        heads = [("ridge on raw FTCP", Ridge()), ("networks on raw FTCP", MLP())]
        heads += [("LightGBM on raw FTCP", LightGBM())]
        train, test = train[raw.valid[train]], test[raw.valid[test]]
        yield from on_rows(heads, raw.matrix, data, train, test)


def on_rows(
    heads: list[tuple[str, Head]],
    matrix: npt.NDArray[np.float32],
    data: tuple[Floats, npt.NDArray[np.str_]],
    train: Rows,
    test: Rows,
) -> Iterator[tuple[str, Floats, Rows, float]]:
    """Predictions of heads on one matrix, with labels and formulas of all rows."""
    values, groups = data
    for name, head in heads:
        start = time.perf_counter()
        predicted = head.fit(matrix, train, values, groups, 0).predict(matrix, test)
        yield name, predicted, test, time.perf_counter() - start


def show(name: str, predicted: Floats, truth: Floats, seconds: float) -> None:
    """One row."""
    told = scores(truth, predicted)
    print(
        f"{name:45s} MAE {told['mae']:.4f}  RMSE {told['rmse']:.4f}  R2 {told['r2']:.4f}  "
        f"{seconds:,.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
