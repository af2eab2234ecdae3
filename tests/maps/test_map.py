"""What a map holds: columns become colours, arrays survive packing, wrong input is answered."""

import base64
import json
import re
import zlib

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from crystalssl.cli import app
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.features import Features
from crystalssl.features.store import save_parquet
from crystalssl.maps.columns import category_column, column_of
from crystalssl.maps.crystal_map import formulas_of
from crystalssl.maps.packing import CHUNK, STEPS
from crystalssl.pipeline import write_map
from crystalssl.pipeline.progress import Silent
from crystalssl.report import projection
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import write_table


def blocks_of(page):
    """Blocks of a page by name, unpacked, and its meta data."""
    found = re.findall(r'id="block-([\w-]+)">([^<]*)</script>', page)
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', page)[1])
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in found}, meta


@pytest.fixture(scope="module")
def page(page_path):
    return page_path.read_text(encoding="utf-8")


def test_ids_formulas_planes_and_columns_lie_in_the_page_in_the_order_of_the_features(
    page, crystals, features
):
    blocks, meta = blocks_of(page)
    ids = blocks["ids"].decode().split("\n")
    assert ids == [" ".join(name.splitlines()) for name in features.ids.tolist()]
    assert len(blocks["formulas"].decode().split("\n")) == len(crystals)
    plane = np.frombuffer(blocks["plane-0"], "<f4").reshape(2, -1)
    assert plane.shape == (2, len(crystals))
    assert abs(np.corrcoef(plane)[0, 1]) < 1e-3  # principal components
    assert [c["title"] for c in meta["columns"]] == [
        "Energy", "Conductivity", "Family", "Many", "Crystal system", "Space group",
    ]  # fmt: skip
    energy = np.frombuffer(blocks["column-0"], "<f4")
    assert np.array_equal(np.isnan(energy), np.arange(len(crystals)) % 5 == 0)


def test_a_structure_is_read_back_from_its_chunk_with_its_occupancies(page, crystals):
    blocks, meta = blocks_of(page)
    content = blocks["structures-0"]
    count = min(CHUNK, len(crystals))
    cells = np.frombuffer(content, "<f4", 9 * count).reshape(-1, 3, 3)
    assert np.allclose(cells, crystals.lattice[:count], rtol=1e-6)
    counts = np.frombuffer(content, "<u4", count, 36 * count)
    assert np.array_equal(counts, crystals.site_counts[:count])
    total = int(counts.sum())
    kinds = np.frombuffer(content, "<u4", total, 40 * count)
    steps = np.frombuffer(content, "<u2", 3 * total, 40 * count + 4 * total).reshape(-1, 3)
    away = np.abs(steps / STEPS - np.mod(crystals.frac_coords[:total], 1.0))
    assert np.minimum(away, 1 - away).max() <= 0.51 / STEPS
    for site in (0, int(crystals.offsets[3]), total - 1):
        filled = crystals.numbers[site] > 0
        wanted = zip(crystals.numbers[site][filled], crystals.occupancy[site][filled], strict=True)
        assert meta["kinds"][kinds[site]] == [[int(z), float(x)] for z, x in wanted]
    mixed = meta["kinds"][kinds[crystals.offsets[3]]]
    assert mixed == [[26, 0.5], [25, 0.25]]
    assert {str(z) for kind in meta["kinds"] for z, _ in kind} == set(meta["elements"])


def test_neighbours_are_the_nearest_in_the_features(page, features):
    blocks, meta = blocks_of(page)
    near = np.frombuffer(blocks["near"], "<u4").reshape(-1, meta["near"])
    z = features.matrix.astype(np.float64)
    z = (z - z.mean(0)) / z.std(0)
    distance = np.linalg.norm(z[:, None] - z[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.array_equal(near, np.argsort(distance, axis=1)[:, : meta["near"]])


def test_the_same_map_is_the_same_bytes(page, crystals, features, tmp_path):
    color = ["energy", "conductivity", "family", "many"]
    again = write_map(
        features, tmp_path / "m.html", structures=crystals, color=color, title="Sixty crystals"
    )
    assert again.path.read_text(encoding="utf-8") == page


def test_text_of_a_crystal_cannot_leave_its_script_element(page):
    assert page.count("</script>") == page.count("<script")
    assert "<b>" not in page


def test_wide_positive_numbers_get_a_logarithmic_scale_and_outliers_do_not_take_all_colours():
    wide = column_of("x", pa.array(10.0 ** np.linspace(-9, 0, 100)))
    assert wide.log
    assert wide.below
    assert wide.above
    signed = column_of("x", pa.array(np.linspace(-1, 1000, 100)))
    assert not signed.log
    outlier = column_of("x", pa.array([*np.linspace(0, 1, 200).tolist(), 1e6]))
    assert outlier.high < 1.01
    assert outlier.above
    constant = column_of("x", pa.array([2.0, 2.0, None]))
    assert (constant.low, constant.high) == (2.0, 2.0)
    assert np.isnan(constant.values[2])


def test_classes_are_ordered_by_size_unless_they_have_an_order():
    column = category_column("x", ["b", "a", "b", None, "", "c", "c", "c"])
    assert column.labels == ("c", "b", "a")
    assert column.values.tolist() == [1, 2, 1, -1, -1, 0, 0, 0]
    assert category_column("x", ["b", "a", "b"], ["a", "b"]).labels == ("a", "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([None, None], pa.float64()), "has no value"),
        (pa.array([[1.0], [2.0]]), "expected numbers or text"),
    ],
)
def test_a_column_that_cannot_colour_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        column_of("x", values)


def test_fractions_are_written_in_units_of_the_whole_elements():
    count = 24
    numbers = np.zeros((count, 4), np.int16)
    numbers[:, 0] = [3] * 6 + [15] * 6 + [8] * 12
    occupancy = np.where(numbers > 0, 1.0, 0.0).astype(np.float32)
    occupancy[:6, 0] = 0.137
    crystal = Crystals(
        ids=np.array(["a"]), lattice=8 * np.eye(3)[None], offsets=np.array([0, count]),
        frac_coords=np.random.default_rng(0).random((count, 3)), numbers=numbers,
        occupancy=occupancy,
    )  # fmt: skip
    assert formulas_of(crystal, np.array([0, -1])).tolist() == ["Li0.137PO2", ""]


def test_without_structures_there_are_points_and_neighbours_alone(features, tmp_path):
    written = write_map(features, tmp_path / "m.html")
    assert (written.crystals, written.structures) == (len(features), 0)
    blocks, meta = blocks_of(written.path.read_text(encoding="utf-8"))
    assert meta["columns"] == []
    assert not any(name.startswith("structures") for name in blocks)


@pytest.mark.parametrize("installed", [True, False])
def test_umap_comes_first_where_it_is_installed_and_its_absence_is_said(
    installed, tmp_path, monkeypatch
):
    monkeypatch.setattr(projection, "has_umap", lambda: installed)
    monkeypatch.setattr(projection, "_umap", lambda axes: 7.0 + axes[:, :2])
    values = np.random.default_rng(0).normal(size=(projection.LEAST, 6)).astype(np.float32)
    many = Features(ids=np.array([f"c{row}" for row in range(len(values))]), blocks={"x": values})
    notes = []

    class Noting(Silent):
        def note(self, text, *, warning=False):
            notes.append(text)

    write_map(many, tmp_path / "map.html", progress=Noting())
    blocks, meta = blocks_of((tmp_path / "map.html").read_text(encoding="utf-8"))
    titles = [plane["title"] for plane in meta["planes"]]
    assert titles == (["UMAP", "principal components"] if installed else ["principal components"])
    first = np.frombuffer(blocks["plane-0"], "<f4")
    assert (first.min() > 0) == installed
    assert any("pip install 'crystalssl[map]'" in text for text in notes) != installed


def test_structures_can_be_held_for_some_crystals_alone(crystals, features, tmp_path):
    written = write_map(features, tmp_path / "m.html", structures=crystals, most_structures=5)
    blocks, meta = blocks_of(written.path.read_text(encoding="utf-8"))
    assert meta["stored"] == written.structures == 5
    assert np.frombuffer(blocks["stored"], "<u4").tolist() == [0, 14, 29, 44, 59]


def test_a_single_crystal_and_crystals_without_structure_give_a_map(crystals, features, tmp_path):
    one = write_map(features.take([0]), tmp_path / "one.html", structures=crystals)
    assert one.crystals == 1
    stranger = Features(
        ids=np.array([crystals.ids[0], "unknown"]), blocks={"x": np.eye(2, 3, dtype=np.float32)}
    )
    two = write_map(stranger, tmp_path / "two.html", structures=crystals)
    assert (two.crystals, two.structures) == (2, 1)


def test_wrong_input_is_answered_with_what_to_do(crystals, features, tmp_path):
    out = tmp_path / "m.html"
    with pytest.raises(UnknownNameError, match="Did you mean 'energy'"):
        write_map(features, out, structures=crystals, color=["enery"])
    with pytest.raises(InputError, match="--structures"):
        write_map(features, out, color=["energy"])
    with pytest.raises(InputError, match="is among the 60 structures"):
        strange = Features(ids=np.array(["p", "q"]), blocks=features.take([0, 1]).blocks)
        write_map(strange, out, structures=crystals)
    with pytest.raises(InputError, match=r"expected one of \.html"):
        write_map(features, tmp_path / "m.pdf")
    assert not out.exists()


def test_the_command_writes_the_page(crystals, features, tmp_path):
    table, made = tmp_path / "structures.parquet", tmp_path / "features.parquet"
    write_table(crystals, table)
    save_parquet(features, made)
    out = tmp_path / "map.html"
    words = ["map", str(made), "--structures", str(table), "--color", "family", "-o", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert f"{len(crystals)} in 3D" in result.output
    assert blocks_of(out.read_text(encoding="utf-8"))[1]["columns"][0]["title"] == "Family"
