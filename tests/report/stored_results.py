"""Made-up results of every scenario, written as the evaluations write them; nothing is fitted."""

from dataclasses import replace

import numpy as np

from crystalssl.blocks.registry import list_blocks
from crystalssl.evaluation.results import MEAN, Results, Verdict, prediction_table
from small_results import LABELS, TARGET, cell, difference, record, row, summary

NAMES = LABELS | {"raw_ftcp_pca": "Raw FTCP, PCA 20", "bottleneck": "Bottleneck of these"}
ERRORS = {"raw_ftcp": 0.814, "raw_ftcp_pca": 0.93, "magpie": 0.389, "untrained": 0.79,
          "ssl": 0.413, "bottleneck": 0.4}  # fmt: skip
REACH = {"magpie": 0.05}
"""Half an interval where it is not 0.03: that to Magpie includes zero."""


def verdict(entry, where="ridge"):
    """The claim of a difference, worded as the evaluation words it."""
    ours, other = (NAMES.get(name, name) for name in (entry.feature_set, entry.baseline))
    return Verdict(
        target=entry.target, claim=f"{ours}: better {entry.metric.upper()} than {other}, {where}",
        failed=bool(entry.gain <= 0), evidence=f"gain {entry.gain:.3g}",
        significant=bool(entry.gain > 0 and entry.significant),
    )  # fmt: skip


def linear_probe(fractions=(1.0,), splits=("held-out",), target=TARGET, crystals=116):
    """Ridge and least squares; Magpie statistics are a little better, not significantly."""
    rng = np.random.default_rng(0)
    true = rng.normal(-1.4, 1.0, crystals)
    summaries, differences, rows, cells = [], [], [], []
    for split in splits:
        for fraction in fractions:
            same = {"split": split, "train_fraction": fraction, "target": target}
            worse = 1.1 - 0.1 * fraction
            for head, more in (("ols", 0.01), ("ridge", 0.0)):
                for name, base in ERRORS.items():
                    error = worse * base + more
                    spec = same | {"head": head, "n_features": 2048}
                    summaries += [summary(name, "rmse", error, **spec),
                                  summary(name, "mae", 0.8 * error, **spec),
                                  summary(name, "r2", 1 - error**2, **spec)]  # fmt: skip
                    rows.append(row(name, "rmse", error, **spec, n_test=crystals))
                    noise = error * rng.normal(size=crystals)
                    cells.append(cell(name, true, true + noise, **spec))
                for name in ("raw_ftcp", "raw_ftcp_pca", "magpie", "untrained"):
                    for ours in ("ssl", "bottleneck"):
                        entry = difference(
                            ours, name, "rmse", worse * (ERRORS[ours] - ERRORS[name]),
                            REACH.get(name, 0.03), head=head, baseline_head=head, **same,
                        )  # fmt: skip
                        values = {"value": worse * ERRORS[ours] + more,
                                  "baseline_value": worse * ERRORS[name] + more}  # fmt: skip
                        differences.append(replace(entry, **values))
            for metric, value in (("rmse", 0.988), ("mae", 0.796), ("r2", -0.021)):
                spec = same | {"head": MEAN, "n_features": 0}
                summaries.append(summary(MEAN, metric, value, **spec))
    verdicts = [verdict(d) for d in differences if (d.head, d.feature_set) == ("ridge", "ssl")]
    kept = replace(
        record("linear_probe", **{"not held by raw_ftcp": 1}),
        proposed=["ssl", "bottleneck"], labels=NAMES, verdicts=verdicts,
    )  # fmt: skip
    return Results(
        record=kept, rows=tuple(rows), summary=tuple(summaries), differences=tuple(differences),
        predictions=prediction_table(cells),
    )  # fmt: skip


def few_shot(fractions=(0.05, 0.1, 1.0)):
    """Proposed features win with ridge, tie with trees; the residual holds something for them."""
    gain = {"raw_ftcp": 0.0, "magpie": 0.05, "untrained": 0.1, "ssl": 0.2, "hybrid": 0.18}
    summaries, differences = [], []
    for fraction in fractions:
        level = 0.5 + 0.1 * np.log10(100 * fraction)
        same = {"train_fraction": fraction, "n_train": round(290 * fraction)}
        for head, shift in (("ridge", 0.0), ("lightgbm", 0.15)):
            for name, more in gain.items():
                r2 = level + shift + more * (1 - 4 * shift)
                spec = same | {"head": head}
                summaries += [summary(name, "r2", r2, **spec),
                              summary(name, "rmse", 1.2 - r2, **spec)]  # fmt: skip
                if name in ("ssl", "hybrid"):
                    best = {"baseline_head": "lightgbm", "best_head": True}
                    entry = difference(name, "raw_ftcp", "r2", r2 - level - 0.15, **spec, **best)
                    differences.append(replace(entry, value=r2, baseline_value=level + 0.15))
        for name, value in (("ssl", 0.12), ("untrained", -0.02)):
            spec = same | {"head": "mlp"}
            summaries.append(summary(f"raw_ftcp > {name}", "contribution", value, **spec))
            summaries.append(summary(f"raw_ftcp > {name}", "r2", 0.7 + value / 4, **spec))
        summaries.append(summary("raw_ftcp", "r2", 0.7, **same, head="mlp"))
    verdicts = [verdict(d, f"{d.head}, best head") for d in differences if d.feature_set == "ssl"]
    kept = replace(record("few_shot"), proposed=["ssl", "hybrid"], verdicts=verdicts)
    return Results(record=kept, rows=(row("ssl", "r2", 0.8),), summary=tuple(summaries),
                   differences=tuple(differences))  # fmt: skip


def ablation():
    """The last block is missed by nobody, and no better than untrained."""
    widths = {block.name: block.width for block in list_blocks()}
    last, summaries, differences, labels = list(widths)[-1], [], [], dict(LABELS)
    for place, source in enumerate(("ssl", "untrained")):
        chosen = {"all": 0.3 + 0.1 * place}
        for index, name in enumerate(widths):
            chosen[f"only {name}"] = 0.4 + 0.05 * index + (0.2 * place if name != last else 0)
            chosen[f"without {name}"] = 0.35
        for selection, error in chosen.items():
            labels[f"{source}: {selection}"] = f"{LABELS[source]}, {selection}"
            for head, more in (("ridge", 0.0), ("ols", 0.2)):
                summaries.append(summary(f"{source}: {selection}", "rmse", error + more, head=head))
    for name in widths:
        gain, loss = (0.0, -0.05) if name == last else (-0.2, 0.06)
        differences += [
            difference(f"ssl: only {name}", f"untrained: only {name}", "rmse", gain),
            difference(f"ssl: without {name}", "ssl: all", "rmse", loss),
        ]
    kept = replace(
        record("ablation", {"blocks": {"ssl": widths, "untrained": widths}}),
        labels=labels, proposed=[name for name in labels if name.startswith("ssl: ")],
    )  # fmt: skip
    return Results(record=kept, rows=(row("ssl: all", "rmse", 0.3),), summary=tuple(summaries),
                   differences=tuple(differences))  # fmt: skip


def shap_share():
    """Features hold more than their columns in trees, and not in the network."""
    names = ["raw_ftcp", *(block.name for block in list_blocks())]
    sections = [{"name": name, "learned": name != "raw_ftcp"} for name in names]
    summaries = [summary(MEAN, "r2", 0.0, head=MEAN)]
    for head, ours, enriched in (("mlp", 0.2, 0.9), ("lightgbm", 0.7, 3.0)):
        for name, r2 in (("raw_ftcp", 0.7), ("ssl", 0.8), ("hybrid", 0.85)):
            summaries += [summary(name, "r2", r2, head=head),
                          summary(name, "rmse", 1 - r2, head=head)]  # fmt: skip
        shares = {"ssl": ours, "raw_ftcp": 1 - ours}
        shares |= {name: ours / (len(names) - 1) for name in names[1:]}
        for name, share in shares.items():
            level = enriched if name != "raw_ftcp" else 0.6
            for metric, value in (("shap_share", share), ("enrichment_all", 4 * level),
                                  ("enrichment_varying", level)):  # fmt: skip
                summaries.append(summary(name, metric, value, 0.05 * value, head=head))
        for metric, value in (("additivity_mean", 0.01), ("additivity_max", 0.05),
                              ("rows_explained", 1.0)):  # fmt: skip
            summaries.append(summary("hybrid", metric, value, head=head))
    kept = record("shap_share", {"sections": sections}, failed=True)
    return Results(record=kept, rows=(row("ssl", "r2", 0.8),), summary=tuple(summaries))


def matbench():
    """Five folds of a small task."""
    same = {"target": "exfoliation_en", "unit": "meV/atom"}
    rows, summaries = [], []
    for name, head, value in (("ssl", "ridge", 42.0), (MEAN, MEAN, 65.0)):
        rows += [
            row(name, metric, times * (value + fold), head=head, fold=fold, **same)
            for fold in range(5)
            for metric, times in (("mae", 1), ("rmse", 2))
        ]
        summaries += [
            summary(name, metric, times * (value + 2), head=head, **same)
            for metric, times in (("mae", 1), ("rmse", 2))
        ]
    entry = difference("ssl", MEAN, "mae", -23.0, head="ridge", baseline_head=MEAN, **same)
    kept = record("matbench", {"task": "matbench_jdft2d", "official": True}, rows=636)
    return Results(record=kept, rows=tuple(rows), summary=tuple(summaries), differences=(entry,))


def write_scenarios(folder):
    """Every scenario but the linear probe, a folder each."""
    for results in (few_shot(), ablation(), shap_share(), matbench()):
        results.save(folder / results.record.scenario)
