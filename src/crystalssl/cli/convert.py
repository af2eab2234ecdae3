"""Commands that turn crystal files into arrays and tables: convert, ftcp, panel.

First stages of the flow; nothing here learns.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl.cli.console import (
    console,
    forget_skipped,
    load,
    load_canonical,
    make_file,
    report_notes,
    report_skipped,
    say,
)
from crystalssl.cli.options import Sources, Strict, Symprec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def convert(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Structure table, .parquet.")],
    strict: Strict = False,
) -> None:
    """Turn crystal files into one structure table (Parquet), cells as given."""
    from crystalssl.structures.table import write_table

    make_file(out, [".parquet"])
    forget_skipped(out.parent)
    loaded = load(sources)
    report_skipped(loaded.skipped, loaded.total, out.parent, strict)
    report_notes(loaded.notes)
    write_table(loaded.crystals, out)
    say(f"{len(loaded.crystals):,} structures: {out}")


def ftcp(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Array of (n, 400, 63), .npy.")],
    strict: Strict = False,
) -> None:
    """Encode cells as given into raw FTCP, byte-compatible with the original program."""
    from crystalssl.representation.ftcp import encodable, encode_to_file

    make_file(out, [".npy"])
    loaded = load(sources)
    kept, unfit = encodable(loaded.crystals)
    report_skipped([*loaded.skipped, *unfit], loaded.total, out.parent, strict)
    with console.status("Encoding"):
        encode_to_file(loaded.crystals.take(kept), out)
    save_ids(loaded.crystals.ids[kept], out)


def panel(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Array of (n, 103, 64), .npy.")],
    strict: Strict = False,
    symprec: Symprec = 0.01,
) -> None:
    """Write the panel of canonical crystals: what the encoders read."""
    from crystalssl.representation.panel import build_panel, holdable

    make_file(out, [".npy"])
    canonical = load_canonical(sources, out.parent, strict=strict, symprec=symprec)
    fits, unfit = holdable(canonical.crystals)
    total = len(fits) + len(canonical.skipped)
    report_skipped([*canonical.skipped, *unfit], total, out.parent, strict)
    crystals = canonical.crystals.take(fits)
    with console.status("Building the panel"):
        array = build_panel(crystals)
    save_array(array, crystals.ids, out)


def save_array(array: npt.NDArray[Any], ids: npt.NDArray[np.str_], out: Path) -> None:
    """Write an array, and the ids of its rows beside it."""
    import numpy as np

    partial = out.with_name(out.name + ".partial")
    with partial.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    partial.replace(out)
    save_ids(ids, out)


def save_ids(ids: npt.NDArray[np.str_], out: Path) -> None:
    """Write ids as ``<stem>_ids.txt`` beside an array, where every reader of arrays looks."""
    from crystalssl.structures.ids import to_line

    sidecar = out.with_name(f"{out.stem}_ids.txt")
    partial = sidecar.with_name(sidecar.name + ".partial")
    partial.write_text("".join(f"{to_line(str(name))}\n" for name in ids), encoding="utf-8")
    partial.replace(sidecar)
    say(f"{len(ids):,} rows: {out}\nIds: {sidecar}")
