"""Features and labels to a comparison with every baseline, and to a page: evaluate, report.

Each scenario is a small record of its options; what they share (reading, untrained encoders,
baselines, what the weights have seen) stands once here, and the experiments are in ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from crystalssl.errors import InputError, Skip, unknown_name
from crystalssl.evaluation import scenarios
from crystalssl.evaluation.cache import FOLDER, Cache, code_digest
from crystalssl.evaluation.data import (
    BOTTLENECK,
    HYBRID,
    RESERVED,
    SSL,
    UNTRAINED,
    Dataset,
    build_dataset,
    labelled,
    targets_of,
)
from crystalssl.evaluation.overlap import Overlap, find_overlap
from crystalssl.evaluation.results import Results
from crystalssl.evaluation.scenarios.few_shot import FewShotConfig
from crystalssl.evaluation.scenarios.shap_share import ShapConfig
from crystalssl.evaluation.splits import (
    SplitProtocol,
    check_protocol,
    choose_protocol,
    run_protocol,
    train_fractions,
)
from crystalssl.features.container import Features
from crystalssl.features.extract import SETTLED
from crystalssl.features.origins import blocks_behind, origin_of
from crystalssl.features.store import load_features, save_features
from crystalssl.files import exclusive
from crystalssl.hub.weights import load_cards, run_folders
from crystalssl.pipeline.extraction import encode_with, load_encoders, untrained_features
from crystalssl.pipeline.outputs import (
    check_folder,
    forget_skipped,
    limited_threads,
    report_skipped,
)
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.stages import Stages, crystals_digest
from crystalssl.pipeline.structures import MANY, Structures, load, load_canonical
from crystalssl.processes import usable_cores
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

__all__ = ["BOTTLENECK", "SSL", "Results", "evaluate", "matbench", "report"]

FeaturesLike: TypeAlias = Features | str | Path
"""Features, or their file."""
UNTRAINED_FILE = "untrained_features.parquet"
"""Features of untrained encoders, kept for the next time."""
SHARED_WAIT = 3600.0
"""Seconds to wait for another scenario that makes what both share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """Ridge and least squares on features and every baseline, in the same splits."""

    name: ClassVar[str] = "linear-probe"
    protocol: str | None = None
    """held-out (folds of the test rows), repeated (90/10 to 60/40, random and grouped), both, or
    None: both where there is a split column."""
    repeats: int = 1
    """Repeats of each split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShot:
    """Features with a fraction of the labels, directly and by residual, beside raw FTCP."""

    name: ClassVar[str] = "few-shot"
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0)
    """Fractions of the training labels."""
    repeats: int = 5
    """Repeats of each fraction below 1."""
    full_repeats: int = 1
    """Seeds of the heads where all labels are used."""
    heads: tuple[str, ...] = FewShotConfig().heads
    """Names of the heads."""
    residual_fractions: tuple[float, ...] = FewShotConfig().residual_fractions
    """Fractions for the residual protocol; none leaves it out."""
    folds: int = FewShotConfig().folds
    """Folds that residuals are taken from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapShare:
    """The share of features in what a model on raw FTCP and features predicts."""

    name: ClassVar[str] = "shap-share"
    explained: int = ShapConfig().explained
    """Test rows that are explained."""
    samples: int = ShapConfig().samples
    """Points for each explained row of the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """Each block of features alone, and each left out, beside the same block untrained."""

    name: ClassVar[str] = "ablation"


Scenario: TypeAlias = LinearProbe | FewShot | ShapShare | Ablation
SCENARIOS: dict[str, type[Scenario]] = {
    kind.name: kind for kind in (LinearProbe, FewShot, ShapShare, Ablation)
}
"""Scenarios by name."""
BASELINES: dict[str, tuple[str, ...]] = {
    "linear-probe": ("raw_ftcp", "raw_ftcp_pca", "magpie"),
    "few-shot": ("raw_ftcp", "magpie", "hybrid"),
    "shap-share": ("raw_ftcp", "hybrid"),
    "ablation": (),
}
"""Feature sets beside those given."""


def evaluate(
    features: FeaturesLike,
    structures: Structures,
    targets: str | Sequence[str],
    out: str | Path,
    *,
    scenario: str | Scenario = "linear-probe",
    also: Mapping[str, FeaturesLike] | None = None,
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
    options = _options(scenario)
    names = [targets] if isinstance(targets, str) else list(targets)
    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        proposed = {SSL: _features(features), **_further(also or {})}
        loaded = load(structures, progress)
        crystals = labelled(loaded.crystals, names)
        protocol = _protocol(options, crystals, names, seed, progress)
        trained = [found for name, found in proposed.items() if name != UNTRAINED]
        overlap = _overlap(trained, crystals, weights, progress)
        overlap.seen(drop_seen)  # type: ignore[arg-type]  # any word; a wrong one is an error
        keep = folder / FOLDER if shared is None else Path(shared)
        skipped = loaded.skipped
        if untrained and UNTRAINED not in proposed and not isinstance(options, ShapShare):
            blocks = blocks_behind(proposed[SSL])
            blank, unfit = _untrained(crystals, blocks, keep, symprec, seed, progress)
            proposed[UNTRAINED], skipped = blank, [*skipped, *unfit]
        report_skipped(skipped, loaded.total, folder, strict=strict, progress=progress)
        cache = Cache(keep, shared=shared is not None)
        with progress.step("Baselines"):
            dataset = build_dataset(
                crystals,
                names,
                _ordered(options, proposed),
                baselines=BASELINES[options.name],
                cache=cache,
            )
        for message in dataset.missing:
            progress.note(f"Left out: {message}", warning=True)
        del loaded, crystals, trained  # the dataset holds what is needed of them
        further = list(proposed)
        proposed.clear()
        how = {"overlap": overlap, "drop_seen": drop_seen, "cache": cache}
        with progress.step(options.name.replace("-", " ").capitalize()) as advance:
            how["progress"] = advance
            results = _experiment(options, dataset, protocol, further, seed, threads, how)
        return _finished(results, cache, overlap, folder, progress)


def _options(scenario: str | Scenario) -> Scenario:
    """Options of a scenario named, or those given."""
    if not isinstance(scenario, str):
        return scenario
    if scenario not in SCENARIOS:
        raise unknown_name("scenario", scenario, SCENARIOS, "crystalssl evaluate --help")
    return SCENARIOS[scenario]()


def _features(source: FeaturesLike) -> Features:
    return source if isinstance(source, Features) else load_features(Path(source))


def _further(also: Mapping[str, FeaturesLike]) -> dict[str, Features]:
    """Further features by name.

    Raises:
        InputError: if a name is in use for something else.
    """
    for name in also:
        if name in RESERVED:
            raise InputError(f"The name {name!r} of --also is in use; choose another.")
    return {name: _features(source) for name, source in also.items()}


def _protocol(
    options: Scenario, crystals: Crystals, names: Sequence[str], seed: int, progress: Progress
) -> SplitProtocol:
    """The splits of a scenario, checked before hours of work."""
    labels = targets_of(crystals, names)
    if isinstance(options, LinearProbe):
        protocol, why = choose_protocol(
            crystals, labels, options.protocol, seed=seed, repeats=options.repeats
        )
        if why:
            progress.note(why, warning=True)
        return protocol
    how: dict[str, Any] = {"fractions": (1.0,), "repeats": 1}
    if isinstance(options, FewShot):
        how = {"fractions": options.fractions, "repeats": options.repeats}
        how["full_repeats"] = options.full_repeats
    protocol = train_fractions(crystals, seed=seed, **how)
    check_protocol(protocol, labels, reduced_formulas(crystals))
    return protocol


def _overlap(
    features: Sequence[Features], crystals: Crystals, weights: str | None, progress: Progress
) -> Overlap:
    """Which crystals the weights behind any of the features have seen.

    Args:
        features: features in use.
        crystals: crystals of the comparison.
        weights: weights of those that do not say where they come from.
        progress: told that it is being found out.
    """
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

    Args:
        crystals: crystals of the comparison.
        blocks: names of the blocks.
        folder: where they are kept.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of the encoders.
        progress: told what is done.

    Returns:
        The features, and crystals without a canonical cell, where these were looked for.
    """
    path = check_folder(folder) / UNTRAINED_FILE
    settings = {"seed": seed, "symprec": symprec, "blocks": list(blocks), "settled": SETTLED}
    skipped: list[Skip] = []
    with exclusive(folder, SHARED_WAIT):
        stages = Stages(folder)
        bare = crystals_digest(crystals.with_columns(None))
        digest = stages.digest("untrained", settings, [bare])
        if not stages.is_done("untrained", digest):
            stages.start("untrained", digest)
            with progress.step("Finding canonical cells and symmetry"):
                processes = usable_cores() if len(crystals) > MANY else 1
                canonical = canonicalize(crystals, symprec=symprec, processes=processes)
            skipped = list(canonical.skipped)
            save_features(untrained_features(canonical, blocks, seed, progress), path)
            stages.finish("untrained", digest, settings, [path])
        return load_features(path), skipped


def _ordered(options: Scenario, features: Mapping[str, Features]) -> dict[str, Features]:
    """Features in the order of the tables: the proposed ones where they are compared best."""
    last = SSL if isinstance(options, FewShot) else UNTRAINED
    first = UNTRAINED if isinstance(options, LinearProbe) else ""
    names = sorted(features, key=lambda name: (name != first, name == last and name != first))
    return {name: features[name] for name in names}


def _experiment(
    options: Scenario,
    dataset: Dataset,
    protocol: Any,
    names: Sequence[str],
    seed: int,
    threads: int | None,
    how: Mapping[str, Any],
) -> Results:
    """Run the experiment of a scenario."""
    trained = [name for name in names if name not in (UNTRAINED, SSL)]
    if isinstance(options, LinearProbe):
        return scenarios.linear_probe.linear_probe(
            dataset, protocol, proposed=(SSL, *trained), **how
        )
    if isinstance(options, FewShot):
        untrained = [name for name in names if name == UNTRAINED]
        config = FewShotConfig(
            heads=options.heads,
            residual_heads=tuple(head for head in options.heads if head != "ridge"),
            residual_fractions=options.residual_fractions,
            folds=options.folds,
            explainers=(*trained, SSL, *untrained),
            proposed=(*trained, SSL, HYBRID),
            threads=threads or 0,
        )
        return scenarios.few_shot.few_shot(dataset, protocol, config=config, **how)
    if isinstance(options, ShapShare):
        shap = ShapConfig(explained=options.explained, samples=options.samples, seed=seed)
        return scenarios.shap_share.shap_share(
            dataset, protocol, config=shap, threads=threads or 0, **how
        )
    return scenarios.ablation.ablation(dataset, protocol, **how)


def _finished(
    results: Results, cache: Cache, overlap: Overlap | None, folder: Path, progress: Progress
) -> Results:
    """Store results, and say what they rest on."""
    results.save(folder)
    if cache.reused:
        of = f"{cache.reused:,} of {counted(cache.reused + cache.computed, 'fit')}"
        progress.note(f"{of} were there from before")
    if overlap is not None:
        sentence = overlap.sentence(results.record.counts)
        progress.note(sentence, warning=bool(overlap.unknown))
    progress.note(f"Rows, summaries and predictions: {folder}")
    return results


def check_targets(crystals: Crystals, targets: Sequence[str]) -> None:
    """Refuse labels that are no columns, before any work.

    Raises:
        UnknownNameError: if there is no such column.
        InputError: if a column holds no numbers.
    """
    targets_of(crystals, targets)


def check_labels(crystals: Crystals, targets: Sequence[str], seed: int) -> None:
    """Find out before hours of training whether the labels suffice for the probe of a run.

    Raises:
        InputError: if they do not.
        UnknownNameError: if a label column is missing.
    """
    protocol = run_protocol(crystals, seed)
    check_protocol(protocol, targets_of(crystals, targets), reduced_formulas(crystals))


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
    folder, name = stages.folder / "linear_probe", "linear_probe"
    module = scenarios.linear_probe
    settings = {"targets": list(targets), "seed": seed, "code": code_digest(module)}
    inputs = [crystals_digest(crystals), stages.outcome("features"), stages.outcome(BOTTLENECK)]
    digest = stages.digest(name, settings, inputs)
    if stages.is_done(name, digest):
        return Results.load(folder, name)
    stages.start(name, digest)
    chosen = labelled(crystals, targets)
    proposed = [set_name for set_name in features if set_name != UNTRAINED]
    overlap = _overlap([features[key] for key in proposed], chosen, None, progress)
    cache = Cache(folder / FOLDER)
    with progress.step("Baselines"):
        dataset = build_dataset(chosen, targets, features, cache=cache)
    for message in dataset.missing:
        progress.note(f"Left out: {message}", warning=True)
    with progress.step("Linear probe") as advance:
        results = module.linear_probe(
            dataset,
            run_protocol(chosen, seed),
            proposed=proposed,
            overlap=overlap,
            cache=cache,
            progress=advance,
        )
    _finished(results, cache, overlap, folder, progress)
    stages.finish(name, digest, settings, sorted(folder.glob(f"{name}*")))
    return results


def matbench(
    file: str | Path,
    out: str | Path,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    head: str = "ridge",
    target: str | None = None,
    task: str | None = None,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Results:
    """Predict the five official folds of a Matbench task from frozen features with one head.

    Args:
        file: ``matbench_*.json.gz`` as matminer has it, or a structure table.
        out: folder for rows, predictions and the benchmark's record ``results.json``.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        head: ridge, lightgbm, mlp or random_forest.
        target: label column, if it is not clear.
        task: name of the task, if the file has another name.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of the head.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or written.
        UnknownNameError: if there is no such head, block, weights or column.
    """
    from crystalssl.evaluation.matbench.record import save_record
    from crystalssl.evaluation.matbench.run import matbench as run_folds
    from crystalssl.evaluation.matbench.run import task_features
    from crystalssl.evaluation.matbench.task import read_task
    from crystalssl.models.registry import build_head

    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        blocks = load_encoders(weights, block)
        with progress.step("Reading the task"):
            data = read_task(Path(file), target, task)
        model = build_head(head, kind=data.kind, threads=threads or 0)
        progress.note(f"{data.name}: {counted(len(data.labels), 'row')}, {data.kind} of {data.target}")
        if not data.official:
            progress.note(
                "This is not a task of Matbench v0.1 as published (name, target and number of "
                "rows): its folds are made the same way, but scores do not belong on the "
                "leaderboard.",
                warning=True,
            )
        how = {"strict": strict, "symprec": symprec}
        made = _task_features(data, folder, weights, list(blocks), how, progress)
        features = task_features(data, made)
        lacking = int((~features.valid).sum())
        if lacking:
            progress.note(
                f"{lacking:,} of {counted(len(features.valid), 'row')} have no features; they are "
                "predicted by the mean of the training labels",
                warning=True,
            )
        overlap = find_overlap(made.origins, data.crystals)
        cache = Cache(folder / FOLDER)
        details = {"weights": str(weights), "blocks": ",".join(blocks)}
        with progress.step(f"Matbench, {data.name}") as advance:
            results = run_folds(
                data,
                features,
                model,
                seed=seed,
                details=details,
                overlap=overlap,
                cache=cache,
                progress=advance,
            )
        save_record(results, folder)
        return _finished(results, cache, overlap, folder, progress)


def _task_features(
    task: Any,
    folder: Path,
    weights: str | Path,
    blocks: Sequence[str],
    how: Mapping[str, Any],
    progress: Progress,
) -> Features:
    """Features of every structure of a task, kept in the folder of the results.

    Raises:
        InputError: if no structure can be used, or one cannot and ``strict``.
    """
    stages, path = Stages(folder), folder / FOLDER / "features.parquet"
    settings = {"weights": str(weights), "blocks": list(blocks), **how}
    sums = [card.sha256 for card in load_cards(weights).values()]
    digest = stages.digest("features", settings, [crystals_digest(task.crystals), *sums])
    if not stages.is_done("features", digest):
        stages.start("features", digest)
        forget_skipped(folder)
        canonical = load_canonical(
            task.crystals, folder, progress=progress, skipped=task.skipped, **how
        )
        encoders = load_encoders(weights, blocks)
        save_features(encode_with(canonical, encoders, weights, progress), path)
        stages.finish("features", digest, settings, [path])
    return load_features(path)


def report(
    folder: str | Path,
    *,
    features: str | Path | None = None,
    structures: str | Path | None = None,
    umap: bool = True,
    progress: Progress = SILENT,
) -> Path:
    """Write ``report.html`` from what is stored; nothing is trained or evaluated.

    Args:
        folder: folder of a run, or of evaluations.
        features: features for the map; those of the folder by default.
        structures: table of their structures, with labels; that of the folder by default.
        umap: whether to show UMAP beside principal components, where it is installed.
        progress: told what is done.

    Raises:
        InputError: if there is nothing to show, or the page cannot be written.
    """
    from crystalssl.report.html import write_report
    from crystalssl.report.projection import has_umap

    path = write_report(
        Path(folder),
        features=None if features is None else Path(features),
        structures=None if structures is None else Path(structures),
        umap=umap,
    )
    if umap and not has_umap():
        progress.note(
            "The map shows principal components alone; for UMAP: pip install 'crystalssl[plots]'"
        )
    progress.note(f"Report: {path}")
    return path
