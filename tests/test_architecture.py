"""The habits of the code as tests: layers, purpose lines, one place per block, no unpickling."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from crystalssl.blocks.registry import NOT_BLOCKS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "crystalssl"
FILES = sorted(PACKAGE.rglob("*.py"))
CODE = [path for path in FILES if path.name != "__init__.py"]
MAY_NAME_BLOCKS = ("blocks", "representation/layout.py", "representation/panel", "structures")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def block_names() -> list[str]:
    stems = {path.stem for path in (PACKAGE / "blocks").glob("[!_]*.py")}
    return sorted(stems - set(NOT_BLOCKS))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_imported(tree: ast.AST, modules: Container[str]) -> Iterator[str]:
    """Modules that code imports at the top, in a function or for types; not their packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in (name if name in modules else node.module for name in names):
                if name in modules:
                    yield name


def imports_within() -> dict[str, set[str]]:
    modules = {}
    for path in FILES:
        names = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(names[:-1] if names[-1] == "__init__" else names)] = parse(path)
    return {name: set(modules_imported(tree, modules)) - {name} for name, tree in modules.items()}


def reached(imports: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = imports[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_layer_imports_only_the_layers_below_it() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_modules_import_each_other_on_any_way_round_not_even_in_a_function() -> None:
    imports = imports_within()
    behind = {name: reached(imports, name) for name in imports}
    circles = {
        tuple(sorted(other for other in behind[name] if name in behind[other]))
        for name in imports
        if name in behind[name]
    }
    assert not circles, f"these import each other: {sorted(circles)}; move what they share below"


def test_a_circle_inside_functions_is_seen() -> None:
    first = ast.parse("def use():\n    from crystalssl.b import thing\n")
    second = ast.parse("if TYPE_CHECKING:\n    import crystalssl.a\n")
    modules = {"crystalssl.a": first, "crystalssl.b": second}
    imports = {name: set(modules_imported(tree, modules)) for name, tree in modules.items()}
    assert "crystalssl.a" in reached(imports, "crystalssl.a")


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_file_opens_by_saying_what_it_turns_into_what(path: Path) -> None:
    doc = ast.get_docstring(parse(path)) or ""
    lines = doc.splitlines()
    assert len(doc) >= 60, f"{path} needs a docstring of 2-6 lines; see its neighbours"
    assert len(lines) <= 14


LONG = {"datasets/shards.py": 360, "files.py": 370, "report/charts.py": 365}
"""Files of one concept that are longer, and the lines that they may have."""


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_file_is_at_most_350_lines_and_its_functions_fit_a_screen(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= LONG.get(name_of(path), 350)
    for function in functions(parse(path)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 80, f"{function.name} has {length} lines"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_every_public_function_has_a_docstring_and_typed_arguments(path: Path) -> None:
    tree = parse(path)
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in [node for node in public if not node.name.startswith("_")]:
        assert ast.get_docstring(node), f"{node.name} has no docstring"
    for function in functions(tree):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for argument in arguments:
            assert argument.annotation or argument.arg in ("self", "cls"), (
                f"{function.name}: argument {argument.arg} has no type"
            )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_outside_blocks_names_a_block(path: Path) -> None:
    tree = parse(path)
    inside_blocks = name_of(path).startswith("blocks/")
    names = [name for name in block_names() if not inside_blocks or name != path.stem]
    for module in imported_modules(tree):
        for name in names:
            assert not module.startswith(f"crystalssl.blocks.{name}"), (
                f"{name_of(path)} imports block {name}; use blocks.registry"
            )
    if name_of(path).startswith(MAY_NAME_BLOCKS):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in names, (
                f"{name_of(path)}:{node.lineno} names block {node.value!r}; use list_blocks()"
            )
            assert not re.fullmatch(r"block_?[1-6]", node.value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_unpickles_or_evaluates_what_a_file_says(path: Path) -> None:
    tree = parse(path)
    modules = {module.split(".")[0] for module in imported_modules(tree)}
    assert not modules & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        place = f"{name_of(path)}:{node.lineno} {called}"
        assert called not in ("eval", "exec", "np.fromfile"), place
        assert given.get("allow_pickle", "False") == "False", place
        if called in ("np.load", "numpy.load"):
            assert "allow_pickle" in given, f"{place}: say allow_pickle=False"
        if called.endswith("torch.load"):
            assert given.get("weights_only") == "True", f"{place}: say weights_only=True"
        if called.endswith(("read_pickle", "to_pickle")):
            pytest.fail(place)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_user_input_is_not_checked_with_assert(path: Path) -> None:
    if name_of(path) == "testing.py":
        pytest.skip("the conformance suite speaks in assertions")
    found = [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]
    assert not found, f"{name_of(path)} asserts in lines {found}; raise an error that helps"


@pytest.mark.parametrize("path", sorted((PACKAGE / "structures").glob("*.py")), ids=name_of)
def test_structures_do_not_know_torch(path: Path) -> None:
    roots = {module.split(".")[0] for module in imported_modules(parse(path))}
    assert not roots & {"torch", "pytorch_lightning"}


@pytest.mark.parametrize("module", ["crystalssl", "crystalssl.cli", "crystalssl.structures.table"])
def test_importing_is_fast_and_leaves_torch_alone(module: str) -> None:
    code = (
        "import sys, time; start = time.process_time(); "
        f"import {module}; print(time.process_time() - start, 'torch' in sys.modules)"
    )
    runs = [run_python(code).split() for _ in range(3)]
    assert all(loaded == "False" for _, loaded in runs)
    assert min(float(seconds) for seconds, _ in runs) < 1.0


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import crystalssl

    with pytest.raises(AttributeError, match="no attribute 'Featurizer'"):
        _ = crystalssl.Featurizer


def test_version_is_the_same_everywhere() -> None:
    import crystalssl

    for name in ("pyproject.toml", "CITATION.cff"):
        found = re.search(r'^version\s*[:=]\s*"?([\d.]+)', (ROOT / name).read_text(), re.MULTILINE)
        assert found is not None
        assert found.group(1) == crystalssl.__version__, name
