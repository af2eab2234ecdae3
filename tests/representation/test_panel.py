"""The panel against plain NumPy, its invariances, and its edge cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.representation import elemental, layout
from crystalssl.representation.panel import (
    build_panel,
    iterate_panel,
    sparsity,
)
from crystalssl.representation.panel_groups import group_rows
from crystalssl.representation.panel_source import PanelSource
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]


@pytest.fixture(scope="module")
def source(small: Crystals) -> PanelSource:
    return PanelSource.from_crystals(small)


def test_panel_has_the_shape_and_columns_of_the_layout(small: Crystals) -> None:
    panel = build_panel(small)
    assert panel.shape == (len(small), 103, 64)
    assert panel.dtype == np.float32
    assert np.isfinite(panel).all()
    np.testing.assert_array_equal(panel[:, :, layout.VALIDITY].sum(axis=1), small.site_counts)


def test_atomic_fractions_sum_to_one_in_slots_by_electronegativity(crystals_of: Build) -> None:
    # six elements: K 0.82 < Na 0.93 < Fe 1.83 < P 2.19 < O 3.44 < F 3.98
    frac = np.random.default_rng(0).uniform(size=(8, 3))
    crystals = crystals_of([(np.eye(3) * 6, frac, [8, 9, 8, 15, 26, 11, 19, 8])])
    rows, valid = group_rows(PanelSource.from_crystals(crystals), "composition")
    assert rows.sum().item() == pytest.approx(1)
    slots = {z: (rows[0, z - 1] > 0).nonzero().item() for z in (19, 11, 26, 15, 8, 9)}
    assert slots == {19: 0, 11: 1, 26: 2, 15: 3, 8: 3, 9: 3}
    assert valid.sum() == 6
    assert rows[0, 7, 3].item() == pytest.approx(3 / 8)


def test_partial_occupancy_counts_by_its_fraction(crystals_of: Build) -> None:
    cell = (np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], [{3: 0.5, 11: 0.25}, 8])
    source = PanelSource.from_crystals(crystals_of([cell]))
    rows, _ = group_rows(source, "composition")
    assert rows[0, 2].sum().item() == pytest.approx(0.5 / 1.75)
    rows, valid = group_rows(source, "occupancy")
    np.testing.assert_allclose(rows[0, 0, :4], [3, 0.5, 11, 0.25])
    assert valid.sum() == 2
    rows, valid = group_rows(source, "reciprocal")
    odd = rows[0, :, :3].sum(dim=1).remainder(2) == 1
    np.testing.assert_allclose(rows[0, valid[0] & odd, 15], 0.25 / 1.75, atol=1e-4)


def test_lattice_rows_hold_cell_angles_volume_and_short_vectors(
    source: PanelSource, small: Crystals
) -> None:
    rows, valid = group_rows(source, "lattice")
    lengths = np.linalg.norm(small.lattice, axis=2)
    np.testing.assert_allclose(rows[:, :3, :3], small.lattice, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rows[:, :3, 3], lengths, rtol=1e-5)
    np.testing.assert_allclose(rows[:, 3, 3], small.volumes, rtol=1e-5)
    cosine = (small.lattice[:, 0] * small.lattice[:, 1]).sum(1) / lengths[:, 0] / lengths[:, 1]
    np.testing.assert_allclose(np.cos(np.deg2rad(rows[:, 3, 2].numpy())), cosine, atol=1e-5)
    short = rows[:, 4:, 3]
    assert ((short[:, 1:] >= short[:, :-1] * (1 - 2e-4)) | ~valid[:, 5:]).all()
    assert (short[valid[:, 4:]] > 0).all()
    assert not rows[~valid].any()


def test_site_rows_hold_coordinates_and_harmonics(source: PanelSource, small: Crystals) -> None:
    rows, valid = group_rows(source, "sites")
    n = 7
    sites = slice(small.offsets[n], small.offsets[n + 1])
    frac = small.frac_coords[sites] % 1
    got = rows[n, : len(frac)].numpy()
    np.testing.assert_allclose(got[:, :3], frac, atol=1e-6)
    np.testing.assert_allclose(got[:, 3:6], frac @ small.lattice[n], atol=1e-4)
    waves = [f(2 * np.pi * k * frac) for k in (1, 2, 3) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(got[:, 6:], np.concatenate(waves, axis=1), atol=1e-5)
    np.testing.assert_allclose(rows[n, 100:, 3:6], small.lattice[n], rtol=1e-6)
    assert valid[n].sum() == len(frac)


def test_an_atom_at_the_origin_is_a_real_atom(crystals_of: Build) -> None:
    source = PanelSource.from_crystals(crystals_of([(np.eye(3) * 3, [[0, 0, 0]], [1])]))
    assert group_rows(source, "sites")[1].sum() == 1
    assert group_rows(source, "occupancy")[0][0, 0, 0] == 1


def test_structure_factors_equal_a_plain_sum(source: PanelSource, small: Crystals) -> None:
    rows, valid = group_rows(source, "structure_factors")
    hkl = group_rows(source, "reciprocal")[0][:, :, :3].numpy()
    geometric = group_rows(source, "reciprocal")[0][:, :, 15].numpy()
    for n in range(0, len(small), 5):
        sites = slice(small.offsets[n], small.offsets[n + 1])
        k = hkl[n][valid[n]]
        phase = np.exp(2j * np.pi * k @ small.frac_coords[sites].T)
        weights = elemental.WEIGHTS[small.numbers[sites, 0]]
        total = weights.sum(axis=0)
        expected = np.abs(phase @ weights) / np.where(total > 0, total, 1)
        np.testing.assert_allclose(rows[n][valid[n]][:, 1:], expected, atol=2e-5)
        np.testing.assert_allclose(geometric[n][valid[n]], np.abs(phase.mean(axis=1)), atol=2e-5)
        g = np.linalg.norm(k @ np.linalg.inv(small.lattice[n]).T, axis=1)
        np.testing.assert_allclose(rows[n][valid[n]][:, 0], g, rtol=1e-5)


def test_reciprocal_scalars_are_what_their_names_say(crystals_of: Build) -> None:
    lattice = np.diag([2.0, 4.0, 5.0])
    source = PanelSource.from_crystals(crystals_of([(lattice, [[0.1, 0.2, 0.3]], [1])]))
    rows, valid = group_rows(source, "reciprocal")
    first, second = rows[0, 0], rows[0, 1]
    assert first[:3].tolist() == [0, 0, 1]
    assert first[3].item() == pytest.approx(0.2)
    assert first[7].item() == pytest.approx(5.0)
    assert first[9:11].tolist() == [1, 2]
    assert first[11].item() == pytest.approx(0.05)
    assert first[12:15].tolist() == pytest.approx([0, 0, 1])
    assert second[8].item() == pytest.approx((0.25 / 0.2) ** 2)
    assert rows[0, :, 9].max() > 10
    last = int(valid[0].sum()) - 1
    assert rows[0, last, 3] + rows[0, last, 11] == pytest.approx(source.beyond.item(), rel=1e-4)


def test_lengths_shells_and_amplitudes_do_not_depend_on_the_description(
    small: Crystals, source: PanelSource, transformed: Callable[[Crystals, int], Crystals]
) -> None:
    other = PanelSource.from_crystals(transformed(small, 11))
    np.testing.assert_array_equal(source.hkl_used, other.hkl_used)
    np.testing.assert_array_equal(source.direct_used, other.direct_used)
    for name, columns in (("reciprocal", [3, 7, 8, 9, 10, 11]), ("lattice", [3])):
        one, mask = group_rows(source, name)
        two, _ = group_rows(other, name)
        start = 4 if name == "lattice" else 0
        ours, theirs = one[:, start:, columns], two[:, start:, columns]
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
        assert mask.any()
    one, mask = group_rows(source, "structure_factors")
    two, _ = group_rows(other, "structure_factors")
    for n in range(len(small)):
        ours, theirs = (part[n][mask[n]].double() for part in (one, two))
        shell = source.opens[n][mask[n]].long().cumsum(0)
        sums = [
            torch.zeros(int(shell.max()) + 1, 7, dtype=torch.float64).index_add_(0, shell, part)
            for part in (ours, theirs)
        ]
        torch.testing.assert_close(*sums, rtol=1e-3, atol=1e-3)
    one, _ = group_rows(source, "composition")
    two, _ = group_rows(other, "composition")
    torch.testing.assert_close(one, two)


def test_a_batch_of_one_equals_its_row_of_the_whole(source: PanelSource) -> None:
    index = [5, 0, 5, 31]
    part = source.take(index)
    for name in layout.GROUPS:
        whole, mask = group_rows(source, name)
        rows, valid = group_rows(part, name)
        torch.testing.assert_close(rows, whole[index])
        assert (valid == mask[index]).all()


def test_panels_come_in_pieces_that_join(source: PanelSource, small: Crystals) -> None:
    pieces = np.concatenate(list(iterate_panel(source, size=7)))
    np.testing.assert_allclose(pieces, build_panel(small), rtol=1e-6, atol=1e-6)


def test_rows_beyond_the_last_whole_shell_are_zero(source: PanelSource) -> None:
    for name in ("reciprocal", "structure_factors", "lattice"):
        rows, valid = group_rows(source, name)
        assert not rows[~valid].any()
        assert rows[valid].any(dim=1).all()


def test_sparsity_reports_every_group(small: Crystals) -> None:
    records = sparsity(build_panel(small))
    assert [record.name for record in records] == list(layout.GROUPS)
    assert sum(record.numbers for record in records) == 6489
    assert all(0 < record.filled <= 1 for record in records)


def test_sparsity_refuses_what_is_no_panel() -> None:
    with pytest.raises(InputError, match="build_panel"):
        sparsity(np.zeros((2, 3), np.float32))


def test_too_many_sites_are_refused_with_a_remedy(crystals_of: Build) -> None:
    frac = np.random.default_rng(0).uniform(size=(101, 3))
    with pytest.raises(InputError, match="101 sites, the panel holds 100"):
        build_panel(crystals_of([(np.eye(3) * 12, frac, [1] * 101)]))


def test_encoders_are_given_every_site_and_species(crystals_of: Build) -> None:
    frac = np.random.default_rng(0).uniform(size=(130, 3))
    crystals = crystals_of([(np.eye(3) * 12, frac, [1] * 130), (np.eye(3) * 3, [[0, 0, 0]], [3])])
    crystals = crystals.with_width(6)
    rows, valid = group_rows(PanelSource.from_crystals(crystals), "sites")
    assert rows.shape == (2, 133, 24)
    assert valid.sum(dim=1).tolist() == [130, 1]
    assert np.allclose(rows[:, -3:, 3:6].numpy(), crystals.lattice)
    assert group_rows(PanelSource.from_crystals(crystals), "occupancy")[0].shape == (2, 133, 12)


def test_an_unknown_group_suggests_the_closest(source: PanelSource) -> None:
    with pytest.raises(UnknownNameError, match="composition"):
        group_rows(source, "compositon")


def test_a_source_on_another_device_keeps_its_crystals(source: PanelSource) -> None:
    assert len(source.to("cpu")) == len(source)
    assert source.nbytes > 0


def test_no_crystals_make_an_empty_panel(small: Crystals) -> None:
    assert build_panel(small.take(np.arange(0))).shape == (0, 103, 64)
