"""The core works without any extra; what needs one names it with the line that installs it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "crystalssl"
CORE = {
    "numpy", "numba", "pyarrow", "gemmi", "moyopy", "torch", "safetensors", "jaxtyping", "sklearn",
    "scipy", "threadpoolctl", "typer", "rich", "jinja2", "crystalssl",
}  # fmt: skip
"""Packages that come with ``pip install crystalssl``, as they are imported."""
EXTRA = (
    "pytorch_lightning", "lightning", "matplotlib", "lightgbm", "shap", "umap", "huggingface_hub",
    "pymatgen", "ase", "openpyxl", "matminer", "tensorboard", "ray", "plotly", "requests",
    "usearch",
)  # fmt: skip
"""Packages that come with an extra, or with none."""


def pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def extras() -> set[str]:
    section = pyproject().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return set(re.findall(r"^([a-z]+) = \[", section, re.MULTILINE))


def calls() -> list[tuple[str, str]]:
    """File, and the extra that a message in it names."""
    named = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            extra = node.args[1]
            called = ast.unparse(node.func)
            if called in ("missing_extra", "require") and isinstance(extra, ast.Constant):
                named.append((path.relative_to(PACKAGE).as_posix(), str(extra.value)))
    return named


def test_every_extra_that_a_message_names_is_one() -> None:
    found = calls()
    assert len(found) >= 12
    known = extras() | {"toml"}  # tomli comes with the core on Python 3.10
    assert {extra for _, extra in found} <= known
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"crystalssl\[([a-z]+)\]'", text)) <= known, path


def test_the_core_depends_on_what_its_modules_import_at_the_top_and_no_more() -> None:
    needed = re.findall(
        r'^  "([a-z_\-0-9]+)',
        pyproject().partition("dependencies = [")[2].partition("\n]")[0],
        re.M,
    )
    named = {"scikit-learn": "sklearn"}
    assert {named.get(name, name) for name in needed} - {"tomli"} == CORE - {"crystalssl"}


def test_only_modules_behind_a_check_import_an_extra_at_the_top() -> None:
    standard = sys.stdlib_module_names
    allowed = {
        "pretraining/": {"pytorch_lightning"}, "report/": {"matplotlib"},
        "adapters/matminer.py": {"matminer"}, "locks.py": {"msvcrt"},
    }  # fmt: skip
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            for root in {module.split(".")[0] for module in names}:
                fits = [wanted for start, wanted in allowed.items() if name.startswith(start)]
                assert root in CORE or root in standard or any(root in wanted for wanted in fits), (
                    f"{name} imports {root} at the top"
                )


SCRIPT = f"""
import sys
for name in {EXTRA!r}:
    sys.modules[name] = None
from pathlib import Path
from crystalssl import pipeline
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import MissingExtraError

crystals = load_bundled()[:3]
folder = Path(sys.argv[1])
pipeline.convert(crystals, folder / "s.parquet")
pipeline.extract_to(folder / "s.parquet", folder / "f.parquet", weights="tiny", device="cpu")
pipeline.neighbors(str(folder / "s.parquet"), folder / "f.parquet", k=1)
pipeline.write_map(folder / "f.parquet", folder / "m.html", structures=folder / "s.parquet")
pipeline.push("tiny", folder / "shared")
refused = (
    ("train", lambda: pipeline.pretrain(crystals, folder / "p")),
    ("report", lambda: pipeline.report(folder)),
    ("report", lambda: pipeline.run(crystals, folder / "r")),
    ("fit", lambda: pipeline.fit(crystals, folder / "m", target="band_gap")),
    ("formats", lambda: crystals[0].to_ase()),
)
for extra, call in refused:
    try:
        call()
    except MissingExtraError as error:
        print(extra, f"pip install 'crystalssl[{{extra}}]'" in str(error))
"""


def test_files_features_neighbours_and_map_need_no_extra_and_the_rest_names_it(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("\n")[:-1]
    assert said == [f"{extra} True" for extra in ("train", "report", "report", "fit", "formats")]
    assert not (tmp_path / "r").exists(), "a run that cannot end was begun"


def test_pushing_to_the_hub_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crystalssl.errors import MissingExtraError
    from crystalssl.pipeline import push

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crystalssl\[hub\]'"):
        push("tiny", "hf://org/mine")
