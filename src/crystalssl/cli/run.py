"""``crystalssl run``: all stages in a row, each done once for the same input and settings.

Structures (or the bundled crystals) -> canonical cells -> corpus -> trained blocks -> features ->
linear probe -> report. It only strings together what the other commands do one by one; formulas
of the test part are never seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl.cli import probing
from crystalssl.cli.console import (
    forget_skipped,
    load,
    make_canonical,
    make_folder,
    say,
    use_threads,
)
from crystalssl.cli.learn import Epochs
from crystalssl.cli.options import BlockChoice, OutFolder, Preset, Seed, Strict, Symprec, Threads
from crystalssl.cli.probe_tables import show_results
from crystalssl.cli.stages import Stages, crystals_digest
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.config import TrainConfig
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.evaluation.linear_probe import LinearProbe
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals

DEFAULT_TARGET = "formation_energy_per_atom"
"""Label that is probed when the structures carry it and no other is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What the first stage leaves for the others.

    Attributes:
        crystals: usable crystals, cells as given, with labels and the split column.
        corpus: the same crystals, canonical.
        digest: digest of the stage.
    """

    crystals: Crystals
    corpus: Corpus
    digest: str


def run(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="STRUCTURES",
            help="Files, folders, archives or tables; the bundled crystals if none are given.",
            show_default=False,
        ),
    ] = None,
    out: OutFolder = Path("runs/quick"),
    preset: Preset = "quick",
    block: BlockChoice = "all",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help=f"Label column to predict; {DEFAULT_TARGET} if there is one.",
            show_default=False,
        ),
    ] = None,
    epochs: Epochs = None,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Do everything: pre-train on structures, extract features, compare them, write the report.

    The same command again redoes only what changed or was not finished.
    """
    from crystalssl.blocks.registry import resolve_blocks
    from crystalssl.cli import steps
    from crystalssl.files import write_json

    blocks = resolve_blocks(block)
    config = steps.adjusted(preset, epochs=epochs, seed=seed, threads=threads)
    make_folder(out)
    use_threads(threads)
    stages = Stages(out)
    prepared = prepare(stages, sources, target or [], strict=strict, symprec=symprec, seed=seed)
    targets = choose_targets(prepared.crystals, target, seed)
    settings = {"preset": preset, "training": asdict(config), "symprec": symprec}
    write_json(
        {**settings, "targets": targets, "blocks": {b.name: asdict(b.Config()) for b in blocks}},
        out / "config.json",
    )
    digests = train(stages, prepared, blocks, config)
    features, untrained, digest = describe(stages, prepared, blocks, digests, seed)
    sets = {probing.SSL: features}
    if len(blocks) > 1:
        sets[probing.BOTTLENECK], digest = mix(stages, prepared, features, digest, seed)
    if targets:
        show_results(compare(stages, prepared, sets, untrained, targets, digest, seed))
    from crystalssl.report.html import write_report

    say(f"Report: {write_report(out)}")


def prepare(
    stages: Stages,
    sources: list[Path] | None,
    targets: list[str],
    *,
    strict: bool,
    symprec: float,
    seed: int,
) -> Prepared:
    """Read structures, split them, find canonical cells, and build the corpus.

    Raises:
        InputError: if structures cannot be used.
        UnknownNameError: if a target is no column.
    """
    from crystalssl.cli import steps
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.structures.table import read_table, write_table

    out = stages.folder
    loaded = load(sources) if sources else None
    given = load_bundled() if loaded is None else loaded.crystals
    skipped = [] if loaded is None else loaded.skipped
    for name in targets:
        given.column(name)
    settings = {"symprec": symprec, "strict": strict, "seed": seed, "skipped": len(skipped)}
    digest = stages.digest("structures", settings, [crystals_digest(given)])
    table, tensors = out / "structures.parquet", out / "corpus.safetensors"
    if stages.is_done("structures", digest, table, tensors):
        crystals = read_table(table).crystals
        say(f"{len(crystals):,} crystals, as before")
        return Prepared(crystals=crystals, corpus=Corpus.load(tensors), digest=digest)
    forget_skipped(out)
    canonical = make_canonical(given, out, strict=strict, symprec=symprec, skipped=skipped)
    crystals = steps.with_split(given.take(canonical.kept), seed)
    corpus = steps.build_corpus(canonical)
    write_table(crystals, table)
    corpus.save(tensors)
    stages.finish("structures", digest, settings)
    return Prepared(crystals=crystals, corpus=corpus, digest=digest)


def choose_targets(crystals: Crystals, named: list[str] | None, seed: int) -> list[str]:
    """The labels to probe: those named, else the default if enough crystals carry it.

    Raises:
        InputError: if a named label is known for too few crystals.
        UnknownNameError: if it is no column.
    """
    wanted = named or [DEFAULT_TARGET]
    columns = [] if crystals.columns is None else crystals.columns.column_names
    if not named and DEFAULT_TARGET not in columns:
        say(f"No column {DEFAULT_TARGET}: no linear probe. Name a label with --target.")
        return []
    try:
        probing.check_protocol(crystals, wanted, probing.protocol_for(crystals, seed))
    except InputError as error:
        if named:
            raise
        say(f"No linear probe: {error}", "yellow")
        return []
    return wanted


def train(
    stages: Stages, prepared: Prepared, blocks: Sequence[type[Block]], config: TrainConfig
) -> list[str]:
    """Pre-train the blocks that are not trained yet; returns the digests of their stages."""
    from crystalssl.cli import steps

    folder = steps.blocks_folder(stages.folder)
    digests, missing, again = [], [], []
    for block in blocks:
        name, settings = _training_stage(block, config)
        digests.append(stages.digest(name, settings, [prepared.digest]))
        if stages.is_done(name, digests[-1], folder / block.name / "weights.safetensors"):
            say(f"Block {block.number}, {block.name}: trained before")
            continue
        missing.append(block)
        if stages.start(name, digests[-1]):
            again.append(block.name)
    if missing:
        split = steps.find_split(prepared.crystals, config.seed)
        steps.pretrain_blocks(prepared.corpus, split, missing, config, stages.folder, resume=again)
    for block, digest in zip(blocks, digests, strict=True):
        name, settings = _training_stage(block, config)
        stages.finish(name, digest, settings)
    return digests


def _training_stage(block: type[Block], config: TrainConfig) -> tuple[str, dict[str, Any]]:
    """Name and settings of the stage that trains a block."""
    settings = {"training": asdict(config), "block": asdict(block.Config())}
    return f"pretrain-{block.name}", settings


def describe(
    stages: Stages,
    prepared: Prepared,
    blocks: tuple[type[Block], ...],
    digests: list[str],
    seed: int,
) -> tuple[Features, Features, str]:
    """Features of trained encoders and of untrained ones, and the digest of the stage."""
    from crystalssl.cli import steps
    from crystalssl.features.store import load_features, save_npy, save_parquet

    out = stages.folder
    table, array = out / "features.parquet", out / "all_ssl_features.npy"
    baseline = out / "untrained_features.parquet"
    digest = stages.digest("features", {"seed": seed}, digests)
    if stages.is_done("features", digest, table, array, baseline):
        say(f"Features, as before: {table}")
        return load_features(table), load_features(baseline), digest
    weights = steps.blocks_folder(out)
    trained = steps.load_encoders(weights, ",".join(b.name for b in blocks))
    features = steps.extract_features(prepared.corpus, trained, weights)
    untrained = steps.untrained_features(prepared.corpus, [block.name for block in blocks], seed)
    save_parquet(features, table)
    save_npy(features, array)
    save_parquet(untrained, baseline)
    stages.finish("features", digest, {"seed": seed})
    say(f"{len(features):,} x {len(features.names):,} features: {table}, {array}")
    return features, untrained, digest


def mix(
    stages: Stages, prepared: Prepared, features: Features, after: str, seed: int
) -> tuple[Features, str]:
    """Features mixed by a bottleneck trained on them, and the digest of the stage."""
    from crystalssl.cli import steps
    from crystalssl.cli.mixing import train_and_save
    from crystalssl.features.bottleneck import load_bottleneck
    from crystalssl.features.bottleneck_training import BottleneckConfig
    from crystalssl.features.store import load_features, save_parquet

    out = stages.folder
    folder, table = out / probing.BOTTLENECK, out / "bottleneck_features.parquet"
    config = BottleneckConfig(seed=seed)
    digest = stages.digest("bottleneck", asdict(config), [after])
    if stages.is_done("bottleneck", digest, folder, table):
        say(f"Bottleneck, as before: {table}")
        return load_features(table), digest
    split = steps.find_split(prepared.crystals, seed)
    train_and_save(features, prepared.corpus, split, config, folder)
    mixed = load_bottleneck(folder).apply_to(features)
    save_parquet(mixed, table)
    stages.finish("bottleneck", digest, asdict(config))
    say(f"{len(mixed):,} x {len(mixed.names):,} mixed features: {table}")
    return mixed, digest


def compare(
    stages: Stages,
    prepared: Prepared,
    trained: dict[str, Features],
    untrained: Features,
    targets: list[str],
    after: str,
    seed: int,
) -> LinearProbe:
    """The linear probe on all feature sets, or the rows of an earlier one."""
    from crystalssl.evaluation.linear_probe import LinearProbe

    out = stages.folder / "linear_probe"
    settings = {"targets": targets, "seed": seed}
    digest = stages.digest("linear_probe", settings, [after])
    if stages.is_done("linear_probe", digest, out):
        return LinearProbe.load(out)
    crystals = probing.labelled(prepared.crystals, targets)
    sets = probing.build_sets(crystals, trained, untrained, stages.folder / "cache")
    protocol = probing.protocol_for(crystals, seed)
    overlap = probing.overlap_of(list(trained.values()), crystals)
    result = probing.probe(
        sets, crystals, targets, protocol, out, champions=list(trained), overlap=overlap
    )
    stages.finish("linear_probe", digest, settings)
    return result
