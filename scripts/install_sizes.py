"""What an installation takes on disk: the core, PyTorch, and what each extra adds to them.

    python scripts/install_sizes.py

Follows the requirements of the crystalssl that is installed here, with all extras, and adds up the
files of each package; prints a table in Markdown. Compiled bytecode counts, pip does not.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("train", "report", "fit", "map", "search", "hub", "formats", "matminer", "all")
TORCH = "torch"
NAME = "crystalssl"


def closure(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """Names of the packages that a package needs with some extras, itself among them."""
    key = f"{canonical(name)}[{','.join(sorted(extras))}]"
    if key in found:
        return found
    found.add(key)
    try:
        listed = requires(name) or []
    except PackageNotFoundError:
        print(f"<!-- {name} is not installed -->")
        return found
    for text in listed:
        needed = Requirement(text)
        environments = [{"extra": extra} for extra in (*extras, "")]
        if needed.marker is None or any(map(needed.marker.evaluate, environments)):
            closure(needed.name, frozenset(needed.extras), found)
    return found


def canonical(name: str) -> str:
    """A package name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(*extras: str) -> set[str]:
    """Packages of the core with some extras."""
    return {key.partition("[")[0] for key in closure(NAME, frozenset(extras), set())}


def megabytes(names: set[str]) -> float:
    """Size of the files of some packages, 10^6 bytes."""
    return sum(map(size, names)) / 1e6


def size(name: str) -> int:
    """Bytes of the files of a package; this one's are those of its folder if it is editable."""
    try:
        package: Distribution = distribution(name)
    except PackageNotFoundError:
        return 0
    paths = [Path(str(file.locate())) for file in package.files or ()]
    if name == NAME:
        import crystalssl

        found = Path(crystalssl.__file__).parent.rglob("*")
        paths = [path for path in found if path.suffix not in (".nbi", ".nbc")]  # of runs here
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Print the table."""
    core, torch = packages(), {key.partition("[")[0] for key in closure(TORCH, frozenset(), set())}
    with_torch_alone = core & torch - {"numpy"}
    rows = [
        ("core without PyTorch", megabytes(core - with_torch_alone), len(core - with_torch_alone)),
        ("core", megabytes(core), len(core)),
    ]
    for extra in EXTRAS:
        added = packages(extra) - core
        rows.append((f"`[{extra}]` adds", megabytes(added), len(added)))
    print("| | MB | packages |\n|---|---|---|")
    for label, number, count in rows:
        print(f"| {label} | {number:,.0f} | {count} |")


if __name__ == "__main__":
    main()
