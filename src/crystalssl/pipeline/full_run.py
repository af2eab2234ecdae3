"""All stages in a row, each done once for the same input, settings and files.

Own structures, on default weights: structures -> features -> neighbours -> property models -> map
-> report. The bundled crystals, or with ``pretrain``: structures -> canonical cells -> corpus ->
trained blocks -> features -> bottleneck -> linear probe, and then the same. Every stage reads what
the one before wrote, so a run that was stopped and goes on gives the same bytes as one that was
not. Formulas of the test rows are never seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.config import Settings
from crystalssl.errors import InputError
from crystalssl.files import exclusive, write_json
from crystalssl.pipeline import evaluation
from crystalssl.pipeline.outputs import check_folder, forget_skipped
from crystalssl.pipeline.progress import SILENT, Once, Progress, counted
from crystalssl.pipeline.report_page import report
from crystalssl.pipeline.structures import load_canonical
from crystalssl.pipeline.training import Plan, plan_training, say_split, train_blocks
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.load import Structures
    from crystalssl.evaluation.results import Results
    from crystalssl.features.features import Features
    from crystalssl.pipeline.answers import LabelFile
    from crystalssl.pipeline.stages import Stages
    from crystalssl.structures.crystals import Crystals

DEFAULT_TARGET = "formation_energy_per_atom"
"""Label that is probed when the structures carry it and no other is named."""
TABLE, CORPUS, BLOCKS, FEATURES, ARRAY, UNTRAINED, BOTTLENECK, MIXED = (
    "structures.parquet", "corpus.safetensors", "blocks", "features.parquet",
    "all_ssl_features.npy", "untrained_features.parquet", "bottleneck",
    "bottleneck_features.parquet",
)  # fmt: skip
"""Names in the folder of a run."""
PAYS_FROM = 4_000
"""Crystals from which on own pre-training was seen to beat untrained encoders in every view."""
TRAINED = ("weights.safetensors", "card.json", "seen.safetensors", "tasks.json")
"""Names in the folder of a block."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: the run; give it as ``weights``.
        features: features of all blocks, or of the default weights.
        bottleneck: features that mix the blocks; None for a single block and on default weights.
        linear_probe: the comparison with every baseline; None without a label or pre-training.
        models: folders of property models by target.
        map: page of the crystals.
        report: the page.
    """

    folder: Path
    features: Features
    bottleneck: Features | None
    linear_probe: Results | None
    models: dict[str, Path]
    map: Path
    report: Path


def run(
    structures: Structures | None = None,
    out: str | Path = "runs/quick",
    *,
    targets: Sequence[str] | None = None,
    labels: str | Path | None = None,
    id_column: str | None = None,
    weights: str | Path = "default",
    pretrain: bool = False,
    preset: str = "quick",
    block: str | Sequence[str | int] = "all",
    epochs: int | None = None,
    settings: Settings | None = None,
    budget: float | None = None,
    force: bool = False,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> RunResult:
    """Do everything: features, neighbours, a model of your property, a map and a report.

    Your structures are described by the default weights; without structures, the bundled crystals
    are: encoders are pre-trained on them and compared with every baseline first. The same command
    again redoes only what changed or was not finished.

    Args:
        structures: paths or objects; the bundled crystals if None.
        out: folder of the run.
        targets: label columns to predict, or ``log10(COLUMN)``; of the bundled crystals the
            formation energy by default.
        labels: table of labels (CSV, Parquet, Excel); None where structures carry them.
        id_column: its column of ids or file names.
        weights: folder of a run, or a name, where nothing is pre-trained.
        pretrain: train encoders on the structures first, instead of using ``weights``.
        preset: of pre-training: quick, paper or large.
        block: of pre-training: all, or names and numbers.
        epochs: passes over the training crystals at most, instead of the preset's.
        settings: values by section and setting, as in a TOML file.
        budget: minutes that each property model may take.
        force: replace weights that ``pretrain`` left in the folder.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if structures, labels or settings cannot be used, or the folder holds weights
            of another command.
        UnknownNameError: if there is no such block, preset, setting, label or weights.
    """
    from crystalssl.pipeline.answers import MAP, MODELS, Answers, LabelFile, slug
    from crystalssl.pipeline.stages import Stages

    plan, progress = None, Once(progress)
    if structures is None or pretrain:
        plan = _plan(block, preset, settings, epochs, seed, threads)
    else:
        _refuse_training_options(preset, block, epochs, settings, force)
    if labels is not None and not targets:
        raise InputError(f"Got labels {labels}; name the column to predict with --target.")
    file = LabelFile(path=None if labels is None else Path(labels), id_column=id_column)
    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        stages = Stages(folder)
        if plan is not None:
            at = _Run(stages=stages, plan=plan, seed=seed, progress=progress)
            wanted = _Wanted(targets=targets, labels=file, preset=preset, symprec=symprec)
            made = _on_own_weights(at, structures, wanted, force, strict)
        else:
            made = _on_given_weights(
                stages, structures or [], weights, targets or (), file, strict=strict,
                symprec=symprec, progress=progress,
            )  # fmt: skip
        answers = Answers(
            stages=stages, table=folder / TABLE, weights=made.weights,
            inputs=[stages.outcome(name) for name in made.stages], symprec=symprec, seed=seed,
            threads=threads, progress=progress,
        )  # fmt: skip
        answers.neighbours(made.described)
        for target in made.targets:
            answers.model(made.described, target, file, budget)
        answers.map(made.described, made.targets)
        page = report(folder, features=made.file)
    return RunResult(
        folder=folder, features=made.features, bottleneck=made.mixed, linear_probe=made.probe,
        models={target: folder / MODELS / slug(target) for target in made.targets},
        map=folder / MAP, report=page,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """What is to be predicted, and how structures are taken."""

    targets: Sequence[str] | None
    labels: LabelFile
    preset: str
    symprec: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """Features of a run and where they come from.

    Attributes:
        features: features of all blocks, or of the weights.
        described: those that models, neighbours and the map use.
        file: their file.
        weights: what they were made with.
        stages: stages that made them.
        targets: properties that get a model.
        mixed: features of the bottleneck of the run.
        probe: the comparison with baselines.
    """

    features: Features
    described: Features
    file: Path
    weights: str | Path
    stages: Sequence[str]
    targets: Sequence[str]
    mixed: Features | None = None
    probe: Results | None = None


def _refuse_training_options(
    preset: str,
    block: str | Sequence[str | int],
    epochs: int | None,
    settings: Settings | None,
    force: bool,
) -> None:
    """Options of pre-training have no meaning on weights that are there.

    Raises:
        InputError: if any of them is given.
    """
    given = {
        "--preset": preset != "quick", "--block": block != "all", "--epochs": epochs is not None,
        "--set or --config": bool(settings), "--force": force,
    }  # fmt: skip
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise InputError(
            f"Got {', '.join(names)}, which only shape pre-training; without --pretrain the "
            "default weights describe your structures. Add --pretrain to train encoders on them, "
            "or leave it out."
        )


def _plan(
    block: str | Sequence[str | int],
    preset: str,
    settings: Settings | None,
    epochs: int | None,
    seed: int,
    threads: int | None,
) -> Plan:
    """Blocks and settings of pre-training."""
    chosen = dict(settings or {})
    chosen["bottleneck"] = {"seed": seed, **chosen.get("bottleneck", {})}
    return plan_training(block, preset, chosen, epochs=epochs, seed=seed, threads=threads)


def _on_own_weights(
    at: _Run, structures: Structures | None, wanted: _Wanted, force: bool, strict: bool
) -> _Made:
    """Pre-train, extract, mix, and compare with every baseline."""
    from crystalssl.features.store import load_features
    from crystalssl.pipeline.answers import check_property

    folder, plan, progress = at.folder, at.plan, at.progress
    from_file = wanted.labels.path is not None
    crystals, corpus = at.prepare(
        structures, () if from_file else wanted.targets or (), strict, wanted.symprec
    )
    if structures is not None:
        _say_if_few(len(crystals), progress)
    if from_file:
        for target in wanted.targets or ():
            check_property(crystals, target, wanted.labels, progress)
    labels = [] if from_file else _choose_targets(crystals, wanted.targets, at.seed, progress)
    effective: dict[str, Any] = {"preset": wanted.preset, "training": asdict(plan.config)}
    effective |= {"blocks": {name: asdict(c) for name, c in plan.configs.items()}}
    effective |= {"bottleneck": asdict(plan.bottleneck), "symprec": wanted.symprec}
    effective |= {"targets": labels or list(wanted.targets or ())}
    write_json(effective, folder / "config.json")
    at.train(crystals, corpus, force)
    at.extract(corpus)
    features, mixed = load_features(folder / FEATURES), None
    sets = {"untrained": load_features(folder / UNTRAINED), "ssl": features}
    if len(plan.blocks) > 1:
        at.mix(features, crystals, corpus)
        mixed = sets[BOTTLENECK] = load_features(folder / MIXED)
    probe = None
    if labels:
        probe = evaluation.probe_run(
            at.stages, crystals, sets, labels, seed=at.seed, progress=progress
        )
    return _Made(
        features=features,
        described=features if mixed is None else mixed,
        file=folder / (FEATURES if mixed is None else MIXED),
        weights=folder,
        stages=["structures", "features"] + ([] if mixed is None else [BOTTLENECK]),
        targets=list(wanted.targets or ()) if from_file else labels,
        mixed=mixed,
        probe=probe,
    )


def _say_if_few(count: int, progress: Progress) -> None:
    """Say from how many crystals on own pre-training pays."""
    text = f"Pre-training on {counted(count, 'crystal')}. "
    if count < PAYS_FROM:
        text += (
            f"It was seen to pay from some {PAYS_FROM:,} on; for fewer, leave out --pretrain: the "
            "default weights have learned from ten times as many."
        )
    progress.note(text.strip(), warning=count < PAYS_FROM)


def _on_given_weights(
    stages: Stages,
    structures: Structures,
    weights: str | Path,
    targets: Sequence[str],
    labels: LabelFile,
    *,
    strict: bool,
    symprec: float,
    progress: Progress,
) -> _Made:
    """Structure table and features of weights that are there."""
    from crystalssl.datasets.load import load_valid
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.store import load_features, save_npy
    from crystalssl.pipeline.answers import check_property
    from crystalssl.pipeline.extraction import extract_to
    from crystalssl.pipeline.structures import write_valid

    folder = stages.folder
    table, file, array = (folder / name for name in (TABLE, FEATURES, ARRAY))
    made_with = ExtractorConfig.of(weights, symprec=symprec).checksums()
    with progress.step("Reading structures"):
        loaded = load_valid(structures)
    for target in targets:
        check_property(loaded.crystals, target, labels, progress)

    def convert() -> list[Path]:
        write_valid(loaded, table, strict=strict, progress=progress)
        return [table]

    def describe() -> list[Path]:
        extract_to(
            table, file, weights=weights, strict=strict, symprec=symprec, progress=progress
        )  # fmt: skip
        save_npy(load_features(file), array)
        return [file, *sorted(folder.glob(f"{array.stem}*"))]

    digest = loaded.crystals.digest()
    shaping: dict[str, Any] = {"strict": strict, "skipped": len(loaded.skipped)}
    if stages.once("structures", shaping, [digest], convert):
        progress.note(f"{counted(len(loaded.crystals), 'structure')}, as before")
    shaping = {"symprec": symprec, "strict": strict, "weights": made_with}
    if stages.once("features", shaping, [stages.outcome("structures")], describe):
        progress.note(f"Features, as before: {file}")
    effective = {"weights": str(weights), "symprec": symprec, "targets": list(targets)}
    write_json(effective, folder / "config.json")
    if not targets:
        progress.note(
            "No --target: features, neighbours and map. Name a measured column for a model of it."
        )
    features = load_features(file)
    return _Made(
        features=features, described=features, file=file, weights=weights,
        stages=["structures", "features"], targets=list(targets),
    )  # fmt: skip


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


def _stage(block: type[Block]) -> str:
    """Name of the stage that trains a block."""
    return f"pretrain-{block.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """The stages of a run; each is skipped when it is done.

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

    def prepare(
        self,
        structures: Structures | None,
        targets: Sequence[str],
        strict: bool,
        symprec: float,
    ) -> tuple[Crystals, Corpus]:
        """Crystals with labels and split, cells as given, and their corpus."""
        from crystalssl.datasets.bundled import load_bundled
        from crystalssl.datasets.corpus import Corpus
        from crystalssl.datasets.load import Loaded, load_valid
        from crystalssl.datasets.splits import find_split, with_split
        from crystalssl.structures.table import read_table, write_table

        if structures is None:
            loaded = Loaded(crystals=load_bundled(), skipped=[])
        else:
            with self.progress.step("Reading structures"):
                loaded = load_valid(structures)
        evaluation.check_targets(loaded.crystals, targets)
        table, tensors = self.folder / TABLE, self.folder / CORPUS

        def work() -> list[Path]:
            forget_skipped(self.folder)
            canonical = load_canonical(
                loaded.crystals, self.folder, strict=strict, symprec=symprec,
                progress=self.progress, skipped=loaded.skipped,
            )  # fmt: skip
            kept = loaded.crystals.take(canonical.kept)
            say_split(find_split(kept, self.seed), kept, self.progress)
            write_table(with_split(kept, self.seed), table)
            with self.progress.step("Building neighbour graphs and lattice points"):
                Corpus.from_crystals(canonical).save(tensors)
            return [table, tensors]

        settings = {"symprec": symprec, "strict": strict, "seed": self.seed}
        settings |= {"skipped": len(loaded.skipped)}
        before = self.stages.once("structures", settings, [loaded.crystals.digest()], work)
        crystals = read_table(table).crystals  # as a run that goes on reads them
        if before:
            self.progress.note(f"{counted(len(crystals), 'crystal')}, as before")
        return crystals, Corpus.load(tensors)

    def train(self, crystals: Crystals, corpus: Corpus, force: bool) -> None:
        """Pre-train the blocks that are not trained yet.

        What an earlier run left here may be replaced, what another command left by ``force`` only.
        """
        from crystalssl.datasets.splits import find_split

        inputs, folders = [self.stages.outcome("structures")], self.folder / BLOCKS
        missing: list[tuple[type[Block], str, dict[str, Any]]] = []
        for block in self.plan.blocks:
            settings = {"training": self.plan.config.shaping()}
            settings["block"] = asdict(self.plan.configs[block.name])
            digest = self.stages.digest(_stage(block), settings, inputs)
            if self.stages.is_done(_stage(block), digest):
                self.progress.note(f"Block {block.number}, {block.name}: trained before")
            else:
                missing.append((block, digest, settings))
        if not missing:
            return
        for block, digest, _ in missing:  # an earlier run's, or none's
            if self.stages.is_known(_stage(block)) or not (folders / block.name).exists():
                self.stages.start(_stage(block), digest)
        mine = force or all(self.stages.is_known(_stage(block)) for block, *_ in missing)
        plan = replace(self.plan, blocks=tuple(block for block, *_ in missing))
        split = find_split(crystals, self.seed)
        train_blocks(plan, corpus, split, self.folder, force=mine, progress=self.progress)
        for block, digest, settings in missing:
            self.stages.start(_stage(block), digest)
            written = [folders / block.name / name for name in TRAINED]
            self.stages.finish(_stage(block), digest, settings, written)

    def extract(self, corpus: Corpus) -> None:
        """Features of trained encoders, and of untrained ones."""
        from crystalssl.features.extract import extract_untrained
        from crystalssl.features.extractor import ExtractorConfig
        from crystalssl.features.store import save_npy, save_parquet

        table, array = self.folder / FEATURES, self.folder / ARRAY
        names = [block.name for block in self.plan.blocks]

        def work() -> list[Path]:
            extractor = ExtractorConfig.of(self.folder / BLOCKS, names, output="blocks").extractor()
            with self.progress.step("Features") as advance:
                features = extractor.features_of(corpus, advance)
            with self.progress.step("Untrained encoders") as advance:
                fresh = extract_untrained(corpus, names, seed=self.seed, progress=advance)
            save_parquet(features, table)
            save_npy(features, array)
            save_parquet(fresh, self.folder / UNTRAINED)
            width = counted(len(features.names), "feature")
            self.progress.note(f"{len(features):,} x {width}: {table}, {array}")
            return [table, self.folder / UNTRAINED, *sorted(self.folder.glob(f"{array.stem}*"))]

        trained = [self.stages.outcome(_stage(block)) for block in self.plan.blocks]
        if self.stages.once("features", {"seed": self.seed}, trained, work):
            self.progress.note(f"Features, as before: {table}")

    def mix(self, features: Features, crystals: Crystals, corpus: Corpus) -> None:
        """Features of a bottleneck that is trained on those of all blocks."""
        from crystalssl.datasets.splits import find_split
        from crystalssl.features.bottleneck import load_bottleneck
        from crystalssl.features.bottleneck_training import train_and_save
        from crystalssl.features.store import save_parquet
        from crystalssl.representation.targets import by_kind

        folder, table, config = self.folder / BOTTLENECK, self.folder / MIXED, self.plan.bottleneck

        def work() -> list[Path]:
            split, targets = find_split(crystals, self.seed), by_kind(corpus.values.numpy())
            with self.progress.step("Bottleneck") as advance:
                rows = split.train, split.val
                train_and_save(features, targets, rows, config, folder, progress=advance)
            mixed = load_bottleneck(folder).apply_to(features)
            save_parquet(mixed, table)
            width = counted(len(mixed.names), "bottleneck feature")
            self.progress.note(f"{len(mixed):,} x {width}: {table}")
            return [folder, table]

        inputs = [self.stages.outcome("features")]
        if self.stages.once(BOTTLENECK, asdict(config), inputs, work):
            self.progress.note(f"Bottleneck, as before: {table}")
