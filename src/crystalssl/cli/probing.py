"""The linear probe as the commands use it: protocol, feature sets beside baselines, progress.

Called by ``run`` and ``evaluate linear-probe``; the protocol and the models are in ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.cli.console import console, make_canonical, progress_bar, report_skipped, say
from crystalssl.errors import InputError, MissingExtraError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crystalssl.cli.console import Loaded
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.evaluation.linear_probe import LinearProbe
    from crystalssl.evaluation.overlap import Overlap
    from crystalssl.evaluation.protocols import SplitProtocol
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals

SSL, BOTTLENECK, UNTRAINED = "ssl", "bottleneck", "untrained"
"""Names of the feature sets that come from encoders."""
LABELS = {
    SSL: "Pre-trained encoders",
    BOTTLENECK: "Bottleneck of these",
    UNTRAINED: "Untrained encoders",
}
"""Their names for people."""
HYBRID = "hybrid"
"""Name of raw FTCP beside features."""
TAKEN = (SSL, HYBRID, "raw_ftcp", "raw_ftcp_pca", "magpie", "mean")
"""Names that no further features may have."""
PROTOCOLS = ("held-out", "repeated", "both")
"""Choices of a protocol."""


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
    from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits

    held_out = _held_out(crystals)
    if held_out is None:
        return RepeatedSplits(kinds=("grouped",))
    return HeldOutFolds(held_out=held_out, seed=seed)


def choose_protocol(
    crystals: Crystals, targets: Sequence[str], choice: str | None, seed: int, repeats: int
) -> SplitProtocol:
    """The protocol that was asked for, or all that the structures allow.

    Raises:
        InputError: if the labels do not suffice, or held-out folds are asked for without a split
            column.
        UnknownNameError: if there is no such choice, or a label column is missing.
    """
    from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits, Together

    if choice is not None and choice not in PROTOCOLS:
        raise unknown_name("protocol", choice, PROTOCOLS)
    repeated = RepeatedSplits(repeats=repeats)
    held_out = _held_out(crystals)
    if choice in ("held-out", "both") and held_out is None:
        raise InputError(
            "Held-out folds need a column 'split' with train, val and test; the structures carry "
            "none. Use --protocol repeated, or structures of a run (structures.parquet)."
        )
    if choice == "repeated" or held_out is None:
        protocol: SplitProtocol = repeated
    elif choice == "held-out":
        protocol = HeldOutFolds(held_out=held_out, seed=seed)
    else:
        protocol = Together(parts=(HeldOutFolds(held_out=held_out, seed=seed), repeated))
    try:
        check_protocol(crystals, targets, protocol)
    except InputError as error:
        if choice is not None or protocol is repeated:
            raise
        say(f"No held-out folds: {error}", "yellow")
        protocol = repeated
        check_protocol(crystals, targets, protocol)
    return protocol


def _held_out(crystals: Crystals) -> npt.NDArray[np.bool_] | None:
    """(n,) crystals of the test part, or None where no split column says."""
    from crystalssl.cli.steps import PARTS

    columns = [] if crystals.columns is None else crystals.columns.column_names
    names = crystals.column("split") if "split" in columns else None
    if names is None or not set(names.tolist()) <= set(PARTS):
        return None
    marks: npt.NDArray[np.bool_] = names == "test"
    return marks


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


def read_named(named: Sequence[str]) -> dict[str, Features]:
    """Features files given as ``NAME=FILE``.

    Raises:
        InputError: if one is not of this form, a name repeats or is taken, or a file is no good.
    """
    from crystalssl.features.store import load_features

    found: dict[str, Features] = {}
    for text in named:
        name, _, file = text.partition("=")
        if not name or not file:
            raise InputError(f"Got --also {text!r}; expected NAME=FILE, like mine=mine.parquet.")
        if name in found or name in TAKEN:
            raise InputError(f"The name {name!r} of --also is in use; choose another.")
        found[name] = load_features(Path(file))
    return found


def overlap_of(
    features: Sequence[Features], crystals: Crystals, weights: str | None = None
) -> Overlap:
    """Which crystals the weights behind any of the features have seen.

    Args:
        features: features in use.
        crystals: crystals of the comparison.
        weights: weights of those that do not say where they come from.
    """
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.features.origins import origin_of
    from crystalssl.hub.weights import run_folders

    given = () if weights is None else (origin_of(weights, run_folders(weights)),)
    origins = [found.origins or given for found in features]
    known = [origin for group in origins for origin in group] if all(origins) else []
    with console.status("Looking for crystals seen in pre-training"):
        return find_overlap(known, crystals)


def untrained_features(
    crystals: Crystals,
    trained: Features,
    loaded: Loaded,
    out: Path,
    *,
    strict: bool,
    symprec: float,
    seed: int,
    shared: Path | None = None,
) -> Features:
    """Features of encoders that were never trained; kept for the next time.

    Args:
        crystals: crystals of the comparison.
        trained: features to be compared with; they say which blocks.
        loaded: what the crystals are from; what it left out is reported too.
        out: folder of the results; gets ``skipped.csv``.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of the encoders.
        shared: folder that keeps them, maybe for other scenarios too; None: ``out/cache``.
    """
    from crystalssl.cli import steps
    from crystalssl.cli.stages import Stages, crystals_digest
    from crystalssl.features.extract import SETTLED
    from crystalssl.features.origins import blocks_behind
    from crystalssl.features.store import load_features, save_features

    blocks, skipped = blocks_behind(trained), loaded.skipped
    folder = shared or out / "cache"
    stages, path = Stages(folder), folder / "untrained_features.parquet"
    settings = {"seed": seed, "symprec": symprec, "blocks": list(blocks), "settled": SETTLED}
    digest = stages.digest("untrained", settings, [crystals_digest(crystals.with_columns(None))])
    if stages.is_done("untrained", digest, path):
        report_skipped(skipped, len(crystals) + len(skipped), out, strict)
        return load_features(path)
    canonical = make_canonical(crystals, out, strict=strict, symprec=symprec, skipped=skipped)
    features = steps.untrained_features(canonical, blocks, seed)
    save_features(features, path)
    stages.finish("untrained", digest, settings)
    return features


def build_sets(
    crystals: Crystals, trained: Mapping[str, Features], untrained: Features | None, cache: Path
) -> list[FeatureSet]:
    """The features of interest and every baseline, on the same crystals.

    Args:
        crystals: n crystals, cells as given.
        trained: features by name, ``SSL`` among them; matched by id.
        untrained: features of encoders that were never trained, or None.
        cache: folder that keeps composition statistics.
    """
    from crystalssl.evaluation import feature_sets
    from crystalssl.evaluation.magpie import magpie
    from crystalssl.processes import usable_cores

    def of(name: str, found: Features) -> FeatureSet:
        label = LABELS.get(name, name[:1].upper() + name[1:])
        return feature_sets.given(name, label, found.ids, found.matrix, crystals)

    with console.status("Baselines: raw FTCP and composition statistics"):
        raw = feature_sets.raw_ftcp(crystals)
        sets = [raw, feature_sets.principal_axes(raw)]
        try:
            sets.append(magpie(crystals, cache, processes=usable_cores()))
        except MissingExtraError as error:
            say(f"Left out: {error}", "yellow")
    if untrained is not None:
        sets.append(of(UNTRAINED, untrained))
    return [*sets, *(of(name, found) for name, found in trained.items())]


def probe(
    sets: Sequence[FeatureSet],
    crystals: Crystals,
    targets: Sequence[str],
    protocol: SplitProtocol,
    out: Path,
    *,
    champions: Sequence[str] = (SSL,),
    overlap: Overlap | None = None,
    drop_seen: str = "none",
) -> LinearProbe:
    """Run the scenario, say what the weights had seen, and store rows and predictions."""
    from crystalssl.evaluation.linear_probe import linear_probe, targets_of
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.structures.formulas import reduced_formulas

    store, formulas = Store(out / FOLDER), reduced_formulas(crystals)
    with progress_bar("Linear probe") as advance:
        result = linear_probe(
            sets,
            targets_of(crystals, targets),
            formulas,
            crystals.ids,
            protocol,
            champions=[name for name in champions if name != UNTRAINED],
            overlap=overlap,
            drop_seen=drop_seen,  # type: ignore[arg-type]  # any word; a wrong one is an error
            store=store,
            progress=advance,
        )
    result.save(out)
    if store.reused:
        say(f"{store.reused:,} of {store.reused + store.computed:,} fits are of an earlier run")
    if overlap is not None:
        say(overlap.words(result.tested, formulas), "yellow" if overlap.unknown else None)
    return result
