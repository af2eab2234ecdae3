"""Weights as float16: the same features from half of the bytes, and no silent loss."""

import pytest
import torch
from safetensors.torch import load_file, save

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.errors import InputError
from crystalssl.hub import weights as hub
from crystalssl.hub.card import ModelCard
from crystalssl.hub.halves import round_matrices

NAMES = [block.name for block in list_blocks()]


def size(folder):
    return (folder / hub.WEIGHTS_FILE).stat().st_size


@pytest.mark.parametrize("name", NAMES)
def test_a_rounded_block_keeps_every_weight_in_half_of_the_bytes(name, tmp_path):
    torch.manual_seed(0)
    block = build_block(name, {}).eval()
    for number in block.parameters():  # none is left at zero
        number.data += 0.01 * torch.randn_like(number)
    hub.save_weights(block, tmp_path / "whole")
    round_matrices(block)
    hub.save_weights(block, tmp_path / "half")
    again = hub.load_weights(tmp_path / "half")
    assert size(tmp_path / "half") < 0.7 * size(tmp_path / "whole")
    assert all(p.dtype == torch.float32 for p in again.parameters())
    for key, value in block.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    card = hub.save_weights(again, tmp_path / "again")
    assert card.sha256 == ModelCard.load(tmp_path / "half").sha256


def test_weights_that_float16_does_not_hold_stay_as_they_are(registered_toy, tmp_path):
    torch.manual_seed(3)
    toy = registered_toy(registered_toy.Config(hidden=6))
    hub.save_weights(toy, tmp_path)
    held = load_file(tmp_path / hub.WEIGHTS_FILE)
    assert {t.dtype for t in held.values() if t.ndim > 1} == {torch.float32}


def test_an_export_rounds_where_it_is_told(registered_toy, tmp_path):
    torch.manual_seed(3)
    toy = registered_toy(registered_toy.Config(hidden=6)).eval()
    hub.save_weights(toy, tmp_path / "run" / "toy")
    exact = hub.load_weights(hub.export_run(tmp_path / "run", tmp_path / "exact") / "toy")
    close = hub.load_weights(
        hub.export_run(tmp_path / "run", tmp_path / "close", rounded=True) / "toy"
    )
    for key, value in toy.state_dict().items():
        assert torch.equal(exact.state_dict()[key], value)
        torch.testing.assert_close(close.state_dict()[key], value, rtol=2**-10, atol=1e-7)
    assert any(not torch.equal(close.state_dict()[k], v) for k, v in toy.state_dict().items())


def test_a_file_of_both_kinds_is_refused(registered_toy, tmp_path):
    """All matrices are narrow or none: a mixture is no file of ours."""
    toy = registered_toy(registered_toy.Config(hidden=6))
    round_matrices(toy)
    hub.save_weights(toy, tmp_path)
    held = load_file(tmp_path / hub.WEIGHTS_FILE)
    key = next(k for k, t in held.items() if t.ndim == 1)
    (tmp_path / hub.WEIGHTS_FILE).write_bytes(save({**held, key: held[key].half()}))
    with pytest.raises(InputError, match="does not fit its card"):
        hub.load_weights(tmp_path)
