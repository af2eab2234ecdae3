"""All stages in a row, each done once for the same input, settings and files.

Structures (or the bundled crystals) -> canonical cells -> corpus -> trained blocks -> features ->
bottleneck -> linear probe -> report. Every stage reads what the one before wrote, so a run that was
stopped and goes on gives the same bytes as one that was not. Formulas of the test rows are never
seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.blocks.contract import Block
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.features.bottleneck import load_bottleneck
from crystalssl.features.bottleneck_training import BottleneckConfig
from crystalssl.features.container import Features
from crystalssl.features.store import load_features, save_npy, save_parquet
from crystalssl.files import exclusive, write_json
from crystalssl.hub.card import CARD_FILE
from crystalssl.hub.seen import SEEN_FILE
from crystalssl.hub.weights import WEIGHTS_FILE
from crystalssl.pipeline import evaluation
from crystalssl.pipeline.bottleneck import train_and_save
from crystalssl.pipeline.extraction import encode_with, load_encoders, untrained_features
from crystalssl.pipeline.outputs import check_folder, forget_skipped, limited_threads
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.settings import BOTTLENECK, Settings, configured
from crystalssl.pipeline.stages import Stages, crystals_digest
from crystalssl.pipeline.structures import (
    Loaded,
    Structures,
    find_split,
    has_split,
    load,
    load_canonical,
    with_split,
)
from crystalssl.pipeline.training import (
    Plan,
    blocks_folder,
    build_corpus,
    plan_training,
    refuse_trained,
    say_split,
    train_blocks,
)
from crystalssl.pretraining.outputs import RunFolder
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table, write_table

if TYPE_CHECKING:
    from crystalssl.evaluation.results import Results

DEFAULT_TARGET = "formation_energy_per_atom"
"""Label that is probed when the structures carry it and no other is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: the run; give it as ``weights``.
        features: features of all blocks.
        bottleneck: features that mix the blocks; None for a single block.
        linear_probe: the comparison with every baseline; None without a label.
        report: the page.
    """

    folder: Path
    features: Features
    bottleneck: Features | None
    linear_probe: Results | None
    report: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What all stages need.

    Attributes:
        stages: what is done.
        plan: blocks and training settings.
        seed: seed of everything that is not training.
        progress: told what is done.
    """

    stages: Stages
    plan: Plan
    seed: int
    progress: Progress

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.stages.folder


def run(
    structures: Structures | None = None,
    out: str | Path = "runs/quick",
    *,
    block: str | Sequence[str | int] = "all",
    preset: str = "quick",
    targets: Sequence[str] | None = None,
    settings: Settings | None = None,
    epochs: int | None = None,
    force: bool = False,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> RunResult:
    """Do everything: pre-train on structures, extract features, compare them, write the report.

    The same call again redoes only what changed or was not finished.

    Args:
        structures: paths or objects; the bundled crystals if None.
        out: folder of the run.
        block: all, or names and numbers.
        preset: quick, paper or large.
        targets: label columns to predict, or ``log10(COLUMN)``; formation energy if there is one.
        settings: values by section and field, as in a TOML file.
        epochs: passes over the training crystals at most, instead of the preset's.
        force: replace weights that ``pretrain`` left in the folder.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if structures, labels or settings cannot be used, or the folder holds weights
            of another command.
        UnknownNameError: if there is no such block, preset, setting or label.
    """
    chosen = settings or {}
    plan = plan_training(block, preset, chosen, epochs=epochs, seed=seed, threads=threads)
    mixing = configured(BottleneckConfig(seed=seed), chosen.get(BOTTLENECK, {}), BOTTLENECK)
    folder = check_folder(out)
    stages = Stages(folder)
    at = _Run(stages=stages, plan=plan, seed=seed, progress=progress)
    with exclusive(folder), limited_threads(threads):
        if not force:
            names = [b.name for b in plan.blocks if not stages.is_known(f"pretrain-{b.name}")]
            refuse_trained(folder, names)
        crystals, corpus, given = _prepare(at, structures, targets or (), strict, symprec)
        labels = _choose_targets(crystals, targets, seed, progress)
        effective = {"preset": preset, "training": asdict(plan.config), "symprec": symprec}
        effective |= {"blocks": {n: asdict(c) for n, c in plan.configs.items()}}
        effective |= {"bottleneck": asdict(mixing), "targets": labels}
        write_json(effective, folder / "config.json")
        trained = _train(at, crystals, corpus, given)
        features, untrained, made = _features(at, corpus, trained)
        sets, mixed = {evaluation.SSL: features}, None
        if len(plan.blocks) > 1:
            mixed = _mix(at, crystals, corpus, features, made, mixing)
            sets[evaluation.BOTTLENECK] = mixed
        probe = None
        if labels:
            shown = {evaluation.UNTRAINED: untrained, **sets}
            probe = evaluation.probe_run(
                stages, crystals, shown, labels, seed=seed, progress=progress
            )
        page = evaluation.report(folder)
    return RunResult(
        folder=folder, features=features, bottleneck=mixed, linear_probe=probe, report=page
    )


def _prepare(
    at: _Run,
    structures: Structures | None,
    targets: Sequence[str],
    strict: bool,
    symprec: float,
) -> tuple[Crystals, Corpus, str]:
    """Crystals with labels and split, cells as given; their corpus; a digest of both."""
    if structures is None:
        bundled = load_bundled()
        loaded = Loaded(crystals=bundled, skipped=[], total=len(bundled))
    else:
        loaded = load(structures, at.progress)
    evaluation.check_targets(loaded.crystals, targets)
    settings = {"symprec": symprec, "strict": strict, "seed": at.seed}
    settings |= {"skipped": len(loaded.skipped)}
    digest = at.stages.digest("structures", settings, [crystals_digest(loaded.crystals)])
    table, tensors = at.folder / "structures.parquet", at.folder / "corpus.safetensors"
    if at.stages.is_done("structures", digest):
        crystals = read_table(table).crystals
        at.progress.note(f"{counted(len(crystals), 'crystal')}, as before")
        return crystals, Corpus.load(tensors), at.stages.outcome("structures")
    at.stages.start("structures", digest)
    forget_skipped(at.folder)
    canonical = load_canonical(
        loaded.crystals,
        at.folder,
        strict=strict,
        symprec=symprec,
        progress=at.progress,
        skipped=loaded.skipped,
    )
    kept = loaded.crystals.take(canonical.kept)
    say_split(find_split(kept, at.seed), has_split(kept), at.progress)
    write_table(with_split(kept, at.seed), table)
    build_corpus(canonical, at.progress).save(tensors)
    outcome = at.stages.finish("structures", digest, settings, [table, tensors])
    return read_table(table).crystals, Corpus.load(tensors), outcome


def _choose_targets(
    crystals: Crystals, named: Sequence[str] | None, seed: int, progress: Progress
) -> list[str]:
    """The labels to probe: those named, else the default if enough crystals carry it.

    Raises:
        InputError: if a named label is known for too few crystals.
        UnknownNameError: if it is no column.
    """
    columns = [] if crystals.columns is None else crystals.columns.column_names
    if not named and DEFAULT_TARGET not in columns:
        progress.note(f"No column {DEFAULT_TARGET}: no linear probe. Name a label with --target.")
        return []
    wanted = list(named or [DEFAULT_TARGET])
    try:
        evaluation.check_labels(crystals, wanted, seed)
    except InputError as error:
        if named:
            raise
        progress.note(f"No linear probe: {error}", warning=True)
        return []
    return wanted


def _train(at: _Run, crystals: Crystals, corpus: Corpus, given: str) -> list[str]:
    """Pre-train the blocks that are not trained yet; returns a digest of each one's files."""
    digests: dict[str, str] = {}
    missing: list[type[Block]] = []
    again: list[str] = []
    for block in at.plan.blocks:
        stage, settings = _training_stage(at.plan, block)
        digests[block.name] = at.stages.digest(stage, settings, [given])
        if at.stages.is_done(stage, digests[block.name]):
            at.progress.note(f"Block {block.number}, {block.name}: trained before")
            continue
        missing.append(block)
        if not at.stages.has_begun(stage, digests[block.name]):
            RunFolder(path=blocks_folder(at.folder) / block.name).clear()
        if at.stages.start(stage, digests[block.name]):
            again.append(block.name)
    if missing:
        split = find_split(crystals, at.seed)
        plan = replace(at.plan, blocks=tuple(missing))
        train_blocks(plan, corpus, split, at.folder, again, at.progress)
    for block in missing:
        stage, settings = _training_stage(at.plan, block)
        folder = blocks_folder(at.folder) / block.name
        files = [folder / name for name in (WEIGHTS_FILE, CARD_FILE, SEEN_FILE, "tasks.json")]
        at.stages.finish(stage, digests[block.name], settings, files)
    return [at.stages.outcome(_training_stage(at.plan, block)[0]) for block in at.plan.blocks]


def _training_stage(plan: Plan, block: type[Block]) -> tuple[str, dict[str, Any]]:
    """Name and settings of the stage that trains a block."""
    settings = {"training": asdict(plan.config), "block": asdict(plan.configs[block.name])}
    return f"pretrain-{block.name}", settings


def _features(at: _Run, corpus: Corpus, trained: list[str]) -> tuple[Features, Features, str]:
    """Features of trained encoders and of untrained ones, and a digest of their files."""
    table, array = at.folder / "features.parquet", at.folder / "all_ssl_features.npy"
    baseline = at.folder / "untrained_features.parquet"
    settings = {"seed": at.seed}
    digest = at.stages.digest("features", settings, trained)
    if at.stages.is_done("features", digest):
        at.progress.note(f"Features, as before: {table}")
    else:
        at.stages.start("features", digest)
        weights, names = blocks_folder(at.folder), [block.name for block in at.plan.blocks]
        encoders = load_encoders(weights, names)
        features = encode_with(corpus, encoders, weights, at.progress)
        save_parquet(features, table)
        save_npy(features, array)
        save_parquet(untrained_features(corpus, names, at.seed, at.progress), baseline)
        sidecars = sorted(at.folder.glob(f"{array.stem}*"))
        at.stages.finish("features", digest, settings, [table, baseline, *sidecars])
        width = counted(len(features.names), "feature")
        at.progress.note(f"{len(features):,} x {width}: {table}, {array}")
    return load_features(table), load_features(baseline), at.stages.outcome("features")


def _mix(
    at: _Run,
    crystals: Crystals,
    corpus: Corpus,
    features: Features,
    made: str,
    config: BottleneckConfig,
) -> Features:
    """Features of a bottleneck trained on those of all blocks."""
    folder, table = at.folder / BOTTLENECK, at.folder / "bottleneck_features.parquet"
    digest = at.stages.digest(BOTTLENECK, asdict(config), [made])
    if at.stages.is_done(BOTTLENECK, digest):
        at.progress.note(f"Bottleneck, as before: {table}")
    else:
        at.stages.start(BOTTLENECK, digest)
        split = find_split(crystals, at.seed)
        train_and_save(features, corpus, split, config, folder, at.progress)
        mixed = load_bottleneck(folder).apply_to(features)
        save_parquet(mixed, table)
        at.stages.finish(BOTTLENECK, digest, asdict(config), [folder, table])
        width = counted(len(mixed.names), "bottleneck feature")
        at.progress.note(f"{len(mixed):,} x {width}: {table}")
    return load_features(table)
