"""Features and labels to a comparison with every baseline: evaluate.

What the scenarios share (reading, untrained encoders, baselines, what the weights have seen) stands
once here; the experiments are in ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, Skip
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_folder, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.scenarios import FewShot, LinearProbe, Scenario, ShapShare, options_of
from crystalssl.pipeline.structures import MANY
from crystalssl.processes import limited_threads, usable_cores

if TYPE_CHECKING:
    from crystalssl.datasets.load import Structures
    from crystalssl.evaluation.cache import Cache
    from crystalssl.evaluation.data import Dataset
    from crystalssl.evaluation.overlap import Overlap
    from crystalssl.evaluation.results import Results
    from crystalssl.features.features import Features
    from crystalssl.pipeline.stages import Stages
    from crystalssl.structures.crystals import Crystals

SSL, UNTRAINED = "ssl", "untrained"
"""Names of the features in question, and of those of encoders that were never trained."""
SHARED_WAIT = 3600.0
"""Seconds to wait for another scenario that makes what both share."""


def evaluate(
    features: Features | str | Path,
    structures: Structures,
    targets: str | Sequence[str],
    out: str | Path,
    *,
    scenario: str | Scenario = "linear-probe",
    also: Mapping[str, Features | str | Path] | None = None,
    untrained: bool = True,
    weights: str | None = None,
    drop_seen: str = "none",
    shared: str | Path | None = None,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Results:
    """Compare features with every baseline by what a model on them predicts.

    What is finished is kept in ``out``, so the same call again does the rest.

    Args:
        features: features, or their file.
        structures: structures with labels, as paths or objects; matched by id.
        targets: label columns, or ``log10(COLUMN)``.
        out: folder for rows, summaries and predictions.
        scenario: name of a scenario, or its options.
        also: further features by name.
        untrained: whether to compare with encoders that were never trained.
        weights: weights of features whose files do not name them.
        drop_seen: test crystals to leave out: none, formulas or structures seen in pre-training.
        shared: folder shared by scenarios of the same structures and features.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of splits, heads and untrained encoders.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or written, or the labels do not suffice.
        UnknownNameError: if there is no such scenario, label, head or choice.
    """
    from crystalssl.datasets.load import load_valid
    from crystalssl.evaluation.cache import FOLDER, Cache
    from crystalssl.evaluation.data import RESERVED, labelled
    from crystalssl.features.features import blocks_behind, refuse_labels

    scenario = options_of(scenario)
    names = [targets] if isinstance(targets, str) else list(targets)
    for name in also or {}:
        if name in RESERVED:
            raise InputError(f"The name {name!r} of --also is in use; choose another.")
    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        proposed = {name: _read(file) for name, file in {SSL: features, **(also or {})}.items()}
        refuse_labels(proposed[SSL])
        with progress.step("Reading structures"):
            loaded = load_valid(structures)
        crystals, skipped = labelled(loaded.crystals, names), loaded.skipped
        total = len(loaded.crystals) + len(skipped)
        protocol = _protocol(scenario, crystals, names, seed, progress)
        trained = [found for name, found in proposed.items() if name != UNTRAINED]
        overlap = overlap_of(trained, crystals, weights, progress)
        overlap.seen(drop_seen)  # type: ignore[arg-type]  # any word; a wrong one is an error
        keep = folder / FOLDER if shared is None else check_folder(shared)
        if untrained and UNTRAINED not in proposed and not isinstance(scenario, ShapShare):
            blocks = blocks_behind(proposed[SSL])
            blank, unfit = _untrained(crystals, blocks, keep, symprec, seed, progress)
            proposed[UNTRAINED], skipped = blank, [*skipped, *unfit]
        report_skipped(skipped, total, folder, strict=strict, progress=progress)
        cache, order = Cache(keep, shared=shared is not None), list(proposed)
        dataset = _dataset(scenario, crystals, names, proposed, cache, progress)
        del loaded, crystals, trained  # the dataset holds what is needed of them
        proposed.clear()
        how: dict[str, Any] = {"overlap": overlap, "drop_seen": drop_seen, "cache": cache}
        with progress.step(scenario.name.replace("-", " ").capitalize()) as advance:
            how["progress"] = advance
            results = _experiment(scenario, dataset, protocol, order, seed, threads, how)
        return finished(results, cache, overlap, folder, progress)


def _read(source: Features | str | Path) -> Features:
    from crystalssl.features.features import Features
    from crystalssl.features.store import load_features

    return source if isinstance(source, Features) else load_features(Path(source))


def _protocol(
    scenario: Scenario, crystals: Crystals, names: Sequence[str], seed: int, progress: Progress
) -> Any:
    """The splits of a scenario, checked before hours of work."""
    from crystalssl.evaluation import protocols
    from crystalssl.evaluation.data import targets_of
    from crystalssl.structures.formulas import reduced_formulas

    labels = targets_of(crystals, names)
    if isinstance(scenario, LinearProbe):
        protocol, why = protocols.choose_protocol(
            crystals, labels, scenario.protocol, seed=seed, repeats=scenario.repeats
        )
        if why:
            progress.note(why, warning=True)
        return protocol
    how: dict[str, Any] = {"fractions": (1.0,), "repeats": 1}
    if isinstance(scenario, FewShot):
        how = {"fractions": scenario.fractions, "repeats": scenario.repeats}
        how["full_repeats"] = scenario.full_repeats
    fractions = protocols.train_fractions(crystals, seed=seed, **how)
    protocols.check_protocol(fractions, labels, reduced_formulas(crystals))
    return fractions


def overlap_of(
    features: Sequence[Features], crystals: Crystals, weights: str | None, progress: Progress
) -> Overlap:
    """Which crystals the weights behind any features have seen; ``weights`` if they do not say."""
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.features.features import origin_of
    from crystalssl.hub.weights import run_folders

    default = () if weights is None else (origin_of(weights, run_folders(weights)),)
    origins = [found.origins or default for found in features]
    known = [origin for group in origins for origin in group] if all(origins) else []
    with progress.step("Looking for crystals seen in pre-training"):
        return find_overlap(known, crystals)


def _untrained(
    crystals: Crystals,
    blocks: Sequence[str],
    folder: Path,
    symprec: float,
    seed: int,
    progress: Progress,
) -> tuple[Features, list[Skip]]:
    """Features of encoders that were never trained, kept in a folder for the next time.

    With them come crystals without a canonical cell, where these were looked for.
    """
    from crystalssl.features.extract import SETTLED, extract_untrained
    from crystalssl.features.store import load_features, save_features
    from crystalssl.pipeline.stages import Stages
    from crystalssl.structures.canonical import canonicalize

    path = check_folder(folder) / "untrained_features.parquet"
    settings = {"seed": seed, "symprec": symprec, "blocks": list(blocks), "settled": SETTLED}
    skipped: list[Skip] = []

    def work() -> list[Path]:
        with progress.step("Finding canonical cells and symmetry"):
            processes = usable_cores() if len(crystals) > MANY else 1
            canonical = canonicalize(crystals, symprec=symprec, processes=processes)
        skipped.extend(canonical.skipped)
        with progress.step("Untrained encoders") as advance:
            made = extract_untrained(canonical, blocks, seed=seed, progress=advance)
        return [save_features(made, path)]

    with exclusive(folder, SHARED_WAIT):
        inputs = [crystals.with_columns(None).digest()]
        Stages(folder).once(UNTRAINED, settings, inputs, work)
        return load_features(path), skipped


def _dataset(
    scenario: Scenario,
    crystals: Crystals,
    targets: Sequence[str],
    features: Mapping[str, Features],
    cache: Cache,
    progress: Progress,
) -> Dataset:
    """Features in the order of the tables, with the baselines of a scenario and the labels."""
    from crystalssl.evaluation.baselines import build_dataset

    last = SSL if isinstance(scenario, FewShot) else ""
    first = UNTRAINED if isinstance(scenario, LinearProbe) else ""
    names = sorted(features, key=lambda name: (name != first, name == last))
    ordered = {name: features[name] for name in names}
    with progress.step("Baselines"):
        dataset = build_dataset(
            crystals, targets, ordered, baselines=scenario.baselines, cache=cache
        )
    for message in dataset.missing:
        progress.note(f"Left out: {message}", warning=True)
    return dataset


def _experiment(
    scenario: Scenario,
    dataset: Dataset,
    protocol: Any,
    names: Sequence[str],
    seed: int,
    threads: int | None,
    how: Mapping[str, Any],
) -> Results:
    """Run the experiment of a scenario on features of these names."""
    from crystalssl.evaluation.scenarios import ablation, few_shot, linear_probe, shap_share

    trained = [name for name in names if name not in (UNTRAINED, SSL)]
    if isinstance(scenario, LinearProbe):
        return linear_probe.linear_probe(dataset, protocol, proposed=(SSL, *trained), **how)
    if isinstance(scenario, FewShot):
        config = few_shot.FewShotConfig(
            heads=scenario.heads,
            residual_heads=tuple(head for head in scenario.heads if head != "ridge"),
            residual_fractions=scenario.residual,
            folds=scenario.folds,
            explainers=(*trained, SSL, *(name for name in names if name == UNTRAINED)),
            proposed=(*trained, SSL, "hybrid"),
            threads=threads or 0,
        )
        return few_shot.few_shot(dataset, protocol, config=config, **how)
    if isinstance(scenario, ShapShare):
        shap = shap_share.ShapConfig(
            explained=scenario.explained, samples=scenario.samples, seed=seed
        )
        cores = threads or 0
        return shap_share.shap_share(dataset, protocol, config=shap, threads=cores, **how)
    return ablation.ablation(dataset, protocol, **how)


def finished(
    results: Results, cache: Cache, overlap: Overlap, folder: Path, progress: Progress
) -> Results:
    """Store results, and say what they rest on."""
    results.save(folder)
    if cache.reused:
        of = f"{cache.reused:,} of {counted(cache.reused + cache.computed, 'fit')}"
        progress.note(f"{of} from before")
    progress.note(overlap.words(results.record.counts), warning=bool(overlap.unknown))
    progress.note(f"Rows, summaries and predictions: {folder}")
    return results


def check_targets(crystals: Crystals, targets: Sequence[str]) -> None:
    """Refuse labels that are no columns of numbers, before any work.

    Raises:
        UnknownNameError: if there is no such column.
        InputError: if a column holds no numbers.
    """
    from crystalssl.evaluation.data import targets_of

    targets_of(crystals, targets)


def check_labels(crystals: Crystals, targets: Sequence[str], seed: int) -> None:
    """Find out before hours of training whether the labels suffice for the probe of a run.

    Raises:
        InputError: if they do not.
        UnknownNameError: if a label column is missing.
    """
    from crystalssl.evaluation.data import targets_of
    from crystalssl.evaluation.protocols import check_protocol, run_protocol
    from crystalssl.structures.formulas import reduced_formulas

    labels = targets_of(crystals, targets)
    check_protocol(run_protocol(crystals, seed), labels, reduced_formulas(crystals))


def probe_run(
    stages: Stages,
    crystals: Crystals,
    features: Mapping[str, Features],
    targets: Sequence[str],
    *,
    seed: int,
    progress: Progress,
) -> Results:
    """The linear probe of a run on all its features, or the results of an earlier one.

    Args:
        stages: stages of the run; results go to ``linear_probe`` in its folder.
        crystals: crystals of the run with labels and split.
        features: features by name, in the order of the tables.
        targets: label columns.
        seed: seed of the splits.
        progress: told what is done.
    """
    from crystalssl.evaluation.cache import FOLDER, Cache, code_digest
    from crystalssl.evaluation.data import BOTTLENECK, labelled
    from crystalssl.evaluation.protocols import run_protocol
    from crystalssl.evaluation.results import Results
    from crystalssl.evaluation.scenarios import linear_probe

    folder, name = stages.folder / "linear_probe", "linear_probe"

    def work() -> list[Path]:
        chosen = labelled(crystals, targets)
        # what a run gives is judged first: its bottleneck, where it has one
        proposed = sorted(set(features) - {UNTRAINED}, key=lambda key: (key != BOTTLENECK, key))
        overlap = overlap_of([features[key] for key in proposed], chosen, None, progress)
        cache = Cache(folder / FOLDER)
        dataset = _dataset(LinearProbe(), chosen, targets, features, cache, progress)
        with progress.step("Linear probe") as advance:
            results = linear_probe.linear_probe(
                dataset, run_protocol(chosen, seed), proposed=proposed, overlap=overlap,
                cache=cache, progress=advance,
            )  # fmt: skip
        finished(results, cache, overlap, folder, progress)
        return sorted(folder.glob(f"{name}*"))

    settings = {
        "targets": list(targets),
        "seed": seed,
        "code": code_digest((linear_probe.__name__,)),
    }
    inputs = [stages.outcome(stage) for stage in ("structures", "features", "bottleneck")]
    stages.once(name, settings, inputs, work)
    return Results.load(folder, name)
