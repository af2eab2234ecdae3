"""Blocks are found by name, number and list; mistakes get the closest match."""

import pytest
import torch

from crystalssl.blocks.registry import build_block, get_block, list_blocks, resolve_blocks
from crystalssl.errors import UnknownNameError


def test_six_published_blocks_fill_2048_features_with_nine_tasks_and_a_seventh_stands_behind():
    *blocks, seventh = list_blocks()
    assert [block.number for block in blocks] == [1, 2, 3, 4, 5, 6]
    assert sum(block.width for block in blocks) == 2048
    assert (seventh.name, seventh.number, seventh.width) == ("electronic", 7, 256)
    numbers = {task.number for block in blocks for task in block.tasks} - {None}
    assert numbers == set(range(1, 10))


def test_a_block_is_chosen_by_name_or_number():
    assert get_block("occupancy") is get_block(4) is get_block("4")


def test_a_choice_keeps_the_order_of_numbers():
    assert [block.name for block in resolve_blocks("4,composition")] == ["composition", "occupancy"]
    assert resolve_blocks("all") == list_blocks()


def test_a_misspelt_block_is_answered_with_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'occupancy'"):
        resolve_blocks("ocupancy")


def test_an_unknown_config_field_is_answered_with_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'layers'"):
        build_block("lattice", {"layer": 2})


def test_the_same_seed_gives_the_same_weights():
    first, second, third = (build_block("lattice", seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_building_a_block_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    build_block("composition", seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
