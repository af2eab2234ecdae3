"""A release of this tree into an empty environment: what a user gets, and that it works alone.

    python scripts/prove_install.py

Builds the source archive, the wheel out of it, installs that with the versions of constraints.txt,
uses the core, then fits and runs with extras, all outside the repository. Prints sizes and times as
JSON in its last line. Packages must be reachable; nothing of the environment it is started from is
used.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_NEEDED = (
    "pymatgen", "plotly", "tensorboard", "lightning", "pytorch_lightning", "pandas", "matminer",
    "ase", "matplotlib", "lightgbm", "shap", "umap", "huggingface_hub", "requests",
)  # fmt: skip
"""Packages that come with extras only."""
LARGEST_WHEEL = 34_000_000
"""Bytes that a wheel may have."""
LABELLED = (
    "from crystalssl.datasets.bundled import load_bundled; "
    "from crystalssl.structures.table import write_table; "
    "write_table(load_bundled().take(range(0, 6000, 100)), 'labelled.parquet')"
)
CIF = """data_NaCl
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""


def call(*words: object, cwd: Path) -> tuple[str, float]:
    """Output of a command and the seconds it took; its messages and an exit where it fails."""
    start = time.perf_counter()
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, capture_output=True, text=True, check=False, env=clean,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout, time.perf_counter() - start


def build(folder: Path, pip: tuple[object, ...]) -> tuple[Path, Path]:
    """Source archive of this tree, and the wheel that comes out of it and of nothing else."""
    env = folder / "build"
    venv.create(env, with_pip=True)
    python = interpreter(env)
    call(python, *pip, "install", "--quiet", "setuptools>=77", "wheel", cwd=folder)
    source = folder / "source"
    kept = ("src", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
    listed, _ = call("git", "ls-files", "--", *kept, cwd=ROOT)
    for name in listed.splitlines():  # what is built must not depend on what lies about
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    code = "import sys, setuptools.build_meta as build; build.build_sdist(sys.argv[1])"
    call(python, "-c", code, folder, cwd=source)
    archive = next(folder.glob("crystalssl-*.tar.gz"))
    call(python, *pip, "wheel", "--quiet", "--no-deps", "-w", folder, archive, cwd=folder)
    return archive, next(folder.glob("crystalssl-*.whl"))


def interpreter(env: Path) -> Path:
    """Python of an environment."""
    return env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def check_contents(wheel: Path) -> None:
    """Stop where a wheel lacks weights, data or templates, or is too large."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tracked, _ = call("git", "ls-files", "src", cwd=ROOT)
    wanted = [line.removeprefix("src/") for line in tracked.splitlines()]
    missing = sorted(
        name for name in wanted if name.startswith("crystalssl/") and name not in names
    )
    if missing:
        sys.exit(f"missing from the wheel: {', '.join(missing)}")
    if wheel.stat().st_size > LARGEST_WHEEL:
        sys.exit(f"the wheel has {wheel.stat().st_size:,} bytes, expected {LARGEST_WHEEL:,}")


def use_core(program: Path, python: Path, folder: Path) -> tuple[float, float]:
    """Use what the core can do outside the repository; seconds of two extractions."""
    (folder / "NaCl.cif").write_text(CIF, encoding="utf-8")
    call(program, "--version", cwd=folder)
    call(program, "convert", "NaCl.cif", "-o", "NaCl.parquet", cwd=folder)
    extract = (program, "extract", "NaCl.cif", "-o")
    _, first = call(*extract, "first.npy", cwd=folder)
    _, second = call(*extract, "second.npy", cwd=folder)
    if (folder / "first.npy").read_bytes() != (folder / "second.npy").read_bytes():
        sys.exit("two extractions of one crystal differ")
    call(python, "-c", LABELLED, cwd=folder)
    call(program, "extract", "labelled.parquet", "-o", "features.parquet", cwd=folder)
    call(program, "neighbors", "NaCl.cif", "--in", "features.parquet", "-k", "3", cwd=folder)
    call(program, "push", "tiny", "shared.zip", cwd=folder)
    code = f"from importlib.util import find_spec; print([n for n in {NOT_NEEDED} if find_spec(n)])"
    extras, _ = call(python, "-c", code, cwd=folder)
    if extras.strip() != "[]":
        sys.exit(f"came with the package, expected with extras only: {extras}")
    return first, second


def use_extras(program: Path, folder: Path) -> float:
    """Run and fit outside the repository; seconds of both."""
    target = ("--target", "formation_energy_per_atom")
    fit = (program, "fit", "labelled.parquet", *target, "--budget", "0.5", "-o", "model")
    _, fitting = call(*fit, cwd=folder)
    call(program, "predict", "model", "NaCl.cif", "-o", "predictions.csv", cwd=folder)
    _, running = call(program, "run", "labelled.parquet", "--out", "run", cwd=folder)
    for name in ("predictions.csv", "run/report.html", "run/map.html"):
        if not (folder / name).is_file():
            sys.exit(f"no {name} came out")
    return fitting + running


def main() -> None:
    """Build, install, use, and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = ("-m", "pip", "--disable-pip-version-check")
        archive, wheel = build(folder, pip)
        check_contents(wheel)
        venv.create(folder / "env", with_pip=True)
        python = interpreter(folder / "env")
        program = python.with_name("crystalssl")
        quiet = (python, *pip, "install", "--quiet", "-c", ROOT / "constraints.txt")
        _, installing = call(*quiet, wheel, cwd=folder)
        packages = next((folder / "env" / "lib").glob("python*/site-packages"))
        size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
        count = len(list(packages.glob("*.dist-info")))
        first, second = use_core(program, python, folder)
        call(*quiet, f"crystalssl[fit,report] @ {wheel.as_uri()}", cwd=folder)
        figures = {
            "wheel_mb": round(wheel.stat().st_size / 1e6, 1),
            "sdist_mb": round(archive.stat().st_size / 1e6, 1),
            "installed_mb": round(size / 1e6),
            "packages": count,
            "install_s": round(installing, 1),
            "first_extract_s": round(first, 1),
            "second_extract_s": round(second, 1),
            "fit_and_run_s": round(use_extras(program, folder), 1),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
