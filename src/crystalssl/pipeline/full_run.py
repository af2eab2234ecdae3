"""All stages in a row, each done once for the same input, settings and files.

Own structures, on default weights: structures -> features -> neighbours -> property models -> map
-> report. The bundled crystals, or with ``pretrain``: structures -> canonical cells -> corpus ->
trained blocks -> features -> bottleneck -> linear probe, and then the same. Every stage reads what
the one before wrote, so a run that was stopped and goes on gives the same bytes as one that was
not. Formulas of the test rows are never seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.config import Settings
from crystalssl.errors import InputError, require
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_folder
from crystalssl.pipeline.progress import SILENT, Once, Progress
from crystalssl.pipeline.report_page import report, require_report
from crystalssl.pipeline.run_features import TABLE, Described, Wanted, use_weights
from crystalssl.pipeline.run_training import PretrainedRun, pretrain_first
from crystalssl.pipeline.stages import Stages
from crystalssl.pipeline.training import Plan, plan_training
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    from crystalssl.datasets.load import Structures
    from crystalssl.evaluation.results import Results
    from crystalssl.features.features import Features
    from crystalssl.pipeline.answers import LabelFile


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
    unit: str | None = None,
    weights: str | Path = "default",
    electronic: str = "auto",
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

    Your structures are described by the default weights; without structures, encoders are
    pre-trained on the bundled crystals and compared with every baseline first. What is done stays.

    Args:
        structures: paths or objects; the bundled crystals if None.
        out: folder of the run.
        targets: label columns, or ``log10(COLUMN)``; of bundled crystals the formation energy.
        labels: table of labels (CSV, Parquet, Excel); None where structures carry them.
        id_column: its column of ids or file names.
        unit: unit of the label; None to read it from the column's name.
        weights: folder of a run, or a name, where nothing is pre-trained.
        electronic: where numbers of the electrons come from, where nothing is pre-trained.
        pretrain: train encoders on the structures first, instead of using ``weights``.
        preset: of pre-training: quick, paper or large.
        block: of pre-training: all, or names and numbers.
        epochs: passes over the training crystals, instead of the preset's.
        settings: values by section and setting, as in a TOML file.
        budget: minutes that each property model may take.
        force: replace weights that ``pretrain`` left in the folder.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if an input cannot be used, or the folder holds weights of another command.
        UnknownNameError: if there is no such block, preset, setting, label or weights.
        MissingExtraError: if a package that the run needs is not installed.
    """
    from crystalssl.pipeline.answers import Answers

    plan, progress = None, Once(progress)
    if structures is None or pretrain:
        plan = _plan(block, preset, settings, epochs, seed, threads, electronic)
    else:
        _refuse_training_options(preset, block, epochs, settings, force)
    wanted = Wanted(
        targets=targets, labels=_label_file(labels, id_column, unit, targets),
        electronic=electronic, preset=preset, symprec=symprec, strict=strict, force=force,
    )  # fmt: skip
    folder = _checked(out, with_model=structures is None or bool(targets))
    with exclusive(folder), limited_threads(threads):
        stages = Stages(folder)
        if plan is not None:
            at = PretrainedRun(stages=stages, plan=plan, seed=seed, progress=progress)
            made = pretrain_first(at, structures, wanted)
        else:
            made = use_weights(stages, structures or [], weights, wanted, progress)
        Answers(
            stages=stages, table=folder / TABLE, weights=made.weights,
            inputs=[stages.outcome(name) for name in made.stages], electronic=electronic,
            symprec=symprec, seed=seed, threads=threads, progress=progress,
        ).all(made.described, made.targets, wanted.labels, budget)  # fmt: skip
        return _result(folder, made)


def _checked(out: str | Path, *, with_model: bool) -> Path:
    """The folder of a run, once it is clear that the run can come to its end.

    Raises:
        InputError: if it cannot be written.
        MissingExtraError: if a package is missing.
    """
    require_report()
    if with_model:
        require("lightgbm", "fit", "A property model")
    return check_folder(out)


def _label_file(
    labels: str | Path | None,
    id_column: str | None,
    unit: str | None,
    targets: Sequence[str] | None,
) -> LabelFile:
    """The file of labels, if there is one, and their unit.

    Raises:
        InputError: if no column of it is named, or one unit is given for several.
    """
    from crystalssl.pipeline.answers import LabelFile

    if labels is not None and not targets:
        raise InputError(f"Got labels {labels}; name the column to predict with --target.")
    if unit is not None and len(targets or ()) != 1:
        raise InputError(
            f"Got the unit {unit!r} for {len(targets or ())} targets, expected one --target."
        )
    return LabelFile(path=None if labels is None else Path(labels), id_column=id_column, unit=unit)


def _result(folder: Path, made: Described) -> RunResult:
    """Write the page, and name what the run left behind."""
    from crystalssl.pipeline.answers import MAP, MODELS, slug

    return RunResult(
        folder=folder,
        features=made.features,
        bottleneck=made.mixed,
        linear_probe=made.probe,
        models={target: folder / MODELS / slug(target) for target in made.targets},
        map=folder / MAP,
        report=report(folder),
    )


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
    electronic: str,
) -> Plan:
    """Blocks and settings of pre-training.

    Raises:
        InputError: if electrons are to come from anywhere else than the crystals of the run.
    """
    if electronic != "auto":
        raise InputError(
            f"Got --electronic {electronic}, which is for weights that are there: a run that "
            "pre-trains computes the electrons of its crystals and uses them. Leave it out."
        )
    chosen = dict(settings or {})
    chosen["bottleneck"] = {"seed": seed, **chosen.get("bottleneck", {})}
    return plan_training(block, preset, chosen, epochs=epochs, seed=seed, threads=threads)
