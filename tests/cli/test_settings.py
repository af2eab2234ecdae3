"""Settings from outside: a TOML file and ``--set``, for every field of every configuration."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from crystalssl.blocks.registry import known_blocks
from crystalssl.config import TrainConfig, configured, read_settings
from crystalssl.errors import CrystalSSLError
from crystalssl.features.bottleneck_objective import BottleneckConfig
from crystalssl.hub.weights import load_weights, save_run
from crystalssl.pipeline.training import plan_training

Invoke = Callable[..., Any]
CONFIGS = [TrainConfig(), BottleneckConfig(), *(block.Config() for block in known_blocks())]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__qualname__)
def test_every_field_takes_its_own_value_from_json_and_refuses_another_type(config: Any) -> None:
    for name, value in json.loads(json.dumps(asdict(config))).items():
        assert configured(config, {name: value}, "x") == config
        with pytest.raises(CrystalSSLError, match=name):
            configured(config, {name: {"no": "such value"}}, "x")
    assert {field.name for field in fields(config)} == set(asdict(config))


def test_assignments_win_over_the_file(tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.importorskip("tomli")
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nepochs = 3\nbatch_size = 7\n[lattice]\ndropout = 0.3\n")
    settings = read_settings(file, ["training.epochs=4", "training.precision=bf16"])
    plan = plan_training("lattice", settings=settings)
    assert (plan.config.epochs, plan.config.batch_size) == (4, 7)
    assert plan.config.precision == "bf16"
    assert plan.configs["lattice"].dropout == 0.3
    assert plan_training("lattice", settings=settings, epochs=9).config.epochs == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sites.move_ration=0.4", "Did you mean 'move_ratio'"),
        ("site.move_ratio=0.4", "Did you mean 'sites'"),
        ("sites.move_ratio=much", "sites.move_ratio is 'much', expected a number"),
        ("training.epochs=2.5", "training.epochs is 2.5, expected a whole number"),
        ("training.epochs=true", "expected a whole number"),
        ("training.epochs=0", "at least 1"),
        ("training.schedule=onecycle", "Did you mean 'one-cycle'"),
        ("move_ratio=0.4", "expected SECTION.SETTING=VALUE"),
        ("sites.move_ratio", "expected SECTION.SETTING=VALUE"),
    ],
)
def test_settings_that_cannot_be_are_one_message_before_any_work(
    text: str, message: str, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("pretrain", tmp_path / "none.cif", "--set", text, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "Found no settings file"), ("epochs = 2", "outside of a section"), ("[", "not TOML")],
)
def test_a_settings_file_that_cannot_be_read_is_one_message(
    text: str | None, message: str, tmp_path: Path, invoke: Invoke
) -> None:
    if sys.version_info < (3, 11):
        pytest.importorskip("tomli")
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    words = ("pretrain", tmp_path / "none.cif", "--config", file, "--out", tmp_path / "run")
    result = invoke(*words)
    assert result.exit_code == 2 and message in " ".join(result.output.split())


def test_a_setting_of_a_block_reaches_its_weights_and_init_goes_on_from_given_ones(
    tmp_path: Path, invoke: Invoke, registered_toy: Any
) -> None:
    table = tmp_path / "structures.parquet"
    assert invoke("generate", "-n", 40, "-o", table).exit_code == 0
    first = save_run({"toy": registered_toy(registered_toy.Config(hidden=4))}, tmp_path / "first")
    words = ["pretrain", table, "--block", "toy", "--epochs", 1, "--threads", 1]
    words += ["--set", "training.learning_rate=1e-12", "--set", "training.weight_decay=0"]
    done = invoke(*words, "--init", first, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    trained = load_weights(tmp_path / "run" / "blocks" / "toy")
    assert trained.config.hidden == 4
    logs = (tmp_path / "run" / "blocks" / "toy" / "tensorboard").glob("events*")
    assert any(b"block_config.hidden" in log.read_bytes() for log in logs)  # hyperparameters
    before = load_weights(first / "toy").state_dict()
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0)
    fresh = invoke(*words, "--set", "toy.hidden=5", "--out", tmp_path / "fresh")
    assert fresh.exit_code == 0, fresh.output
    assert load_weights(tmp_path / "fresh" / "blocks" / "toy").config.hidden == 5
    other = invoke(*words, "--init", first, "--set", "toy.hidden=5", "--out", tmp_path / "no")
    assert other.exit_code == 2 and "do not fit the settings" in " ".join(other.output.split())
    lacking = invoke("pretrain", table, "--block", "lattice", "--init", first, "--out", tmp_path)
    assert lacking.exit_code == 2 and "no weights of lattice to go on from" in lacking.output
