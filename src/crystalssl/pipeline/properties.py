"""Labelled structures -> a property model in a folder; a model and structures -> predictions.

``fit`` reads labels, describes the labelled crystals once, and cross-validates, stacks and
calibrates candidates; ``predict`` streams large tables. Both are what the commands do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, require
from crystalssl.files import exclusive, remove, write_text
from crystalssl.pipeline.outputs import check_folder, forget_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted, watching
from crystalssl.pipeline.structures import load_canonical
from crystalssl.processes import limited_threads, usable_cores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crystalssl.datasets.load import Structures
    from crystalssl.evaluation.cache import Cache
    from crystalssl.properties.blending import Tuned
    from crystalssl.properties.cross_validation import Experiment
    from crystalssl.properties.descriptors import DescriptorPlan
    from crystalssl.properties.fitting import Fit
    from crystalssl.properties.inputs import Inputs
    from crystalssl.properties.labels import Labels, LabelSource
    from crystalssl.properties.property_model import PropertyModel
    from crystalssl.structures.canonical import CanonicalResult

SHARE_OF_TRIAL = 0.3
"""Share of the time left in which candidates are tried once to know how long they take."""
LEAST_LABELS = 20
"""Labelled crystals below which no model is fitted."""
LONG = 3.0
"""Minutes of training encoders on from which it is said how long it takes."""
CACHE = ".cache"
"""Folder of what is not finished."""


def fit(
    structures: Structures,
    out: str | Path,
    *,
    target: str,
    labels: str | Path | None = None,
    id_column: str | None = None,
    unit: str | None = None,
    group: str | None = None,
    task: str = "auto",
    descriptors: Sequence[str] = (),
    physics: bool = True,
    finetune: str = "auto",
    budget: float | None = None,
    repeats: int | None = None,
    weights: str | Path = "default",
    electronic: str = "auto",
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> PropertyModel:
    """Fit a property model to labelled crystals, with honest errors and intervals.

    A stopped fit goes on where it was when the same command is given again.

    Args:
        structures: paths or objects.
        out: folder of the model.
        target: label column, or ``log10(COLUMN)``.
        labels: table of labels (CSV, Parquet, Excel); None where structures carry them.
        id_column: its column of ids or file names.
        unit: unit of the label; None to read it from the column's name.
        group: column of groups that no split may divide, nor formulas; None for formulas alone.
        task: ``regression``, ``classification``, or ``auto``: words, true and false, and a column
            of 0 and 1 alone are classes.
        descriptors: own columns to read too: files, or columns that the structures carry.
        physics: whether named physical numbers are read beside features.
        finetune: whether encoders are trained on with the labels and join the stack: ``never``,
            ``always``, or ``auto``, where labels and time suffice.
        budget: minutes that it may take; None for as long as it takes.
        repeats: cross-validations with other folds; None for what suits.
        weights: folder of a run, or a name.
        electronic: where numbers of the electrons come from, as for ``extract``; predictions take
            them from the same.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of everything.
        device: where encoders run; a CUDA GPU if there is one by default.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if structures, labels or weights cannot be used, or labels are too few.
        UnknownNameError: if there is no such column or weights.
        MissingExtraError: if LightGBM is not installed.
    """
    require("lightgbm", "fit", "A property model")
    from crystalssl.properties.finetuning_plan import check_way
    from crystalssl.properties.labels import LabelSource

    check_way(finetune)
    source = LabelSource(
        target=target, file=None if labels is None else Path(labels), id_column=id_column,
        unit=unit, group=group, task=task,
    )  # fmt: skip
    options = _Options(
        source=source, descriptors=tuple(descriptors), physics=physics, finetune=finetune,
        budget=budget, repeats=repeats, weights=weights, electronic=electronic, symprec=symprec,
        seed=seed, device=device, threads=threads or 0,
    )  # fmt: skip
    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        forget_skipped(folder)
        canonical = load_canonical(
            structures, folder, strict=strict, symprec=symprec, progress=progress
        )
        return _fit_folder(canonical, folder, options, progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Options:
    """What a fit was asked for; see :func:`fit`."""

    source: LabelSource
    descriptors: tuple[str, ...]
    physics: bool
    finetune: str
    budget: float | None
    repeats: int | None
    weights: str | Path
    electronic: str
    symprec: float
    seed: int
    device: str | None
    threads: int


def _fit_folder(
    canonical: CanonicalResult, folder: Path, options: _Options, progress: Progress
) -> PropertyModel:
    """Fit to canonical crystals and write the folder."""
    import numpy as np

    from crystalssl.evaluation.cache import Cache, digest
    from crystalssl.properties.candidates import shrunk, within_budget
    from crystalssl.properties.cross_validation import Experiment, elapsed, seconds_of, usual_plan
    from crystalssl.properties.describing import take
    from crystalssl.properties.fitting import fit_property
    from crystalssl.properties.folder import Described, write_model
    from crystalssl.properties.labels import read_labels
    from crystalssl.properties.matching import joined_groups
    from crystalssl.properties.overlap import notes_of_overlap
    from crystalssl.properties.property_model import ENCODERS, PropertyModel, copy_encoders
    from crystalssl.properties.report import score_cards
    from crystalssl.properties.summary import summary

    start = perf_counter()
    labels = read_labels(canonical.crystals, options.source)
    for note in labels.notes:
        progress.note(note, warning=note.startswith(labels.target))
    rows = np.flatnonzero(np.isfinite(labels.values))
    if len(rows) < LEAST_LABELS:
        raise InputError(_too_few(labels, len(rows), folder))
    cache = Cache(folder / CACHE)
    labelled = take(canonical, rows)
    inputs, descriptors, weights = _inputs(labelled, options, labels.column, cache, progress)
    position = {name: at for at, name in enumerate(labelled.crystals.ids.tolist())}
    kept = np.array([position[name] for name in inputs.ids.tolist()], dtype=np.int64)
    if lost := len(rows) - len(kept):
        progress.note(f"{counted(lost, 'crystal')} without finite features left out", warning=True)
    for note in (familiar := notes_of_overlap(options.weights, labelled.crystals.take(kept))):
        progress.note(note, warning=True)
    groups = inputs.formulas
    if len(labels.groups):
        groups = joined_groups(groups, labels.groups[rows][kept])
    experiment = Experiment(
        inputs=inputs,
        labels=_columns(labels, labels.values[rows][kept]),
        groups=groups,
        cache=cache,
        seed=options.seed,
        workers=options.threads or usable_cores(),
        kind="classification" if labels.classes else "regression",
        nonnegative=labels.nonnegative,
    )
    plan = shrunk(usual_plan(experiment), experiment.groups, repeats=options.repeats)
    if options.budget is not None:
        left = options.budget - elapsed(cache, start) / 60.0
        seconds = seconds_of(experiment, plan, SHARE_OF_TRIAL * 60.0 * max(left, 0.0))
        plan = within_budget(plan, seconds, left, experiment.workers)
    with progress.step("Fitting") as advance:
        watch = watching(advance, plan.fits_of_each * len(plan.candidates))
        fitted = fit_property(experiment, plan, watch)
        scores = score_cards(fitted, experiment, labelled.crystals.take(kept), watch)
    clock = None if options.budget is None else options.budget - elapsed(cache, start) / 60.0
    cells = take(labelled, kept)
    fitted, tuned, told = _finetuned(experiment, fitted, cells, options, clock, progress)
    described = Described(
        labels=labels,
        structures=len(canonical.crystals),
        key=digest([*experiment.data(), str(plan)]),
        weights=weights,
        descriptors=descriptors.as_json(),
        scores=scores,
        notes=[*labels.notes, *familiar, *plan.notes, *told],
        tuned=tuned,
    )
    if weights["copied"]:
        copy_encoders(options.weights, folder / ENCODERS)
    card = write_model(folder, fitted, experiment, described)
    remove(folder / CACHE)
    for line in (*summary(card), f"Model: {folder}"):
        progress.note(line)
    return PropertyModel.load(folder, options.device)


def _finetuned(
    experiment: Experiment,
    fitted: Fit,
    labelled: CanonicalResult,
    options: _Options,
    minutes: float | None,
    progress: Progress,
) -> tuple[Fit, Tuned | None, list[str]]:
    """The fit with encoders that were trained on in its stack, where that is wanted and pays."""
    import numpy as np

    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.properties.blending import blend, trainings
    from crystalssl.properties.finetuning_plan import brought, plan_finetuning

    config = ExtractorConfig.of(options.weights, symprec=options.symprec, device=options.device)
    tuning, told = plan_finetuning(experiment, fitted, labelled, config, options.finetune, minutes)
    for note in told:
        progress.note(note)
    if tuning is None:
        return fitted, None, told
    count = len(experiment.labels)
    needed = trainings(fitted) * tuning.seconds(np.arange(count)) / 60.0
    if needed > LONG:
        progress.note(
            f"Training encoders on with {count:,} labels takes about {needed:,.0f} minutes; "
            "--finetune never leaves it out, --budget shortens it"
        )
    total = trainings(fitted) * tuning.settings.epochs_for(count)
    with progress.step("Encoders") as advance:
        joined, tuned = blend(experiment, fitted, tuning, watching(advance, total))
    progress.note(brought(tuned))
    return joined, tuned, [*told, brought(tuned)]


def _inputs(
    labelled: CanonicalResult, options: _Options, label: str, cache: Cache, progress: Progress
) -> tuple[Inputs, DescriptorPlan, dict[str, Any]]:
    """Columns of labelled crystals, from the cache or computed, and what they are made with."""
    import numpy as np

    from crystalssl.evaluation.cache import digest
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.properties import descriptors, inputs
    from crystalssl.properties.describing import Describer

    config = ExtractorConfig.of(
        options.weights, symprec=options.symprec, device=options.device,
        electronic=options.electronic,
    )  # fmt: skip
    cells = descriptors.gather_columns(
        labelled.crystals, options.descriptors, options.source.id_column, label
    )
    plan = descriptors.plan_columns(cells, options.source.id_column)
    described = descriptors.describe_cells(plan, cells, len(labelled.crystals))
    copied = Path(options.weights).is_dir()  # such a model does not need their folder
    weights: dict[str, Any] = {
        "name": Path(options.weights).resolve().name if copied else str(options.weights),
        "copied": copied,
        "blocks": list(config.blocks),
        "output": config.output,
        "electrons_from": config.electronic,
        "symprec": config.symprec,
        "sha256": config.checksums(),
    }
    data = [labelled.crystals.with_columns(None).digest(), digest([described.values])]
    physics = inputs.COMPUTED if options.physics else inputs.ABSENT
    key = cache.key(
        "inputs", {**weights, "physics": physics}, data=data, code=(Describer.__module__,)
    )
    arrays = cache.get(key)
    if arrays is None:
        with progress.step("Features") as advance:
            describer = Describer(extractor=config.extractor(), physics=physics)
            made, _ = describer.describe(labelled, described, advance)
        cache.put(key, {name: np.asarray(v) for name, v in inputs.arrays_of_inputs(made).items()})
        return made, plan, weights
    return inputs.inputs_of_arrays(arrays), plan, weights


def _columns(labels: Labels, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, t) labels as heads take them."""
    from crystalssl.properties.classes import class_columns

    return class_columns(values, len(labels.classes)) if labels.classes else values[:, None]


def _too_few(labels: Labels, count: int, folder: Path) -> str:
    """Message where labels do not suffice; what is not used is listed first."""
    from crystalssl.properties.folder import UNMATCHED, unmatched_text

    path = write_text(unmatched_text(labels.unmatched), folder / UNMATCHED)
    return (
        f"{labels.target!r} is known for {count} of {len(labels.values)} structures; expected at "
        f"least {LEAST_LABELS} labels. Check --target and --id; what is not used is in {path}."
    )
