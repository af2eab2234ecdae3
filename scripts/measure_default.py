"""What default weights are worth to a linear model, for some weights side by side; resumable.

    python scripts/measure_default.py TABLE --cache FOLDER --weights default RUN

TABLE has columns ``split``, ``formation_energy_per_atom``, ``band_gap`` and moduli in GPa. Ridge
regression on ``train``, scored on ``val``, or once at the end on ``test``: errors of properties,
how linearly extremes of bonds are read, few-shot, effective ranks, least squares against ridge, and
how far compounds lie when elements alone were standardised with. FOLDER keeps the features.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.load import load_crystals
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.physics import with_view
from crystalssl.features.store import load_features, save_parquet
from crystalssl.models.linear import LeastSquares, Ridge
from crystalssl.pretraining.monitors import feature_health
from crystalssl.representation.targets import TARGET_NAMES
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

ENERGY, GAP = "formation_energy_per_atom", "band_gap"
LINEAR = (
    "smallest nearest distance (angstrom)",
    "largest stiffness of a bond (u^-1/2 angstrom^-2)",
)
"""What must be linearly readable."""
FEW = 0.01
SEEDS = 5
RANK_ROWS = 4096
ELEMENTS = 30
"""Elemental crystals that bounds are measured with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Crystals with what is predicted of them.

    Attributes:
        labels: values by name, NaN where there is none.
        train: rows to fit on.
        held: rows to score on.
        groups: reduced formulas.
        elements: rows of one element.
    """

    labels: dict[str, np.ndarray]
    train: np.ndarray
    held: np.ndarray
    groups: np.ndarray
    elements: np.ndarray


def labelled(crystals: Crystals, corpus: Corpus, split: str) -> Labelled:
    """Labels of the table and extremes of the structures."""
    columns = {
        name: np.array(crystals.column(name), dtype=float)
        for name in (ENERGY, GAP, "bulk_modulus_vrh", "shear_modulus_vrh")
    }
    labels = {
        ENERGY: columns[ENERGY],
        GAP: columns[GAP],
        "metal": (columns[GAP] <= 0).astype(float),
    }
    for name, column in (("log10 K", "bulk_modulus_vrh"), ("log10 G", "shear_modulus_vrh")):
        labels[name] = np.log10(np.where(columns[column] > 0, columns[column], np.nan))
    values = corpus.values.numpy()
    labels |= {name: values[:, TARGET_NAMES.index(name)].astype(float) for name in LINEAR}
    part = np.asarray(crystals.column("split")).astype(str)
    return Labelled(
        labels=labels,
        train=np.flatnonzero(part == "train"),
        held=np.flatnonzero(part == split),
        groups=reduced_formulas(crystals),
        elements=np.flatnonzero((corpus_elements(crystals) == 1) & (part == "train")),
    )


def corpus_elements(crystals: Crystals) -> np.ndarray:
    """Number of different elements in each crystal."""
    rows = np.repeat(crystals.crystal_of_site, crystals.numbers.shape[1])
    pairs = np.unique(np.stack([rows, crystals.numbers.ravel()]), axis=1)
    return np.bincount(pairs[0][pairs[1] > 0], minlength=len(crystals))


def views(
    weights: str, source: CanonicalResult, corpus: Corpus, cache: Path, electronic: str
) -> dict[str, Features]:
    """Features of the blocks and of every bottleneck of some weights."""
    made: dict[str, Features] = {}
    base = ExtractorConfig.of(weights, output="blocks", electronic=electronic)
    for output in ("blocks", "bottleneck", "bottleneck_512"):
        config = ExtractorConfig.of(weights, output=output, electronic=electronic)
        sums = "".join(config.checksums()) + config.electronic + str(len(source.crystals))
        path = cache / f"{output}-{hashlib.sha256(sums.encode()).hexdigest()[:12]}.parquet"
        if not path.is_file():
            extractor = config.extractor()
            features = made["blocks"] if output != "blocks" else base.extractor().encode(source)
            if extractor.bottleneck is not None and extractor.bottleneck.reads_physics:
                features = with_view(features, corpus)
            save_parquet(extractor.mix(features), path)
        made[output] = load_features(path)
    return made


def r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Coefficient of determination."""
    return float(1 - np.square(truth - predicted).mean() / truth.var())


def predicted(head: Ridge | LeastSquares, x: np.ndarray, data: Labelled, name: str) -> tuple:
    """True and predicted values of the held rows that have the label."""
    y = data.labels[name]
    train, held = (rows[np.isfinite(y[rows])] for rows in (data.train, data.held))
    model = head.fit(x, train, y, data.groups)
    return y[held], model.predict(x, held)


def few_shot(x: np.ndarray, data: Labelled, name: str) -> float:
    """Mean R2 over repeats with a share of the labels."""
    y, scores = data.labels[name], []
    for seed in range(SEEDS):
        rows = np.random.default_rng(seed).permutation(data.train)
        rows = np.sort(rows[: round(FEW * len(rows))])
        model = Ridge().fit(x, rows, y, data.groups, seed)
        scores.append(r2(y[data.held], model.predict(x, data.held)))
    return float(np.mean(scores))


def furthest(x: np.ndarray, data: Labelled) -> float:
    """Largest |z| of a crystal, standardised with some elements, over five choices of them."""
    worst = 0.0
    for seed in range(SEEDS):
        rows = np.random.default_rng(seed).permutation(data.elements)[:ELEMENTS]
        mean, std = x[rows].mean(0, dtype=float), x[rows].std(0, dtype=float)
        std[std <= 10 * np.finfo(np.float32).eps * np.abs(mean)] = 1.0  # as StandardScaler does
        worst = max(worst, *(float(np.abs((c - mean) / std).max()) for c in np.array_split(x, 16)))
    return worst


def measure(x: np.ndarray, data: Labelled) -> dict[str, float]:
    """All figures of one feature matrix."""
    figures: dict[str, float] = {}
    for name in (ENERGY, GAP):
        truth, made = predicted(Ridge(), x, data, name)
        figures[f"{name} RMSE"] = float(np.sqrt(np.square(truth - made).mean()))
        figures[f"{name} R2, 1 % of labels"] = few_shot(x, data, name)
    truth, made = predicted(LeastSquares(), x, data, ENERGY)
    ols = float(np.sqrt(np.square(truth - made).mean()))
    figures["least squares / ridge"] = ols / figures[f"{ENERGY} RMSE"]
    figures["AUC of metals"] = float(roc_auc_score(*predicted(Ridge(), x, data, "metal")))
    for name in ("log10 K", "log10 G"):
        truth, made = predicted(Ridge(), x, data, name)
        figures[f"{name} MAE"] = float(np.abs(truth - made).mean())
    for name in LINEAR:
        figures[f"R2 of {name}"] = r2(*predicted(Ridge(), x, data, name))
    figures["largest |z| from elements"] = furthest(x, data)
    return figures


def health(features: Features, rows: np.ndarray) -> dict[str, float]:
    """Share of the width that the effective rank is, and dead columns, of every block."""
    figures = {}
    for name, values in features.blocks.items():
        found = feature_health(torch.from_numpy(values[rows]))
        figures[f"rank share of {name}"] = found["effective_rank"] / values.shape[1]
        figures[f"dead columns of {name}"] = found["dead_features"]
    return figures


def main() -> None:
    """Print one table: a row a figure, a column a feature set of some weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights", nargs="+", default=["default"], help="names or folders")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--electronic", default="auto", help="taught, exact, full or off")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    crystals = load_crystals([options.table]).crystals
    part = np.asarray(crystals.column("split")).astype(str)
    source = canonicalize(crystals.take(np.isin(part, ["train", options.split])))
    corpus = Corpus.from_crystals(source)
    data = labelled(source.crystals, corpus, options.split)
    some = data.train[:: max(1, len(data.train) // RANK_ROWS)]
    columns: dict[str, dict[str, float]] = {}
    for weights in options.weights:
        made = views(weights, source, corpus, options.cache, options.electronic)
        for output, features in made.items():
            figures = {**measure(features.matrix, data), **health(features, some)}
            columns[f"{Path(weights).name}/{output}"] = figures
            print(f"{weights} {output} done", flush=True)
    print("\n| |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name in dict.fromkeys(name for figures in columns.values() for name in figures):
        cells = (f"{f[name]:.4f}" if name in f else "" for f in columns.values())
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
