"""What is hidden is really hidden: answers do not move when the hidden truth does.

For each task the truth behind the mask is replaced or nudged, the corruption is drawn with the
same seed, and what the encoder says must stay the same. Where a task fails, an oracle could copy.
"""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from crystalssl.blocks._geometry import edge_vectors, image_distance, moved_graph
from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.features.extract import extract
from crystalssl.hub.weights import load_run
from crystalssl.representation.bonds import bond_names
from crystalssl.representation.charges import CHARGE_NAMES
from crystalssl.representation.panel_groups import slots
from crystalssl.representation.targets import TARGET_NAMES
from crystalssl.structures.canonical import canonicalize


def seeded():
    return torch.Generator().manual_seed(11)


@contextmanager
def answers_of(module):
    """Collect what a head says."""
    said = []
    handle = module.register_forward_hook(lambda _m, _i, output: said.append(output))
    yield said
    handle.remove()


def model_and_batch(name, corpus):
    model = build_block(name).eval()
    return model, corpus.batch(torch.arange(len(corpus)), type(model))


def test_the_hidden_element_and_its_fraction_are_gone_from_the_composition(corpus):
    model, batch = model_and_batch("composition", corpus)
    fraction = batch.rows.sum(-1)
    rest, taken, amount = model.corrupt(fraction, seeded())
    rows = torch.arange(len(rest))
    assert (rest[rows, taken] == 0).all() and (amount > 0).all()
    several = (fraction > 0).sum(1) > 1
    assert torch.allclose(rest[several].sum(1), torch.ones(int(several.sum())))


def test_another_hidden_element_gives_the_same_answer(corpus):
    model, batch = model_and_batch("composition", corpus)
    fraction = batch.rows.sum(-1)
    _, taken, _ = model.corrupt(fraction, seeded())
    index = torch.arange(len(fraction))
    neighbour = (taken + 1).clamp(max=102)
    free = fraction[index, neighbour] == 0  # a neighbour in Z keeps the order, so the same draw
    other = fraction.clone()
    other[index[free], neighbour[free]] = fraction[index, taken][free]
    other[index[free], taken[free]] = 0.0
    with answers_of(model.head) as said:
        for rows in (fraction, other):
            model.pretext(replace(batch, rows=slots(rows)), seeded())
    assert free.float().mean() > 0.8
    assert torch.allclose(said[0], said[1], atol=1e-5)


def test_slots_close_up_so_that_no_gap_tells_the_rank_of_what_is_missing(corpus):
    model, batch = model_and_batch("composition", corpus)
    fraction = batch.rows.sum(-1)
    assert torch.allclose(slots(fraction), batch.rows)
    rest, _, _ = model.corrupt(fraction, seeded())
    used = slots(rest).sum(1) > 0
    elements = (rest > 0).sum(1).clamp(max=4)
    assert all(bool(row[: int(n)].all()) for row, n in zip(used, elements, strict=True))


def test_another_species_behind_the_mask_gives_the_same_occupancy_answer(corpus):
    model, batch = model_and_batch("occupancy", corpus)
    species, crystal, _ = model._sites(batch)
    _, hidden = model.corrupt(species, crystal, len(batch.rows), seeded())
    changed = batch.rows.clone()
    site_rows = batch.valid[:, :100].nonzero()[hidden]
    single = changed[site_rows[:, 0], site_rows[:, 1], 2] == 0
    site_rows = site_rows[single]
    with answers_of(model.head) as said:
        model.pretext(batch, seeded())
        # swap hidden atoms for lawrencium wherever that keeps the same sites hidden
        changed[site_rows[:, 0], site_rows[:, 1], 0] = 103.0
        left = model.corrupt(species, crystal, len(batch.rows), seeded())[0]
        assert (left[hidden] == 0).all()
        tokens = model._tokens(left, hidden, batch.edges)
        model.head(tokens[hidden])
    assert torch.allclose(said[0], said[1], atol=1e-5)


def test_the_graph_of_displaced_sites_is_built_where_they_are(corpus):
    model, batch = model_and_batch("sites", corpus)
    geometry = model._geometry(batch)
    shaken, moved, step = model.corrupt(geometry, seeded())
    edges = moved_graph(*shaken)
    vectors = edge_vectors(*shaken, edges)
    assert torch.allclose(vectors.norm(dim=1), edges.distance, atol=1e-3)
    assert (step[~moved] == 0).all() and (step[moved].norm(dim=1) > 0).all()
    assert moved.any() and not torch.allclose(shaken.frac[moved], geometry.frac[moved])


def test_the_displacement_answer_turns_with_the_crystal(corpus):
    model, batch = model_and_batch("sites", corpus)
    shaken, moved, _ = model.corrupt(model._geometry(batch), seeded())
    edges = moved_graph(*shaken)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded()))[0]
    turned = shaken._replace(lattice=shaken.lattice @ turn)
    tokens, vectors, numbers = model._states(shaken, edges, moved)
    tokens_turned, vectors_turned, numbers_turned = model._states(turned, edges, moved)
    assert torch.allclose(tokens, tokens_turned, atol=1e-3)
    assert torch.allclose(numbers, numbers_turned, atol=1e-3)
    expected = torch.einsum("siv,ij->sjv", vectors, turn)
    assert torch.allclose(expected, vectors_turned, atol=1e-3)


def test_image_distances_match_brute_force():
    generator = seeded()
    lattice = torch.eye(3) * 4 + torch.randn(20, 3, 3, generator=generator) * 0.4
    step = torch.rand(20, 3, generator=generator) * 4 - 2
    grid = torch.cartesian_prod(*[torch.arange(-4.0, 5.0)] * 3)
    brute = torch.einsum("psi,pij->psj", step.unsqueeze(1) + grid, lattice).norm(dim=2).amin(1)
    assert torch.allclose(image_distance(step, lattice), brute, atol=1e-4)


@pytest.mark.parametrize("which", ["length", "lit"])
def test_hidden_reciprocal_numbers_do_not_reach_the_answer(which, corpus):
    model, batch = model_and_batch("reciprocal", corpus)
    rows = batch.rows.clone().requires_grad_(True)
    points = model._points(replace(batch, rows=rows))
    unmeasured, left_out = model.corrupt(points, seeded())
    head, hidden = {
        "length": (model.tell_length, unmeasured),
        "lit": (model.tell_lit, left_out),
    }[which]
    with answers_of(head) as said:
        model.pretext(replace(batch, rows=rows), seeded())
    said[0].square().sum().backward()
    assert hidden.any() and (rows.grad != 0).any()
    width = hidden.shape[1]
    if which == "lit":
        assert (rows.grad[:, :width, 15][hidden] == 0).all()
    else:  # a hidden vector may tell its direction, never its length
        radial = (rows.grad[..., 3:7] * rows.detach()[..., 3:7]).sum(-1)[:, :width]
        assert radial[hidden].abs().max() < 1e-4 * rows.grad.abs().max()


def test_lengths_are_hidden_for_whole_shells(corpus):
    model, batch = model_and_batch("reciprocal", corpus)
    points = model._points(batch)
    unmeasured, left_out = model.corrupt(points, seeded())
    assert not (unmeasured & left_out).any()
    for hidden in (unmeasured, left_out):
        for row in range(len(batch.rows)):
            shells = points.shell[row][points.kept[row]]
            inside = hidden[row][points.kept[row]]
            for shell in shells.unique():
                assert len(inside[shells == shell].unique()) == 1


def test_hidden_structure_factors_do_not_reach_the_answer(corpus):
    model, batch = model_and_batch("structure_factors", corpus)
    with answers_of(model.tell) as said:
        first = model.pretext(batch, seeded())
        shell = model._pattern(batch).shell
        drawn = torch.rand(shell.shape, generator=seeded())
        hidden = (drawn.gather(1, shell) < model.config.mask_ratio).unsqueeze(-1)
        rows = batch.rows.clone()
        read = rows[:, : shell.shape[1], 1:]
        rows[:, : shell.shape[1], 1:] = torch.where(hidden, 1 - read, read)
        second = model.pretext(replace(batch, rows=rows), seeded())
    assert torch.allclose(said[0], said[1], atol=1e-5)
    assert not torch.allclose(first[0].sums["model"], second[0].sums["model"])


def test_far_distances_are_told_from_states_and_cell_alone(corpus):
    model, batch = model_and_batch("sites", corpus)
    geometry = model._geometry(batch)
    shaken, moved, _ = model.corrupt(geometry, seeded())
    edges = moved_graph(*shaken)
    tokens = model._states(shaken, edges, moved).tokens
    nudge = 1e-4 * torch.randn(geometry.frac.shape, generator=seeded())
    nudged = geometry._replace(frac=geometry.frac + nudge)
    with answers_of(model.distance) as said:
        first = model._distance_result(geometry, edges, tokens, seeded())
        second = model._distance_result(nudged, edges, tokens, seeded())
    assert float(first.count) == float(second.count) >= 15
    assert torch.equal(said[0], said[1])
    assert not torch.equal(first.sums["mean"], second.sums["mean"])


def test_far_pairs_are_no_neighbours_in_the_graph(corpus):
    model, batch = model_and_batch("sites", corpus)
    geometry = model._geometry(batch)
    tokens = torch.arange(len(geometry.frac), dtype=torch.float32).unsqueeze(1)
    width = model.distance[0].in_features // 2
    given = []
    handle = model.distance.register_forward_pre_hook(lambda _m, inputs: given.append(inputs[0]))
    model._distance_result(geometry, batch.edges, tokens.expand(-1, width), seeded())
    handle.remove()
    total, product = given[0][:, 0].double(), given[0][:, width].double()
    root = torch.sqrt(total**2 - 4 * product)
    pairs = torch.stack([(total - root) / 2, (total + root) / 2], dim=1).round().long()
    joined = set(zip(batch.edges.source.tolist(), batch.edges.target.tolist(), strict=True))
    assert len(pairs) > 20
    assert not joined & set(map(tuple, pairs.tolist()))


def test_neither_side_of_the_mapping_sees_what_it_must_tell(corpus):
    model, batch = model_and_batch("structure_factors", corpus)
    rows = batch.rows.clone().requires_grad_(True)
    distances = batch.histogram.clone().requires_grad_(True)
    given = replace(batch, rows=rows, histogram=distances)
    for module, hidden, shown in (
        (model.to_distances, lambda: distances.grad, lambda: rows.grad[..., 1:]),
        (model.to_pattern, lambda: rows.grad[..., 1:], lambda: distances.grad),
    ):
        rows.grad, distances.grad = torch.zeros_like(rows), torch.zeros_like(distances)
        with answers_of(module) as said:
            model.pretext(given, seeded())
        said[0].square().sum().backward()
        assert (hidden() == 0).all() and (shown() != 0).any()


@pytest.mark.parametrize("name", [block.name for block in list_blocks()])
def test_crystal_level_answers_do_not_move_when_the_targets_do(name, corpus):
    model, batch = model_and_batch(name, corpus)
    other = replace(
        batch,
        targets=batch.targets.flip(0),
        crystal_system=(batch.crystal_system + 1) % 7,
        histogram=batch.histogram.flip(0),
    )
    with answers_of(model.structure.head) as said:
        first, second = (model.pretext(given, seeded()) for given in (batch, other))
    assert torch.equal(said[0], said[1])
    losses = [{r.task: float(r.loss.detach()) for r in results} for results in (first, second)]
    assert losses[0][f"{name}_to_structure"] != losses[1][f"{name}_to_structure"]


def test_the_crystal_system_is_told_from_the_lattice_alone(corpus):
    model, batch = model_and_batch("lattice", corpus)
    other = replace(batch, crystal_system=(batch.crystal_system + 1) % 7)
    with answers_of(model.head) as said:
        for given in (batch, other):
            model.pretext(given, seeded())
    assert torch.equal(said[0], said[1])


@pytest.mark.parametrize("name", [block.name for block in list_blocks()])
def test_features_read_neither_charges_nor_bonds_nor_any_other_target(name, corpus):
    model, batch = model_and_batch(name, corpus)
    assert batch.targets.shape[1] == len(TARGET_NAMES)
    assert set(CHARGE_NAMES) | set(bond_names()) < set(TARGET_NAMES)
    blind = replace(
        batch,
        targets=torch.full_like(batch.targets, float("nan")),
        histogram=torch.full_like(batch.histogram, float("nan")),
        crystal_system=torch.zeros_like(batch.crystal_system),
    )
    with torch.no_grad():
        assert torch.equal(model.encode(batch).features, model.encode(blind).features)


def test_extraction_makes_no_targets_at_all(corpus):
    found = canonicalize(load_bundled().take(range(0, 400, 40)))
    bare = Corpus.from_crystals(found, targets=False)
    assert not bare.has_targets
    encoders = load_run("tiny")
    whole = extract(Corpus.from_crystals(found), encoders)
    assert np.array_equal(extract(bare, encoders).matrix, whole.matrix)
    assert np.array_equal(extract(found, encoders).matrix, whole.matrix)


def test_hidden_windows_are_hidden_of_shells_and_of_the_whole(corpus):
    model, batch = model_and_batch("electronic", corpus)
    hidden, scored = model._hidden_windows(batch, seeded())
    assert hidden.any(1).all() and not hidden[:, model.centres.isnan()].any()
    assert (scored & ~hidden).sum() == 0 and not scored[:, ~model.density].any()
    for row in range(len(hidden)):
        energies = model.centres[hidden[row]]
        inside = (model.centres >= energies.min()) & (model.centres <= energies.max())
        assert hidden[row][inside].all()  # no window of any shell shows what another hides


def test_another_hidden_number_gives_the_same_electronic_answer(corpus):
    model, batch = model_and_batch("electronic", corpus)
    generator = seeded()
    windows, _ = model._hidden_windows(batch, generator)
    hidden = (windows | model._hidden_groups(batch, generator)) & batch.valid
    other = batch.rows + 3.0 * hidden.unsqueeze(-1)
    assert 0.1 < hidden.float().mean() < 0.7
    with answers_of(model.tell) as said:
        for rows in (batch.rows, other):
            model.pretext(replace(batch, rows=rows), seeded())
    assert torch.equal(said[0], said[1])
    with answers_of(model.tell) as said:
        model.pretext(replace(batch, rows=batch.rows + 3.0), seeded())
    assert not torch.allclose(said[0][0], model.tell(model.encode(batch).features)[0])


def test_the_electrons_predicted_from_geometry_do_not_depend_on_the_numbers(corpus):
    model, batch = model_and_batch("electronic", corpus)
    with answers_of(model.to_electrons) as said:
        for rows in (batch.rows, torch.zeros_like(batch.rows)):
            model.pretext(replace(batch, rows=rows), seeded())
        moved = replace(batch, histogram=batch.histogram + 1.0)
        model.pretext(moved, seeded())
    assert torch.equal(said[0], said[1]) and not torch.allclose(said[0], said[2])


def test_a_group_of_gaps_is_hidden_with_the_gaps_of_spin(corpus):
    model, batch = model_and_batch("electronic", corpus)
    hidden = model._hidden_groups(batch, seeded())
    first, spin = hidden[:, model.group_of_row == 0], hidden[:, model.group_of_row == 10]
    assert torch.equal(first[:, :1], spin[:, :1]) and (first == first[:, :1]).all()
