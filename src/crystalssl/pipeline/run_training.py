"""Structures of a run -> encoders pre-trained on them, their features, and the proof beside them.

Structures (or the bundled crystals) -> canonical cells -> corpus -> trained blocks -> features ->
bottleneck -> linear probe: the first stages of ``run`` where it trains. Formulas of the test rows
are never seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError
from crystalssl.files import write_json
from crystalssl.pipeline import evaluation
from crystalssl.pipeline.outputs import forget_skipped
from crystalssl.pipeline.progress import Progress, counted
from crystalssl.pipeline.run_features import ARRAY, FEATURES, TABLE, Described, Wanted
from crystalssl.pipeline.structures import load_canonical
from crystalssl.pipeline.teaching import reads_electrons, teach_student, with_electrons
from crystalssl.pipeline.training import Plan, say_split, train_blocks

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.load import Structures
    from crystalssl.features.features import Features
    from crystalssl.pipeline.stages import Stages
    from crystalssl.structures.crystals import Crystals

DEFAULT_TARGET = "formation_energy_per_atom"
"""Label that is probed when the structures carry it and no other is named."""
CORPUS, BLOCKS, UNTRAINED, BOTTLENECK, MIXED, STUDENT = (
    "corpus.safetensors", "blocks", "untrained_features.parquet", "bottleneck",
    "bottleneck_features.parquet", "student",
)  # fmt: skip
"""Names in the folder of a run."""
PAYS_FROM = 4_000
"""Crystals from which on own pre-training was seen to beat untrained encoders in every view."""
TRAINED = ("weights.safetensors", "card.json", "seen.safetensors", "tasks.json")
"""Names in the folder of a block."""


def pretrain_first(at: PretrainedRun, structures: Structures | None, wanted: Wanted) -> Described:
    """Pre-train, extract, mix, and compare with every baseline.

    Args:
        at: stages and settings.
        structures: paths or objects; the bundled crystals if None.
        wanted: what is to be predicted.

    Raises:
        InputError: if structures or labels cannot be used, or weights of another command are there.
        UnknownNameError: if there is no such label.
    """
    from crystalssl.features.block_choice import ELECTRONS_FROM
    from crystalssl.features.store import load_features
    from crystalssl.pipeline.answers import check_property

    folder, plan, progress = at.folder, at.plan, at.progress
    from_file = wanted.labels.path is not None
    crystals, corpus = at.prepare(
        structures, () if from_file else wanted.targets or (), wanted.strict, wanted.symprec
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
    effective |= {"student": asdict(plan.student), ELECTRONS_FROM: "exact"}
    effective |= {"targets": labels or list(wanted.targets or ())}
    write_json(effective, folder / "config.json")
    at.train(crystals, corpus, wanted.force)
    at.teach(crystals, corpus)
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
    return Described(
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
class PretrainedRun:
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
                corpus = Corpus.from_crystals(canonical)
            with_electrons(corpus, self.plan.blocks, self.progress).save(tensors)
            return [table, tensors]

        settings = {"symprec": symprec, "strict": strict, "seed": self.seed}
        settings |= {"skipped": len(loaded.skipped), "electrons": reads_electrons(self.plan.blocks)}
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

    def teach(self, crystals: Crystals, corpus: Corpus) -> None:
        """The student of the electrons, where a block reads them and others can tell of them."""
        from crystalssl.datasets.splits import find_split

        if not self._taught:
            return
        config, run = self.plan.student, self.folder / BLOCKS

        def work() -> list[Path]:
            teach_student(corpus, find_split(crystals, self.seed), run, config, self.progress)
            return [run / STUDENT]

        trained = [self.stages.outcome(_stage(block)) for block in self.plan.blocks]
        if self.stages.once(STUDENT, asdict(config), trained, work):
            self.progress.note(f"Student, as before: {run / STUDENT}")

    @property
    def _taught(self) -> bool:
        """Whether a block reads electrons that others predict; the array then holds the mixture."""
        readers = [reads_electrons([block]) for block in self.plan.blocks]
        return any(readers) and not all(readers)

    def extract(self, corpus: Corpus) -> None:
        """Features of trained encoders, and of untrained ones."""
        from crystalssl.features.extract import extract_untrained
        from crystalssl.features.extractor import ExtractorConfig
        from crystalssl.features.store import save_npy, save_parquet

        table, array = self.folder / FEATURES, self.folder / ARRAY
        names = [block.name for block in self.plan.blocks]

        def work() -> list[Path]:
            config = ExtractorConfig.of(
                self.folder / BLOCKS, names, output="blocks", electronic="exact"
            )
            # electrons of the corpus are there: teaching the student needed them
            extractor = replace(config.extractor(), electrons=None)
            with self.progress.step("Features") as advance:
                features = extractor.features_of(corpus, advance)
            with self.progress.step("Untrained encoders") as advance:
                fresh = extract_untrained(corpus, names, seed=self.seed, progress=advance)
            save_parquet(features, table)
            save_parquet(fresh, self.folder / UNTRAINED)
            if not self._taught:
                save_npy(features, array)
            self.progress.note(
                f"{len(features):,} x {counted(len(features.names), 'feature')}: {table}"
            )
            written = [] if self._taught else sorted(self.folder.glob(f"{array.stem}*"))
            return [table, self.folder / UNTRAINED, *written]

        trained = [self.stages.outcome(_stage(block)) for block in self.plan.blocks]
        settings = {"seed": self.seed, "electrons_from": "exact"}
        if self.stages.once("features", settings, trained, work):
            self.progress.note(f"Features, as before: {table}")

    def mix(self, features: Features, crystals: Crystals, corpus: Corpus) -> None:
        """Features of a bottleneck that is trained on those of all blocks."""
        from crystalssl.datasets.splits import find_split
        from crystalssl.features.bottleneck import load_bottleneck
        from crystalssl.features.bottleneck_training import train_and_save
        from crystalssl.features.physics import with_view
        from crystalssl.features.store import save_npy, save_parquet
        from crystalssl.representation.targets import by_kind

        folder, table, array = (self.folder / name for name in (BOTTLENECK, MIXED, ARRAY))
        config = self.plan.bottleneck

        def work() -> list[Path]:
            split, targets = find_split(crystals, self.seed), by_kind(corpus.values.numpy())
            views = with_view(features, corpus) if config.named_physics else features
            with self.progress.step("Bottleneck") as advance:
                rows = split.train, split.val
                train_and_save(views, targets, rows, config, folder, progress=advance)
            mixed = load_bottleneck(folder).apply_to(views)
            save_parquet(mixed, table)
            if self._taught:
                save_npy(mixed, array)
            width = counted(len(mixed.names), "bottleneck feature")
            self.progress.note(f"{len(mixed):,} x {width}: {table}")
            written = sorted(self.folder.glob(f"{array.stem}*")) if self._taught else []
            return [folder, table, *written]

        inputs = [self.stages.outcome("features")]
        if self.stages.once(BOTTLENECK, asdict(config), inputs, work):
            self.progress.note(f"Bottleneck, as before: {table}")
