"""The linear probe as the commands use it: feature sets beside baselines, progress, result table.

Called by ``run`` and ``evaluate linear-probe``; the protocol and the models are in ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.cli.console import console, grid, progress_bar, say
from crystalssl.errors import MissingExtraError

if TYPE_CHECKING:
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.evaluation.linear_probe import LinearProbe
    from crystalssl.evaluation.protocols import SplitProtocol
    from crystalssl.evaluation.scenario import ResultTable
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals

SSL, UNTRAINED = "ssl", "untrained"
"""Names of the feature sets that come from encoders."""


def labelled(crystals: Crystals, targets: Sequence[str]) -> Crystals:
    """The crystals that carry at least one of the labels.

    Raises:
        UnknownNameError: if there is no such column.
        InputError: if a column holds no numbers.
    """
    import numpy as np

    from crystalssl.evaluation.linear_probe import targets_of

    values = [target.values for target in targets_of(crystals, targets)]
    return crystals.take(np.isfinite(np.stack(values)).any(axis=0))


def protocol_for(crystals: Crystals, seed: int) -> SplitProtocol:
    """Folds of the crystals held out from pre-training if a split column says which they are.

    Without one, repeated splits with formulas kept together.
    """
    import numpy as np

    from crystalssl.cli.steps import PARTS
    from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits

    columns = [] if crystals.columns is None else crystals.columns.column_names
    if "split" in columns:
        names = crystals.column("split")
        if set(names.tolist()) <= set(PARTS):
            return HeldOutFolds(held_out=np.asarray(names == "test"), seed=seed)
    return RepeatedSplits(kinds=("grouped",))


def check_protocol(crystals: Crystals, targets: Sequence[str], protocol: SplitProtocol) -> None:
    """Find out before hours of training whether the labels suffice for the probe.

    Raises:
        InputError: if they do not.
        UnknownNameError: if a label column is missing.
    """
    import numpy as np

    from crystalssl.evaluation.linear_probe import targets_of
    from crystalssl.structures.formulas import reduced_formulas

    groups = reduced_formulas(crystals)
    for target in targets_of(crystals, targets):
        protocol.splits(np.flatnonzero(np.isfinite(target.values)), groups)


def build_sets(
    crystals: Crystals, features: Features, untrained: Features | None, cache: Path
) -> list[FeatureSet]:
    """The features of interest and every baseline, on the same crystals.

    Args:
        crystals: n crystals, cells as given.
        features: trained features; matched by id.
        untrained: features of encoders that were never trained, or None.
        cache: folder that keeps composition statistics.
    """
    from crystalssl.evaluation import feature_sets
    from crystalssl.evaluation.magpie import magpie

    def of(name: str, label: str, found: Features) -> FeatureSet:
        return feature_sets.given(name, label, found.ids, found.matrix, crystals)

    with console.status("Baselines: raw FTCP and composition statistics"):
        raw = feature_sets.raw_ftcp(crystals)
        sets = [raw, feature_sets.principal_axes(raw)]
        try:
            sets.append(magpie(crystals, cache))
        except MissingExtraError as error:
            say(f"Left out: {error}", "yellow")
    if untrained is not None:
        sets.append(of(UNTRAINED, "Untrained encoders", untrained))
    return [*sets, of(SSL, "Pre-trained encoders", features)]


def probe(
    sets: Sequence[FeatureSet],
    crystals: Crystals,
    targets: Sequence[str],
    protocol: SplitProtocol,
    out: Path,
) -> LinearProbe:
    """Run the scenario and store its rows and predictions in a folder."""
    from crystalssl.evaluation.linear_probe import linear_probe, targets_of
    from crystalssl.structures.formulas import reduced_formulas

    with progress_bar("Linear probe") as advance:
        result = linear_probe(
            sets,
            targets_of(crystals, targets),
            reduced_formulas(crystals),
            crystals.ids,
            protocol,
            progress=advance,
        )
    result.save(out)
    return result


COLUMNS = (
    ("RMSE, ridge", "rmse", "ridge"),
    ("MAE, ridge", "mae", "ridge"),
    ("R2, ridge", "r2", "ridge"),
    ("RMSE, least squares", "rmse", "ols"),
)
"""Columns of the result table: heading, metric, model."""


def show_results(table: ResultTable) -> None:
    """Print the result table: a row per feature set, means and spreads over splits."""
    from crystalssl.evaluation.scoring import MEAN

    say(table.record.protocol)
    units = {row.property: row.unit for row in table.rows}
    keys = ("property", "split_kind", "feature_set", "model")
    found = {
        metric: {summary.key: summary for summary in table.summarize(keys, metric=metric)}
        for _, metric, _ in COLUMNS
    }
    for name, kind in dict.fromkeys((row.property, row.split_kind) for row in table.rows):
        own = table.where(property=name, split_kind=kind)
        rows = []
        for part, width in {row.feature_set: row.n_features for row in own}.items():
            cells = [table.record.labels.get(part, part), f"{width:,}"]
            for _, metric, model in COLUMNS:
                summary = found[metric].get((name, kind, part, MEAN if part == MEAN else model))
                cells.append("" if summary is None else spread(summary.mean, summary.spread))
            rows.append(cells)
        unit = f" ({units[name]})" if units[name] else ""
        title = f"Linear probe, {name}{unit}, {kind} formulas, mean and spread over splits"
        grid(title, ["features", "columns", *(heading for heading, _, _ in COLUMNS)], rows)


def spread(mean: float, deviation: float) -> str:
    """A mean and its spread, three decimals unless they are large."""
    form = ".3f" if abs(mean) < 1000 else ".3g"
    return f"{mean:{form}} ± {deviation:{form}}"
