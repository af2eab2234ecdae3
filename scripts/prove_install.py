"""A wheel of this tree into an empty environment: what a user gets, and that it works alone.

    python scripts/prove_install.py

Builds the wheel, installs it with the versions of constraints.txt, extracts features of one CIF,
and prints sizes and times as JSON in its last line. Packages must be reachable; nothing of the
environment it is started from is used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_NEEDED = ("pymatgen", "plotly", "tensorboard", "lightning", "pandas", "matminer", "ase")
"""Packages that come with extras only."""
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


def main() -> None:
    """Build, install, use, and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        call(*pip, "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, cwd=folder)
        wheel = next(folder.glob("crystalssl-*.whl"))
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        quiet = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _, installing = call(*quiet, "-c", ROOT / "constraints.txt", wheel, cwd=folder)
        (folder / "NaCl.cif").write_text(CIF)
        program = folder / "env" / "bin" / "crystalssl"
        call(program, "--version", cwd=folder)
        extract = (program, "extract", "NaCl.cif", "-o")
        _, first = call(*extract, "first.npy", cwd=folder)
        _, second = call(*extract, "second.npy", cwd=folder)
        if (folder / "first.npy").read_bytes() != (folder / "second.npy").read_bytes():
            sys.exit("two extractions of one crystal differ")
        code = (
            "from importlib.util import find_spec; "
            f"print([name for name in {NOT_NEEDED} if find_spec(name)])"
        )
        extras, _ = call(python, "-c", code, cwd=folder)
        if extras.strip() != "[]":
            sys.exit(f"came with the package, expected with extras only: {extras}")
        packages = next((folder / "env" / "lib").glob("python*/site-packages"))
        size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
        figures = {
            "wheel_mb": round(wheel.stat().st_size / 1e6, 1),
            "installed_mb": round(size / 1e6),
            "packages": len(list(packages.glob("*.dist-info"))),
            "install_s": round(installing, 1),
            "first_extract_s": round(first, 1),
            "second_extract_s": round(second, 1),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
