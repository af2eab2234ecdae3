"""Features and structures to map.html: what the command does around ``crystalssl.maps``.

Reads features and structures, finds symmetry, planes and neighbours, and writes one page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.errors import InputError
from crystalssl.files import exclusive, write_text
from crystalssl.pipeline.outputs import check_file
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import MANY
from crystalssl.processes import limited_threads, usable_cores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crystalssl.datasets.load import Structures
    from crystalssl.features.features import Features
    from crystalssl.maps.crystal_map import CrystalMap
    from crystalssl.structures.canonical import Symmetry
    from crystalssl.structures.crystals import Crystals

NEIGHBOURS = 8
"""Neighbours of each crystal on the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MapPage:
    """A page that was written.

    Attributes:
        path: the file.
        crystals: points on it.
        structures: crystals that can be seen in 3D.
    """

    path: Path
    crystals: int
    structures: int


def write_map(
    features: str | Path | Features,
    out: str | Path,
    *,
    structures: Structures | None = None,
    color: Sequence[str] = (),
    title: str | None = None,
    most_structures: int = 50_000,
    umap: bool = True,
    symprec: float = 0.01,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> MapPage:
    """Draw crystals as points on one page that works offline: alike is near.

    Pointing at a crystal names it; choosing it shows it in 3D with its nearest neighbours.

    Args:
        features: features, or their file.
        out: page to write, ``.html``.
        structures: the structures behind the features; without them there are only ids.
        color: columns of the structures that colour the map, the first one first; ``space_group``
            and ``crystal_system`` are known without a column.
        title: heading of the page; made from the file's name by default.
        most_structures: crystals that can be seen in 3D, every so many if there are more.
        umap: whether to show UMAP beside principal components, where it is installed.
        symprec: tolerance of the symmetry search in angstrom.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Raises:
        InputError: if features or structures cannot be used, or do not belong together.
        UnknownNameError: if there is no such column.
    """
    from crystalssl.features.store import load_features
    from crystalssl.maps.page import render_map
    from crystalssl.report.projection import has_umap

    path = check_file(out, [".html"])
    known = load_features(Path(features)) if isinstance(features, str | Path) else features
    name = Path(features).stem if isinstance(features, str | Path) else "Crystals"
    with exclusive(path), limited_threads(threads):
        shown = gather_map(
            known, structures, color=color, title=title or name.replace("_", " "),
            most_structures=most_structures, umap=umap, symprec=symprec, progress=progress,
        )  # fmt: skip
        write_text(render_map(shown, made_from(known)), path)
    stored = 0 if shown.crystals is None else len(shown.crystals)
    if umap and not has_umap():
        progress.note(
            "The map shows principal components alone; for UMAP: pip install 'crystalssl[map]'"
        )
    size = path.stat().st_size / 2**20
    progress.note(
        f"Map of {counted(len(shown), 'crystal')}, {stored:,} in 3D, {size:.1f} MB: {path}"
    )
    return MapPage(path=path, crystals=len(shown), structures=stored)


def gather_map(
    features: Features,
    structures: Structures | None,
    *,
    color: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    title: str = "Crystals",
    most_structures: int = 50_000,
    umap: bool = True,
    symprec: float = 0.01,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> CrystalMap:
    """What a map shows; see :func:`write_map`.

    Args:
        features: of n crystals.
        structures: as for :func:`write_map`, and so are the others.
        color: columns that come first.
        units: units of columns beside those of the bundled labels.
        title: heading.
        most_structures: crystals that can be seen in 3D.
        umap: whether to make a UMAP.
        symprec: tolerance of the symmetry search in angstrom.
        cache: folder in which a UMAP is kept for next time, or None.
        progress: told what is done.

    Raises:
        InputError: if there are no features, or no structure belongs to them.
        UnknownNameError: if there is no such column.
    """
    import numpy as np

    from crystalssl.maps.crystal_map import CrystalMap, columns_of, formulas_of, planes_of
    from crystalssl.maps.nearest import nearest_of

    if not len(features):
        raise InputError("Got features of no crystal, expected at least one. Extract some first.")
    features, odd = features.finite()
    if odd:
        progress.note(
            f"{len(odd):,} crystals whose features are not finite are not shown", warning=True
        )
    if structures is None and color:
        raise InputError(
            f"Got the column {color[0]!r} to colour by but no structures that carry it. Give them "
            "with --structures (structures=)."
        )
    crystals, rows, symmetry = None, np.full(len(features), -1), None
    if structures is not None:
        crystals, rows, symmetry = _matched(structures, features, symprec, progress)
    with progress.step("Planes and neighbours"):
        planes = planes_of(features.matrix, cache, umap)
        nearest = nearest_of(features, NEIGHBOURS)
    if crystals is None:
        blank = np.full(len(features), "", dtype=np.str_)
        return CrystalMap(
            title=title, ids=features.ids, formulas=blank, planes=planes, columns=(),
            nearest=nearest,
        )  # fmt: skip
    with_structure = np.flatnonzero(rows >= 0)
    most = min(len(with_structure), max(most_structures, 0))
    sampled = np.unique(np.linspace(0, len(with_structure) - 1, most).astype(np.int64))
    stored = with_structure[sampled]
    return CrystalMap(
        title=title,
        ids=features.ids,
        formulas=formulas_of(crystals, rows),
        planes=planes,
        columns=columns_of(crystals, symmetry, rows, color, units),
        nearest=nearest,
        crystals=crystals.take(rows[stored]) if len(stored) else None,
        stored=stored,
    )


def _matched(
    structures: Structures, features: Features, symprec: float, progress: Progress
) -> tuple[Crystals, npt.NDArray[np.int64], Symmetry]:
    """Structures that have features, the one of every row (negative: none), and their symmetry.

    Raises:
        InputError: if no id of the features is among the structures.
    """
    import numpy as np

    from crystalssl.datasets.load import load_valid
    from crystalssl.structures.canonical import canonicalize

    with progress.step("Reading structures"):
        crystals = load_valid(structures).crystals
    row_of = {name: row for row, name in enumerate(crystals.ids.tolist())}
    wanted = np.array([row_of.get(name, -1) for name in features.ids.tolist()], dtype=np.int64)
    if not (wanted >= 0).any():
        raise InputError(
            f"None of the {len(features):,} ids of the features (such as {features.ids[0]!r}) is "
            f"among the {len(crystals):,} structures. Give the structures that the features were "
            "made from."
        )
    missing = int((wanted < 0).sum())
    if missing:
        progress.note(f"{missing:,} of {len(features):,} crystals have no structure", warning=True)
    used = np.unique(wanted[wanted >= 0])
    crystals = crystals.take(used)
    processes = usable_cores() if len(crystals) > MANY else 1
    with progress.step("Symmetry") as advance:
        done = 0

        def watch(count: int) -> None:
            nonlocal done
            done += count
            advance(done, len(crystals))

        result = canonicalize(crystals, symprec, processes=processes, progress=watch)
    crystals = crystals.take(result.kept)
    position = np.full(len(row_of) + 1, -1)
    position[used[result.kept]] = np.arange(len(result.kept))
    return crystals, position[wanted], result.symmetry


def made_from(features: Features) -> str:
    """Where features come from, in words."""
    paths = [Path(origin.weights) for origin in features.origins]
    weights = [path.parent.name if path.name == "blocks" else path.name for path in paths]
    width = counted(len(features.names), "feature")
    return f"{width} of the weights {weights[0]}" if weights else width
