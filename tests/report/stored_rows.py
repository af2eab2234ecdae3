"""Made-up rows of every scenario, written as the evaluations write them; nothing is fitted."""

import numpy as np

from crystalssl.blocks.registry import list_blocks
from crystalssl.evaluation.ablation import Ablation
from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.intervals import Estimate, estimate_table
from crystalssl.evaluation.scenario import ResultTable, RunRecord, ScenarioResult

TARGET, UNIT = "formation_energy_per_atom", "eV/atom"
OVERLAP = {"weights": "default", "seen_unknown": "", "drop_seen": "none"}
SEEN = {
    "tested": 100, "tested formulas": 80, "tested formulas seen": 7,
    "tested with a seen formula": 11, "tested structures seen": 0,
}  # fmt: skip
LABELS = {
    "raw_ftcp": "Raw FTCP", "ssl": "Pre-trained encoders", "untrained": "Untrained encoders",
    "magpie": "Magpie statistics", "hybrid": "Raw FTCP beside pre-trained",
    "mean": "Mean of training labels",
}  # fmt: skip


def record(scenario, config, labels=LABELS, **counts):
    return RunRecord(
        scenario=scenario, protocol=f"Protocol of {scenario}.", seeds=[0, 1], data_hash="ab" * 16,
        config=config | {"overlap": OVERLAP}, labels=labels, versions={"python": "3.11"},
        counts={"crystals": 400, "compared": 390} | counts | SEEN,
    )  # fmt: skip


def row(scenario, part, model, metric, value, **other):
    base = {
        "scenario": scenario, "property": TARGET, "unit": UNIT, "split_kind": "held-out",
        "train_fraction": 1.0, "seed": 0, "fold": 0, "n_features": 10, "n_train": 290,
        "n_test": 100,
    }  # fmt: skip
    return ScenarioResult(
        feature_set=part, model=model, metric=metric, value=value, **(base | other)
    )


def estimate(part, model, metric, mean, reach=0.03, baseline="", share=1.0):
    return Estimate(
        property=TARGET, unit=UNIT, train_fraction=share, n_train=round(290 * share), n_test=100,
        feature_set=part, baseline=baseline, model=model, metric=metric, mean=mean,
        low=mean - reach, high=mean + reach, draws=5, interval="t over draws",
    )  # fmt: skip


def write_few_shot(folder, shares=(0.05, 0.1, 1.0)):
    """Ours win with ridge, tie with trees; trees on the residual find nothing."""
    gain = {"raw_ftcp": 0.0, "magpie": 0.05, "untrained": 0.1, "ssl": 0.2, "hybrid": 0.18}
    found = []
    for share in shares:
        level = 0.6 + 0.1 * np.log10(100 * share)
        for head, shift in (("ridge", 0.0), ("lightgbm", 0.15)):
            for name, more in gain.items():
                r2 = level + shift + more * (1 - 4 * shift)
                found += [
                    estimate(name, head, "r2", r2, share=share),
                    estimate(name, head, "rmse", 1.2 - r2, share=share),
                ]
                if name in ("ssl", "hybrid"):
                    best = r2 - level - 0.15
                    against = "raw_ftcp, best head (lightgbm)"
                    found.append(
                        estimate(name, head, "r2_difference", best, baseline=against, share=share)
                    )
        for name, value in (("ssl", 0.12), ("untrained", -0.02)):
            pair = f"raw_ftcp > {name}"
            found.append(estimate(pair, "mlp", "contribution", value, share=share))
    settings = {"ours": ["ssl", "hybrid"], "base": "raw_ftcp", "explainers": ["ssl", "untrained"]}
    table = ResultTable(
        rows=(row("few_shot", "ssl", "ridge", "r2", 0.8),),
        record=record("few_shot", {"settings": settings}),
    )
    FewShot(table=table, summary=estimate_table(found)).save(folder)


def write_ablation(folder):
    """The last block is missed by nobody, and no better than untrained."""
    widths = {block.name: block.width for block in list_blocks()}
    found, last = [], list(widths)[-1]
    for place, source in enumerate(("ssl", "untrained")):
        for model, more in (("ridge", 0.0), ("ols", 0.2)):
            found.append(estimate(f"{source}: all", model, "rmse", 0.3 + 0.1 * place + more))
            for index, name in enumerate(widths):
                alone = 0.4 + 0.05 * index + more + (0.2 * place if name != last else 0)
                found += [
                    estimate(f"{source}: only {name}", model, "rmse", alone),
                    estimate(f"{source}: without {name}", model, "rmse", 0.35 + more),
                ]
    for name in widths:
        gain = 0.0 if name == last else -0.2
        loss = -0.05 if name == last else 0.06
        against = f"untrained: only {name}"
        found += [
            estimate(f"ssl: only {name}", "ridge", "rmse_difference", gain, baseline=against),
            estimate(f"ssl: without {name}", "ridge", "rmse_difference", loss, baseline="ssl: all"),
        ]
    labels = {f"{s}: all": f"{LABELS[s]}, all" for s in ("ssl", "untrained")}
    table = ResultTable(
        rows=(row("ablation", "ssl: all", "ridge", "rmse", 0.3),),
        record=record("ablation", {"blocks": {"ssl": widths, "untrained": widths}}, labels),
    )
    Ablation(table=table, summary=estimate_table(found)).save(folder)


def write_shap(folder):
    """Features hold more than their columns in trees, and not in the network."""
    names = ["raw_ftcp", *(block.name for block in list_blocks())]
    sections = [{"name": name, "learned": name != "raw_ftcp"} for name in names]
    rows = [row("shap_share", "mean", "mean", "r2", 0.0)]
    for model, ours, enriched in (("mlp", 0.2, 0.9), ("lightgbm", 0.7, 3.0)):
        for part, r2 in (("raw_ftcp", 0.7), ("ssl", 0.8), ("hybrid", 0.85)):
            rows += [
                row("shap_share", part, model, "r2", r2),
                row("shap_share", part, model, "rmse", 1 - r2),
            ]
        parts = {"ssl": ours, "raw_ftcp": 1 - ours}
        parts |= {name: ours / (len(names) - 1) for name in names[1:]}
        for part, share in parts.items():
            level = enriched if part != "raw_ftcp" else 0.6
            for metric, value in (
                ("shap_share", share), ("enrichment_all", 4 * level), ("enrichment_varying", level)
            ):  # fmt: skip
                for end, factor in (("", 1), ("_low", 0.95), ("_high", 1.05)):
                    rows.append(row("shap_share", part, model, metric + end, factor * value))
        for metric in ("additivity_mean", "additivity_max", "rows_explained"):
            rows.append(row("shap_share", "hybrid", model, metric, 0.01))
    table = ResultTable(rows=tuple(rows), record=record("shap_share", {"sections": sections}))
    table.save(folder / "shap_share.parquet")


def write_matbench(folder):
    rows = []
    for fold in range(5):
        for part, model, value in (("ssl", "ridge", 40.0 + fold), ("mean", "mean", 65.0)):
            same = {"property": "exfoliation_en", "unit": "meV/atom", "fold": fold}
            rows += [
                row("matbench", part, model, "mae", value, **same),
                row("matbench", part, model, "rmse", 2 * value, **same),
            ]
    config = {"task": "matbench_jdft2d", "official": True, "kind": "regression"}
    table = ResultTable(rows=tuple(rows), record=record("matbench", config, rows=636))
    table.save(folder / "matbench.parquet")


def write_scenarios(folder):
    """Every scenario but the linear probe, a folder each."""
    write_few_shot(folder / "few_shot")
    write_ablation(folder / "ablation")
    write_shap(folder / "shap_share")
    write_matbench(folder / "matbench")
