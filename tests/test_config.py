import json

import pytest

from crystalssl.config import PRESETS, TrainConfig, get_preset
from crystalssl.errors import InputError, UnknownNameError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_after_saving_and_loading(name, tmp_path):
    assert TrainConfig.load(get_preset(name).save(tmp_path / "c.json")) == get_preset(name)


def test_an_unknown_preset_or_setting_names_the_closest(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'quick'"):
        get_preset("quik")
    (tmp_path / "c.json").write_text(json.dumps({"epoch": 3}))
    with pytest.raises(UnknownNameError, match="Did you mean 'epochs'"):
        TrainConfig.load(tmp_path / "c.json")


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"learning_rate": -1.0}, {"epochs": "3"}, {"progress": 1}]
)
def test_values_that_cannot_work_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        TrainConfig().updated(change)


def test_a_schedule_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match="one-cycle"):
        TrainConfig(schedule="onecycle")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_a_file_that_is_no_object_is_refused(text, tmp_path):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json"):
        TrainConfig.load(tmp_path / "c.json")
    with pytest.raises(InputError, match=r"none\.json"):
        TrainConfig.load(tmp_path / "none.json")
