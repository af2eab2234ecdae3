"""Notebooks of docs/notebooks, executed from their first cell to the last.

    python scripts/run_notebooks.py           execute copies: does every cell still work?
    python scripts/run_notebooks.py --write   store the outputs as well

Each runs in an empty folder with a kernel of its own. The last line is JSON with the seconds that
each took, for the record of ``make prove``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
LIMIT = 1200
"""Seconds that one cell may take."""


def execute(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of this machine.

    Raises:
        CellExecutionError: where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=LIMIT, kernel_name="python3", resources=resources
        ).execute()
    return notebook


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same without times and names of this machine, so that it is stored the same again."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
    return notebook


def main(words: Sequence[str] | None = None) -> int:
    """Execute every notebook; a failing one ends with its traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store the outputs")
    parser.add_argument("names", nargs="*", help="stems of notebooks; all if none")
    options = parser.parse_args(words)
    # kernels import the package of this tree, whatever is installed
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    seconds: dict[str, float] = {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        if options.names and path.stem not in options.names:
            continue
        start = time.perf_counter()
        notebook = execute(path)
        seconds[path.stem] = round(time.perf_counter() - start, 1)
        if options.write:
            nbformat.write(clean(notebook), path)
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
