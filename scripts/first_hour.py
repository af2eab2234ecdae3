"""What somebody new goes through: an empty environment, README's lines, own CIFs and a CSV.

    python scripts/first_hour.py

Builds the wheel of this tree, makes a folder of 140 CIFs, ``measured.csv`` with their band gaps and
20 further CIFs out of the bundled crystals, and runs the job of README there word for word: pip
takes the wheel in place of the name. Writes commands, their last lines and times to
docs/first_hour.md, and prints the times as JSON in its last line.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
import tempfile
import time
import venv
import warnings
from pathlib import Path

import numpy as np
from prove_install import ROOT, build, call, interpreter

from crystalssl.datasets.bundled import load_bundled
from crystalssl.files import write_text

JOB = re.compile(r"<!-- job -->\n```bash\n(.*?)```", re.DOTALL)
MEASURED, NEW, TARGET = 140, 20, "band_gap"
MOST_COMMANDS, MOST_MINUTES = 10, 15
LINES = 14
"""Lines of output of a command that are shown at most."""
PAGE = """# The first hour

An empty environment, a folder of {measured} CIF files with their band gaps in a CSV, {new} CIF
files without: the lines of README, word for word, on {cores} cores of a shared machine. Made by
`python scripts/first_hour.py`, which installs the wheel of this version in place of the name.

{count} commands, {minutes:.1f} minutes.

{transcript}
What lies there afterwards: {files}.
"""


def own_data(folder: Path) -> None:
    """CIFs and a CSV as somebody has them."""
    crystals = load_bundled()
    values = np.array(crystals.column(TARGET), dtype=float)
    rows = np.flatnonzero(np.isfinite(values))
    rows = rows[np.linspace(0, len(rows) - 1, MEASURED + NEW).astype(int)]
    structures = crystals.take(rows).to_pymatgen()
    for name in ("my_cifs", "new_cifs"):
        (folder / name).mkdir()
    with (folder / "measured.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["name", TARGET])
        for at, (row, structure) in enumerate(zip(rows.tolist(), structures, strict=True)):
            name = str(crystals.ids[row])
            new = at % (MEASURED // NEW + 1) == 0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                structure.to(str(folder / ("new_cifs" if new else "my_cifs") / f"{name}.cif"))
            if not new:
                table.writerow([name, f"{values[row]:.4g}"])


def shown(output: str) -> str:
    """The last lines of what a command printed."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return "\n".join((["..."] if len(lines) > LINES else []) + lines[-LINES:])


def main() -> None:
    """Run the job and write the page."""
    job = JOB.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    commands = [line for line in job.replace("\\\n", " ").splitlines() if line.strip()]
    pieces, times = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        folder.mkdir()
        own_data(folder)
        _, wheel = build(Path(name), ("-m", "pip", "--disable-pip-version-check"))
        venv.create(Path(name) / "env", with_pip=True)
        python = interpreter(Path(name) / "env")
        for command in commands:
            words: list[object] = list(shlex.split(command))
            if words[0] == "pip":
                words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                words += ["-c", ROOT / "constraints.txt", f"crystalssl[all] @ {wheel.as_uri()}"]
            else:
                words[0] = python.with_name(str(words[0]))
            start = time.perf_counter()
            output, _ = call(*words, cwd=folder)
            seconds = time.perf_counter() - start
            times[command] = round(seconds, 1)
            print(f"{seconds:6.0f} s  {command}", flush=True)
            text = shown(output.replace(str(folder), "."))
            pieces.append(f"```console\n$ {command}\n{text}\n```\n\n{seconds:.0f} seconds.\n")
        files = sorted(
            f"`{path.relative_to(folder)}`" for path in folder.rglob("*")
            if path.is_file() and path.suffix in {".html", ".csv", ".parquet", ".npy"}
            and not {"blocks", "models", "cache"} & set(path.relative_to(folder).parts)
        )  # fmt: skip
    minutes = sum(times.values()) / 60
    if len(commands) > MOST_COMMANDS or minutes > MOST_MINUTES:
        print(f"{len(commands)} commands, {minutes:.1f} minutes: more than promised", flush=True)
    page = PAGE.format(
        measured=MEASURED, new=NEW, cores=2, count=len(commands), minutes=minutes,
        transcript="\n".join(pieces), files=", ".join(files),
    )  # fmt: skip
    write_text(page, ROOT / "docs" / "first_hour.md")
    print(json.dumps({"minutes": round(minutes, 1), "commands": len(commands), **times}))
    sys.exit(len(commands) > MOST_COMMANDS or minutes > MOST_MINUTES)


if __name__ == "__main__":
    main()
