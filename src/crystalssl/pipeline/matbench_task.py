"""A task of Matbench to scores on its official folds: features frozen, one head.

Reading, folds and the benchmark's record are in ``evaluation.matbench``; here is what the command
does around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.files import exclusive
from crystalssl.pipeline.evaluation import finished, overlap_of
from crystalssl.pipeline.outputs import check_folder, forget_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import load_canonical
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    from crystalssl.evaluation.results import Results

NOT_OFFICIAL = (
    "This is not a task of Matbench v0.1 as published (name, target and number of rows): its folds "
    "are made the same way, but scores do not belong on the leaderboard."
)
"""Said of tasks of other names or sizes."""
WITHOUT_FEATURES = "have no features; they are predicted by the mean of the training labels"
"""Said of rows that no encoder can describe."""


def matbench(
    file: str | Path,
    out: str | Path,
    *,
    weights: str | Path = "default",
    head: str = "ridge",
    target: str | None = None,
    task: str | None = None,
    block: str | Sequence[str | int] = "all",
    strict: bool = False,
    symprec: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Results:
    """Matbench: the five official folds of a task, frozen features, one head.

    Args:
        file: ``matbench_*.json.gz`` as matminer has it, or a structure table.
        out: folder for rows, predictions and the benchmark's record ``results.json``.
        weights: folder of a run, or a name.
        head: ridge, lightgbm, mlp or random_forest.
        target: label column, if it is not clear.
        task: name of the task, if the file has another name.
        block: all, or names and numbers.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of the head.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or written.
        UnknownNameError: if there is no such head, block, weights or column.
    """
    from crystalssl.evaluation.cache import FOLDER, Cache
    from crystalssl.evaluation.matbench.record import save_record
    from crystalssl.evaluation.matbench.run import matbench as run_folds
    from crystalssl.evaluation.matbench.run import task_features
    from crystalssl.evaluation.matbench.task import read_task
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.store import load_features, save_features
    from crystalssl.models.registry import build_head
    from crystalssl.pipeline.stages import Stages

    folder = check_folder(out)
    with exclusive(folder), limited_threads(threads):
        config = ExtractorConfig.of(weights, block, output="blocks", symprec=symprec)
        with progress.step("Reading the task"):
            data = read_task(Path(file), target, task)
        model, rows = build_head(head, kind=data.kind, threads=threads or 0), len(data.labels)
        progress.note(f"{data.name}: {counted(rows, 'row')}, {data.kind} of {data.target}")
        if not data.official:
            progress.note(NOT_OFFICIAL, warning=True)
        path = folder / FOLDER / "features.parquet"

        def work() -> list[Path]:
            forget_skipped(folder)
            canonical = load_canonical(
                data.crystals, folder, strict=strict, symprec=symprec, progress=progress,
                skipped=data.skipped,
            )  # fmt: skip
            with progress.step("Features") as advance:
                made = config.extractor().features_of(canonical, advance)
            return [save_features(made, path)]

        inputs = [data.crystals.digest(), *config.checksums()]
        Stages(folder).once("features", {"strict": strict, "symprec": symprec}, inputs, work)
        features = task_features(data, made := load_features(path))
        if lacking := int((~features.valid).sum()):
            progress.note(f"{lacking:,} of {rows:,} rows {WITHOUT_FEATURES}", warning=True)
        overlap, cache = overlap_of([made], data.crystals, None, progress), Cache(folder / FOLDER)
        details = {"weights": str(weights), "blocks": ",".join(config.blocks)}
        with progress.step(f"Matbench, {data.name}") as advance:
            results = run_folds(
                data, features, model, seed=seed, details=details, overlap=overlap, cache=cache,
                progress=advance,
            )  # fmt: skip
        save_record(results, folder)
        return finished(results, cache, overlap, folder, progress)
