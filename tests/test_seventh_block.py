"""A block of another package, found by its entry point alone: everything downstream follows.

The package in tests/plugin is put on the path as an installer would leave it (module and
dist-info), without pip and network. Six tiny trained blocks and this one make a run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from crystalssl.blocks.registry import get_block, list_blocks, resolve_blocks
from crystalssl.cli import app
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import CrystalSSLError, InputError, UnknownNameError
from crystalssl.evaluation.results import Results
from crystalssl.features.bottleneck import load_card
from crystalssl.features.store import load_features
from crystalssl.hub.weights import BUNDLED
from crystalssl.structures.table import write_table

PLUGIN = Path(__file__).parent / "plugin"
DOCS = Path(__file__).parents[1] / "docs"
TARGET = "formation_energy_per_atom"
CRYSTALS = 60


def install(site: Path, entries: str, name: str = "crystalssl-volume") -> Path:
    """Leave in ``site`` what an installer would: the module, and the entry points of it."""
    site.mkdir(exist_ok=True)
    shutil.copy(PLUGIN / "crystalssl_volume.py", site)
    info = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[crystalssl.blocks]\n{entries}\n")
    return site


def entry_in_pyproject() -> str:
    """The entry points as the package itself declares them, quotes removed."""
    text = (PLUGIN / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'entry-points\."crystalssl\.blocks"\]\n(.*?)\n\n', text, re.DOTALL)
    assert found is not None
    return found.group(1).replace('"', "")


@pytest.fixture
def block_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Put a module with a block, changed by some lines of code, where an entry point finds it."""
    made: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)  # keeps the path as it is, to be put back
    sys.path[:] = [p for p in sys.path if not Path(p, "crystalssl_volume.py").is_file()]

    def make(name: str, lines: str, entry: str = "Changed") -> None:
        install(tmp_path / name, f"{name} = {name}:{entry}", name)
        code = (
            f"from crystalssl_volume import VolumeBlock\n\n\nclass Changed(VolumeBlock):\n{lines}"
        )
        (tmp_path / name / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path / name)
        made.append(name)

    yield make
    for name in (*made, "crystalssl_volume"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The seventh block installed, for this module."""
    folder = install(tmp_path_factory.mktemp("plugin") / "site", entry_in_pyproject())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("crystalssl_volume", None)


def invoke(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "240"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny blocks that were trained before, the seventh trained now, and their features."""
    folder = tmp_path_factory.mktemp("run")
    crystals = load_bundled()
    known = np.flatnonzero(np.isfinite(crystals.column(TARGET).astype(float)))
    chosen = crystals.take(known[:: len(known) // CRYSTALS][:CRYSTALS])
    split = pa.array((["train", "train", "train", "val", "test"] * CRYSTALS)[:CRYSTALS])
    columns = pa.table({TARGET: pa.array(chosen.column(TARGET).astype(float)), "split": split})
    write_table(chosen.with_columns(columns), folder / "structures.parquet")
    for card in BUNDLED.glob("tiny/*/card.json"):
        shutil.copytree(card.parent, folder / "blocks" / card.parent.name)
    invoke("pretrain", folder / "structures.parquet", "--block", "volume", "--epochs", 1,
           "--out", folder, "--threads", 1)  # fmt: skip
    extract(folder, folder / "features.parquet")
    return folder


def extract(run: Path, out: Path, *words: object) -> str:
    return invoke("extract", run / "structures.parquet", "--weights", run, "-o", out, *words)


def test_another_process_lists_the_block_of_an_installed_package(site: Path) -> None:
    path = os.pathsep.join([str(site), *sys.path])
    program = "from crystalssl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "info", "blocks"],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "volume" in done.stdout
    assert "2,368 features in all" in done.stdout


def test_all_means_eight_blocks_and_numbers_count_on(site: Path) -> None:
    assert [block.number for block in resolve_blocks("all")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert get_block(8) is get_block("volume")
    assert "masked lengths" in invoke("info", "tasks")


def test_the_page_shows_the_block_that_is_tested() -> None:
    page = (DOCS / "add_a_block.md").read_text(encoding="utf-8")
    assert (PLUGIN / "crystalssl_volume.py").read_text(encoding="utf-8") in page


def test_it_passes_the_conformance_suite(site: Path, made_corpus: Any) -> None:
    from crystalssl.testing import CHECKS

    for check in CHECKS:
        check(get_block("volume"), made_corpus)


def test_its_features_stand_behind_the_others_under_its_name(run: Path) -> None:
    features = load_features(run / "features.parquet")
    trained = [block for block in list_blocks() if block.name in features.origins[0].sha256]
    assert features.widths == {block.name: block.width for block in trained}
    assert features.names[-1] == "volume_63"
    assert features.matrix.shape == (CRYSTALS, 2112)
    assert features.blocks["volume"].std(axis=0).min() > 0
    assert "volume" in features.origins[0].sha256


def test_the_card_of_its_weights_is_shown_with_its_rank(run: Path) -> None:
    output = invoke("info", "weights", run)
    shown = [line for line in output.splitlines() if "volume" in line]
    assert any("masked lengths" in line for line in shown)
    rank = next(line for line in shown if "masked" not in line)
    assert re.search(r"64 .* \d+ .* 0\.\d\d ", rank)


def test_the_probes_and_the_ablation_count_it_in(run: Path) -> None:
    given = (run / "features.parquet", "--structures", run / "structures.parquet")
    invoke("evaluate", "ablation", *given, "--target", TARGET, "--out", run / "ablation")
    rows = Results.load(run / "ablation", "ablation").rows
    sets = {row.feature_set for row in rows}
    assert {"ssl: only volume", "ssl: without volume"} <= sets
    assert {"untrained: only volume", "untrained: only lattice"} <= sets


def test_a_probe_of_chosen_blocks_has_baselines_of_the_same_blocks(
    run: Path, tmp_path: Path
) -> None:
    extract(run, tmp_path / "two.parquet", "--block", "lattice,volume")
    invoke(
        "evaluate", "linear-probe", tmp_path / "two.parquet", "--protocol", "held-out",
        "--structures", run / "structures.parquet", "--target", TARGET, "--out", run / "probe",
    )  # fmt: skip
    Results.load(run / "probe", "linear_probe")
    untrained = load_features(run / "probe" / ".cache" / "untrained_features.parquet")
    assert list(untrained.blocks) == ["lattice", "volume"]


def test_a_bottleneck_mixes_it_in_and_is_left_out_when_a_block_is(
    run: Path, tmp_path: Path
) -> None:
    structures = ("--structures", run / "structures.parquet", "--out", run)
    small = ("--width", 16, "--epochs", 1)
    invoke("bottleneck", run / "features.parquet", *structures, *small)
    assert load_card(run / "bottleneck").widths["volume"] == 64
    assert "Output 'bottleneck': 16 features" in invoke("info", "weights", run)
    extract(run, tmp_path / "mixed.parquet")
    assert load_features(tmp_path / "mixed.parquet").widths == {"bottleneck": 16}

    told = extract(run, tmp_path / "two.parquet", "--block", "lattice,volume")
    assert "Not mixed" in told and "crystalssl bottleneck FEATURES" in told
    two = load_features(tmp_path / "two.parquet")
    assert two.widths == {"lattice": 256, "volume": 64}
    whole = load_features(run / "features.parquet")
    assert np.allclose(two.blocks["volume"], whole.blocks["volume"], atol=1e-5)

    invoke("bottleneck", tmp_path / "two.parquet", *structures, *small, "--name", "two")
    words = ("--block", "lattice,volume", "--output", "two")
    extract(run, tmp_path / "two_mixed.parquet", *words)
    assert load_features(tmp_path / "two_mixed.parquet").widths == {"bottleneck": 16}


def test_the_report_draws_it_in_a_colour_of_its_own(run: Path) -> None:
    from crystalssl.report.sections.pretraining import read_weights
    from crystalssl.report.svg import block_colour

    found = {block.name: block for block in read_weights(run, []).blocks}
    assert get_block("volume").number == 8
    assert found["volume"].figures[0].task == "masked lengths"
    colours = [block_colour(index) for index in range(len(list_blocks()))]
    assert len(set(colours)) == 8
    assert found["volume"].index == 7


def test_weights_of_a_block_that_is_gone_leave_the_others_usable(
    run: Path, site: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
        with pytest.raises(UnknownNameError, match="volume"):
            get_block("volume")
        extract(run, tmp_path / "six.parquet", "--block", "1,2", "--output", "blocks")
    assert list(load_features(tmp_path / "six.parquet").blocks) == ["composition", "lattice"]


def test_a_block_takes_the_place_of_ours_only_where_it_says_so(
    block_elsewhere: Callable[..., None],
) -> None:
    block_elsewhere("other_lattice", '    name, number, replaces = "new", 2, "lattice"\n')
    names = [block.name for block in list_blocks()]
    assert names == [
        "composition", "new", "sites", "occupancy", "reciprocal", "structure_factors", "electronic",
    ]  # fmt: skip
    assert get_block(2).name == "new" and resolve_blocks("2,1")[1].name == "new"
    # weights that were trained with ours still find it, and so does who spells it out
    assert get_block("lattice").number == 2
    assert [block.name for block in resolve_blocks("new,lattice")] == ["lattice", "new"]
    extracted = CliRunner().invoke(app, ["info", "weights", "tiny"])
    assert extracted.exit_code == 0 and "lattice" in extracted.output


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('    name, number = "lattice", 9\n', "name of its own, and `replaces = 'lattice'`"),
        ('    name, number = "new", 2\n', "number of its own, or `replaces = 'lattice'`"),
        ('    name, number, replaces = "lattice", 2, "lattice"\n', "name of its own"),
        ('    name, number, replaces = "new", 3, "lattice"\n', "clashes with 'sites'"),
        ('    name, number, replaces = "new", 2, "latice"\n', "Did you mean 'lattice'"),
    ],
)
def test_a_clash_of_blocks_is_an_error_that_says_what_to_do(
    lines: str, message: str, block_elsewhere: Callable[..., None]
) -> None:
    block_elsewhere("clashing", lines)
    with pytest.raises(CrystalSSLError, match=re.escape(message)):
        list_blocks()


def test_two_packages_cannot_replace_the_same_block(block_elsewhere: Callable[..., None]) -> None:
    block_elsewhere("first", '    name, number, replaces = "one", 2, "lattice"\n')
    block_elsewhere("second", '    name, number, replaces = "two", 8, "lattice"\n')
    with pytest.raises(InputError, match="both replace 'lattice'"):
        list_blocks()


@pytest.mark.parametrize(
    ("entry", "message"),
    [("Absent", "Cannot load the block of entry point 'broken'.*of broken 0.1.0"),
     ("__name__", "expected a class that inherits Block")],
)  # fmt: skip
def test_an_entry_point_that_gives_no_block_is_named(
    entry: str, message: str, block_elsewhere: Callable[..., None]
) -> None:
    block_elsewhere("broken", "    pass\n", entry)
    with pytest.raises(InputError, match=message):
        list_blocks()
