"""A folder of a property model as ``fit`` and ``run`` leave it, with made-up numbers."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.properties.folder import OUT_OF_FOLD

COUNT, REPEATS, LEVEL = 140, 2, 0.9
FORMULAS = ("Li7La3Zr2O12", "Li3PS4", "LiCl", "Li3N", "LiAl", "Li6PS5Cl", "LiTi2P3O12")


def _metric(mean, half):
    return {"mean": mean, "standard_deviation": half / 2, "low": mean - half, "high": mean + half}


def _score(rmse, r2, note=""):
    metrics = {"rmse": _metric(rmse, 0.1), "mae": _metric(0.8 * rmse, 0.1), "r2": _metric(r2, 0.08)}
    return {"rows": COUNT, "metrics": metrics, "note": note}


def write_property(folder, ids=None, target="log10(conductivity)"):
    """Write card, predictions, learning curve and overlap below ``models``; give the folder."""
    rng = np.random.default_rng(3)
    ids = [f"x-{i}" for i in range(COUNT)] if ids is None else list(ids[:COUNT])
    true = rng.normal(-6, 3, COUNT)
    tables = []
    for repeat in range(REPEATS):
        predicted = true + rng.normal(0, 1.2, COUNT)
        predicted[5] = true[5] + 9.0
        half = rng.uniform(1.5, 2.5, COUNT)
        tables.append(
            pa.table(
                {
                    "immutable_id": ids,
                    "formula": [FORMULAS[i % len(FORMULAS)] for i in range(COUNT)],
                    "repeat": pa.array([repeat] * COUNT, pa.int32()),
                    "fold": pa.array(np.arange(COUNT) % 5, pa.int32()),
                    "true": true,
                    "predicted": predicted,
                    "lower": predicted - half,
                    "upper": predicted + half,
                    "in_domain": [i % 17 != 0 for i in range(COUNT)],
                    "nearest": [[ids[(i + k) % COUNT] for k in (1, 2, 3)] for i in range(COUNT)],
                }
            )
        )
    out = folder / "models" / "log10_conductivity"
    out.mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), out / OUT_OF_FOLD)
    sizes = np.repeat([12, 25, 50, 80, 112], 5)
    curve = {
        "repeat": pa.array(np.tile(np.arange(5), 5), pa.int32()),
        "n_train": pa.array(sizes, pa.int32()),
        "n_test": pa.array([28] * 25, pa.int32()),
        "rmse": 4 * sizes**-0.2 + rng.normal(0, 0.05, 25),
        "mae": 3 * sizes**-0.2,
    }
    pq.write_table(pa.table(curve), out / "learning_curve.parquet")
    overlap = {
        "weights": "default",
        "unknown": "",
        "counts": {
            "tested": COUNT, "tested formulas": 7, "tested formulas seen": 2,
            "tested with a seen formula": 40, "tested structures seen": 7,
        },
    }  # fmt: skip
    (out / "overlap.json").write_text(json.dumps(overlap))
    card = {
        "kind": "property model", "format": 1, "target": target, "column": "conductivity",
        "unit": "log10(S/cm)", "transform": "log10", "counts": {"labelled": COUNT, "bounds": 3},
        "plan": {"folds": 5, "repeats": REPEATS, "notes": []},
        "metrics": {
            "model": _score(1.45, 0.77), "mean": _score(3.0, -0.01),
            "element statistics": _score(1.9, 0.6),
        },
        "candidates": [
            {"name": "gaussian_process on features", "weight": 0.6,
             "metrics": {"rmse": 1.5, "mae": 1.2, "r2": 0.75}},
            {"name": "lightgbm on physics", "weight": 0.4,
             "metrics": {"rmse": 1.6, "mae": 1.3, "r2": 0.72}},
        ],
        "coverage": {
            "level": LEVEL, "nested": 0.893, "clusters_left_out": {"coverage": 0.84, "rmse": 1.9},
        },
    }  # fmt: skip
    (out / "card.json").write_text(json.dumps(card))
    return out


CLASSES = ("insulator", "metal", "semiconductor")


def write_classes(folder, wrong=12):
    """The same for a model of classes: the first are wrong, the very first most surely."""
    true = np.array(CLASSES)[np.arange(COUNT) % 3]
    position = np.arange(COUNT) % 3
    ids = [f"x-{i}" for i in range(COUNT)]
    tables = []
    for repeat in range(REPEATS):
        shares = np.full((COUNT, 3), 0.1)
        best = np.where(np.arange(COUNT) < wrong, (position + 1) % 3, position)
        shares[np.arange(COUNT), best] = 0.8
        shares[0] = np.where(np.arange(3) == best[0], 0.98, 0.01)
        columns = {
            "immutable_id": ids,
            "formula": [FORMULAS[i % len(FORMULAS)] for i in range(COUNT)],
            "repeat": pa.array([repeat] * COUNT, pa.int32()),
            "fold": pa.array(np.arange(COUNT) % 5, pa.int32()),
            "true": true.tolist(),
            "predicted": np.array(CLASSES)[best].tolist(),
            **{f"probability_{name}": shares[:, at] for at, name in enumerate(CLASSES)},
            "in_domain": [True] * COUNT,
            "nearest": [[ids[(i + k) % COUNT] for k in (1, 2, 3)] for i in range(COUNT)],
        }
        tables.append(pa.table(columns))
    out = folder / "models" / "conducts"
    out.mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), out / OUT_OF_FOLD)

    def score(value):
        names = ("accuracy", "balanced_accuracy", "auc", "log_loss")
        return {"rows": COUNT, "metrics": {name: _metric(value, 0.03) for name in names}}

    card = {
        "kind": "property model", "format": 1, "target": "conducts", "column": "conducts",
        "task": "classification", "classes": list(CLASSES), "counts": {"labelled": COUNT},
        "plan": {"folds": 5, "repeats": REPEATS, "notes": []},
        "metrics": {
            "model": score(0.91), "mean": score(0.33), "element statistics": score(0.8)
        },
        "candidates": [
            {"name": "lightgbm on physics", "weight": 1.0, "metrics": {"accuracy": 0.9}}
        ],
        "coverage": {
            "calibration_error": 0.02, "clusters_left_out": {"balanced_accuracy": 0.7}
        },
        "finetuned": {
            "labels": "conducts", "blocks": ["composition", "sites"], "weight": 0.25,
            "held out": 28, "metrics": {"log_loss": 0.31}, "metrics without": {"log_loss": 0.35},
            "metrics alone": {"log_loss": 0.4},
        },
    }  # fmt: skip
    (out / "card.json").write_text(json.dumps(card))
    return out
