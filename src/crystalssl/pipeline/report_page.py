"""What is stored in a folder to report.html: nothing is trained or evaluated here.

What the command does around ``crystalssl.report``: which folder, which features for the map.
"""

from __future__ import annotations

from pathlib import Path

from crystalssl.errors import require
from crystalssl.pipeline.progress import SILENT, Progress


def report(
    folder: str | Path,
    *,
    features: str | Path | None = None,
    structures: str | Path | None = None,
    umap: bool = True,
    progress: Progress = SILENT,
) -> Path:
    """Write report.html from what is stored; nothing is trained or evaluated.

    Args:
        folder: folder of a run, or of evaluations.
        features: features for the map; those of the folder by default.
        structures: table of their structures, with labels; that of the folder by default.
        umap: whether to show UMAP beside principal components, where it is installed.
        progress: told what is done.

    Raises:
        InputError: if there is nothing to show, or the page cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    require_report()
    from crystalssl.report.html import write_report
    from crystalssl.report.projection import has_umap

    shown, table = (None if path is None else Path(path) for path in (features, structures))
    page = write_report(Path(folder), features=shown, structures=table, umap=umap)
    if umap and not has_umap():
        progress.note(
            "The map shows principal components alone; for UMAP: pip install 'crystalssl[map]'"
        )
    progress.note(f"Report: {page}")
    return page


def require_report() -> None:
    """Make sure, before any work, that pages with figures can be written.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    require("matplotlib", "report", "A report with figures")
