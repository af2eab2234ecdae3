import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.hub import weights as hub
from crystalssl.hub.card import ModelCard, TaskFigure
from crystalssl.hub.seen import Seen
from crystalssl.representation import layout


@pytest.fixture
def toy(registered_toy):
    torch.manual_seed(3)
    return registered_toy(registered_toy.Config(hidden=6)).eval()


def edit_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    card.update(changes)
    (folder / "card.json").write_text(json.dumps(card))


def test_a_block_comes_back_with_the_same_features_and_config(toy, made_corpus, tmp_path):
    hub.save_weights(toy, tmp_path)
    again = hub.load_weights(tmp_path)
    batch = made_corpus.batch([0, 1, 2], toy)
    assert again.config == toy.config and not again.training
    assert torch.equal(again.encode(batch).features, toy.encode(batch).features)


def test_saving_twice_gives_the_same_bytes_and_the_checksum_on_the_card(toy, tmp_path):
    cards = [hub.save_weights(toy, tmp_path / name) for name in "ab"]
    contents = [(tmp_path / name / hub.WEIGHTS_FILE).read_bytes() for name in "ab"]
    assert contents[0] == contents[1]
    assert cards[0].sha256 == hashlib.sha256(contents[0]).hexdigest()
    assert cards[0].layout_version == layout.VERSION


def test_a_changed_weights_file_is_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    path = tmp_path / hub.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="checksum"):
        hub.load_weights(tmp_path)


def test_missing_files_are_named(toy, tmp_path):
    with pytest.raises(InputError, match=r"no card\.json"):
        hub.load_weights(tmp_path)
    hub.save_weights(toy, tmp_path)
    (tmp_path / hub.WEIGHTS_FILE).unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        hub.load_weights(tmp_path)


def test_weights_of_another_layout_are_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, layout_version=99)
    with pytest.raises(InputError, match="layout 99"):
        hub.load_weights(tmp_path)


def test_weights_that_do_not_fit_the_block_are_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, config={"hidden": 7})
    with pytest.raises(InputError, match=r"does not fit its card: under 'head\.weight'"):
        hub.load_weights(tmp_path)


def test_a_block_that_does_not_exist_is_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, block="toi")
    with pytest.raises(UnknownNameError, match="'toi'"):
        hub.load_weights(tmp_path)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"colour": 1}, UnknownNameError), ({"layout_version": "1"}, InputError)],
)
def test_a_card_with_wrong_fields_is_refused(toy, tmp_path, change, error):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, **change)
    with pytest.raises(error, match=next(iter(change))):
        ModelCard.load(tmp_path)


def test_a_card_comes_back_whole(toy, tmp_path):
    figure = TaskFigure(
        task="t", number=1, block="toy", figure="error", higher_is_better=False, model=0.5,
        baselines={"mean": 1.0, "none": None}, trivial="mean", loss=2.0,
    )  # fmt: skip
    card = hub.new_card(toy, data={"crystals": 3}, figures=[figure], licence="CC0-1.0")
    card = hub.save_weights(toy, tmp_path, card)
    assert ModelCard.load(tmp_path) == card
    assert figure.beats_trivial


def test_a_run_is_a_mapping_of_blocks_wherever_its_folders_lie(toy, tmp_path):
    hub.save_run({"toy": toy}, tmp_path / "run" / "blocks")
    for place in ("run/blocks/toy", "run/blocks", "run"):
        blocks = hub.load_run(tmp_path / place)
        assert list(blocks) == ["toy"]
    (tmp_path / "run" / "blocks" / "toy" / "metrics.csv").write_text("x")
    hub.export_run(tmp_path / "run", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out" / "toy").iterdir()) == [
        "card.json",
        "weights.safetensors",
    ]
    assert hub.load_cards(tmp_path / "out") == hub.load_cards(tmp_path / "run")


def test_bundled_weights_are_found_by_name(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "BUNDLED", tmp_path)
    with pytest.raises(InputError, match="bundles no weights"):
        hub.find_run("default")
    hub.save_run({"toy": toy}, tmp_path / "default")
    assert list(hub.load_run("default")) == ["toy"]
    with pytest.raises(UnknownNameError, match="Did you mean 'default'"):
        hub.find_run("defalt")


def test_a_folder_without_blocks_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trained block"):
        hub.load_run(tmp_path)


def replace_weights(folder, change):
    """Hostile weights whose checksum is right."""
    path = folder / hub.WEIGHTS_FILE
    state = load_file(path)
    change(state)
    path.unlink()
    save_file(state, path)
    edit_card(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(toy, tmp_path, number):
    hub.save_weights(toy, tmp_path)
    replace_weights(tmp_path, lambda state: state["head.bias"].fill_(number))
    with pytest.raises(InputError, match=r"NaN or infinity in 'head\.bias'"):
        hub.load_weights(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_weights_of_another_type_are_refused(toy, tmp_path, dtype):
    hub.save_weights(toy, tmp_path)
    replace_weights(tmp_path, lambda s: s.update({"head.bias": s["head.bias"].to(dtype)}))
    with pytest.raises(InputError, match=r"'head\.bias' it holds .*expected F32"):
        hub.load_weights(tmp_path)


def test_missing_and_further_weights_are_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    replace_weights(tmp_path, lambda state: state.update({"more": torch.zeros(2)}))
    with pytest.raises(InputError, match=r"'more' it holds F32 \[2\], expected nothing"):
        hub.load_weights(tmp_path)
    replace_weights(tmp_path, lambda state: [state.pop(n) for n in ("more", "head.bias")])
    with pytest.raises(InputError, match=r"'head\.bias' it holds nothing, expected F32 \[1\]"):
        hub.load_weights(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
        (4 * 10**5).to_bytes(8, "little") + b"[" * (4 * 10**5),
        (83).to_bytes(8, "little")
        + b'{"head.bias":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}',
    ],
)
def test_headers_that_claim_too_much_are_refused_before_anything_is_read(toy, tmp_path, header):
    hub.save_weights(toy, tmp_path)
    (tmp_path / hub.WEIGHTS_FILE).write_bytes(header)
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        hub.load_weights(tmp_path)


@pytest.mark.parametrize(
    "hidden", [10**12, 2000, -5, 0, "6", None, True, 6.5, float("nan"), [6], {"a": 1}]
)
def test_settings_of_a_wrong_type_or_absurd_size_are_refused_at_once(toy, tmp_path, hidden):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, config={"hidden": hidden})
    with pytest.raises(InputError, match="card"):
        hub.load_weights(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block", 3),
        ("config", []),
        ("layout_version", True),
        ("layout_version", 1.0),
        ("sha256", None),
        ("data", {"a": json.loads("[" * 40 + "]" * 40)}),
        ("figures", {}),
        ("figures", [3]),
        ("figures", [{"task": "t"}]),
    ],
)
def test_cards_of_wrong_types_are_refused_in_words(toy, tmp_path, name, value):
    hub.save_weights(toy, tmp_path)
    edit_card(tmp_path, **{name: value})
    with pytest.raises(InputError, match=r"card\.json"):
        hub.load_weights(tmp_path)


def test_a_card_nested_beyond_reason_or_cut_off_is_refused(toy, tmp_path):
    hub.save_weights(toy, tmp_path)
    for text in ("[" * 10**6, '{"a":' * 10**5, (tmp_path / "card.json").read_text()[:-9]):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(InputError, match=r"card\.json is not JSON"):
            hub.load_weights(tmp_path)


def test_a_card_of_a_newer_version_is_refused_by_name_and_one_of_an_older_read(toy, tmp_path):
    card = hub.save_weights(toy, tmp_path)
    written = json.loads((tmp_path / "card.json").read_text())
    edit_card(tmp_path, format=99, unheard_of=1)
    with pytest.raises(InputError, match=r"card\.json has format version 99"):
        hub.load_weights(tmp_path)
    del written["format"]
    (tmp_path / "card.json").write_text(json.dumps(written))
    assert ModelCard.load(tmp_path) == card


def test_weights_without_a_list_of_seen_crystals_do_not_keep_an_older_one(
    toy, many_crystals, tmp_path
):
    hub.save_weights(toy, tmp_path, seen=Seen.from_crystals(many_crystals))
    assert hub.load_seen(tmp_path) is not None
    hub.save_weights(toy, tmp_path)
    assert hub.load_seen(tmp_path) is None and not (tmp_path / "seen.safetensors").exists()
