"""Structures of a run and weights that are there -> structure table and features, each done once.

The first stages of ``run`` on a user's own files; ``run_training.py`` has those that train. What
both give is a :class:`Described`, from which ``answers.py`` goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.files import write_json
from crystalssl.pipeline.progress import Progress, counted

if TYPE_CHECKING:
    from crystalssl.datasets.load import Structures
    from crystalssl.evaluation.results import Results
    from crystalssl.features.features import Features
    from crystalssl.pipeline.answers import LabelFile
    from crystalssl.pipeline.stages import Stages

TABLE, FEATURES, ARRAY = "structures.parquet", "features.parquet", "all_ssl_features.npy"
"""Names in the folder of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be predicted, and how structures are taken.

    Attributes:
        targets: label columns, or None for what is usual.
        labels: where labels are.
        electronic: where numbers of the electrons come from, where nothing is pre-trained.
        preset: preset of pre-training.
        symprec: tolerance of the symmetry search in angstrom.
        strict: whether a structure that cannot be used is an error.
        force: whether weights that another command left may be replaced.
    """

    targets: Sequence[str] | None
    labels: LabelFile
    electronic: str = "auto"
    preset: str = "quick"
    symprec: float = 0.01
    strict: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
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


def use_weights(
    stages: Stages,
    structures: Structures,
    weights: str | Path,
    wanted: Wanted,
    progress: Progress,
) -> Described:
    """Structure table and features of weights that are there.

    Args:
        stages: stages of the run.
        structures: paths or objects.
        weights: folder of a run, or a name.
        wanted: what is to be predicted.
        progress: told what is done.

    Raises:
        InputError: if structures, labels or weights cannot be used.
        UnknownNameError: if there is no such label, weights or way to the electrons.
    """
    from crystalssl.datasets.load import load_valid
    from crystalssl.features.block_choice import CONFIG, ELECTRONS_FROM
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.store import load_features, save_npy
    from crystalssl.pipeline.answers import check_property
    from crystalssl.pipeline.extraction import extract_to
    from crystalssl.pipeline.structures import write_valid

    folder, targets = stages.folder, wanted.targets or ()
    strict, symprec = wanted.strict, wanted.symprec
    table, file, array = (folder / name for name in (TABLE, FEATURES, ARRAY))
    electronic = wanted.electronic
    config = ExtractorConfig.of(weights, symprec=symprec, electronic=electronic)
    with progress.step("Reading structures"):
        loaded = load_valid(structures)
    for target in targets:
        check_property(loaded.crystals, target, wanted.labels, progress)

    def convert() -> list[Path]:
        write_valid(loaded, table, strict=strict, progress=progress)
        return [table]

    def describe() -> list[Path]:
        extract_to(
            table, file, weights=weights, electronic=electronic, strict=strict, symprec=symprec,
            progress=progress,
        )  # fmt: skip
        save_npy(load_features(file), array)
        return [file, *sorted(folder.glob(f"{array.stem}*"))]

    digest = loaded.crystals.digest()
    shaping: dict[str, Any] = {"strict": strict, "skipped": len(loaded.skipped)}
    if stages.once("structures", shaping, [digest], convert):
        progress.note(f"{counted(len(loaded.crystals), 'structure')}, as before")
    shaping = {"symprec": symprec, "strict": strict, "weights": config.checksums()}
    shaping[ELECTRONS_FROM] = config.electronic
    if stages.once("features", shaping, [stages.outcome("structures")], describe):
        progress.note(f"Features, as before: {file}")
    effective = {"weights": str(weights), "symprec": symprec, "targets": list(targets)}
    write_json({**effective, ELECTRONS_FROM: config.electronic}, folder / CONFIG)
    if not targets:
        progress.note(
            "No --target: features, neighbours and map. Name a measured column for a model of it."
        )
    features = load_features(file)
    return Described(
        features=features, described=features, file=file, weights=weights,
        stages=["structures", "features"], targets=list(targets),
    )  # fmt: skip
