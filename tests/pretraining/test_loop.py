import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from crystalssl import locks
from crystalssl.config import TrainConfig
from crystalssl.datasets import shards
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.hub.card import ModelCard
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import load_run, load_seen, load_weights
from crystalssl.pretraining._lightning import every_epoch, read_checkpoint, read_history
from crystalssl.pretraining.loop import pretrain
from crystalssl.pretraining.module import PretextTraining, generator_for
from crystalssl.pretraining.scores import Tally
from crystalssl.processes import Terminated, stop_on_sigterm
from crystalssl.structures.table import write_table

TRAIN, VAL = np.arange(0, 50), np.arange(50, 70)
CONFIG = TrainConfig(
    epochs=3, batch_size=16, max_atoms=64, learning_rate=1e-2, monitor_crystals=12,
    progress=False, tensorboard=False, accelerator="cpu",
)  # fmt: skip


LOSSES = ("train_loss", "val_loss")


class StopAt(pl.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def train(made_corpus, registered_toy, tmp_path):
    def run(name, config=CONFIG, **options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = registered_toy(registered_toy.Config())
        return pretrain(made_corpus, block, TRAIN, VAL, config, tmp_path / name, **options)

    run.folder = tmp_path
    return run


@pytest.fixture(scope="module")
def trained():
    """The outcome of training with ``CONFIG``, made by the first test that asks for it."""
    return []


@pytest.fixture
def finished(train, trained, tmp_path_factory):
    """What ``train("run")`` leaves, copied; nothing changes the folder it is copied from."""
    if not trained:
        trained.append(train(tmp_path_factory.mktemp("trained")))
    folder = shutil.copytree(trained[0].folder, train.folder / "run" / "toy")
    return replace(trained[0], folder=folder)


def test_a_run_leaves_everything_behind_and_its_weights_load(train, made_corpus, tmp_path):
    outcome = train("run", CONFIG.updated({"tensorboard": True}))
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {
        "config.json", "metrics.csv", "weights.safetensors", "card.json", "tasks.json",
        "checkpoints", "tensorboard", "seen.safetensors",
    }  # fmt: skip
    assert {p.name for p in (outcome.folder / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }
    block = load_run(tmp_path / "run")["toy"]
    batch = made_corpus.batch(VAL, block)
    assert torch.equal(block.encode(batch).features, outcome.block.encode(batch).features)


def test_the_card_keeps_rank_and_dead_features_of_the_epoch_it_describes(finished):
    outcome = finished
    card = ModelCard.load(outcome.folder)
    monitors = json.loads((outcome.folder / "tasks.json").read_text())["monitors"]
    for name in ("effective_rank", "dead_features"):
        assert card.training[name] == monitors[name]
    row = read_history(outcome.folder / "metrics.csv")[outcome.best_epoch]
    assert card.training["effective_rank"] == pytest.approx(float(row["effective_rank"]), rel=1e-5)
    assert 1 <= card.training["effective_rank"] <= 16


def test_a_run_without_monitors_has_a_card_without_rank(train):
    outcome = train("blind", CONFIG.updated({"epochs": 1, "monitor_crystals": 0}))
    assert "effective_rank" not in ModelCard.load(outcome.folder).training


def test_what_trained_the_weights_or_chose_the_epoch_is_recorded_as_seen_and_nothing_else(
    made_corpus, many_crystals, registered_toy, tmp_path
):
    block = registered_toy(registered_toy.Config())
    config = CONFIG.updated({"epochs": 1})
    outcome = pretrain(made_corpus, block, np.arange(30), np.arange(50, 60), config, tmp_path)
    seen = load_seen(outcome.folder).structures(many_crystals)
    inside = np.isin(np.arange(len(many_crystals)), [*range(30), *range(50, 60)])
    same = Seen.from_crystals(many_crystals.take(inside)).structures(many_crystals)
    assert seen[inside].all() and not seen.all()
    np.testing.assert_array_equal(seen, same)


def test_the_loss_falls_and_the_best_epoch_is_kept(train):
    outcome = train("run", CONFIG.updated({"epochs": 6}))
    losses = [float(row["val_loss"]) for row in read_history(outcome.folder / "metrics.csv")]
    assert len(losses) == 6
    assert min(losses) < losses[0]
    assert outcome.best_epoch == int(np.argmin(losses))
    assert math.isclose(outcome.val_loss, min(losses), rel_tol=1e-5)


def test_figures_are_those_of_the_stored_weights_with_every_baseline(finished, made_corpus):
    outcome = finished
    module = PretextTraining(outcome.block, made_corpus.fit_targets(TRAIN), CONFIG, 1)
    tally = Tally()
    for number, rows in enumerate(np.split(VAL, [16])):
        batch = made_corpus.batch(rows, outcome.block)
        with torch.no_grad():
            module.score(batch, generator_for(CONFIG.seed, 1, number), tally)
    stored = json.loads((outcome.folder / "tasks.json").read_text())["tasks"]
    assert stored[0]["task"] == "toy_noise"
    assert math.isclose(
        stored[0]["model"], tally.figures("toy", outcome.block.tasks)[0].model, rel_tol=1e-5
    )
    assert set(stored[0]["baselines"]) == {"zero"}
    assert outcome.figures == ModelCard.load(outcome.folder).figures


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(train):
    config = CONFIG.updated({"epochs": 1})
    one, two = train("one", config), train("two", config)
    other = train("other", config.updated({"seed": 1}))
    first, second, third = (
        (outcome.folder / "weights.safetensors").read_bytes() for outcome in (one, two, other)
    )
    assert first == second != third


@pytest.mark.parametrize(
    ("schedule", "stop", "place"),
    [
        ("one-cycle", 1, "parts"),
        pytest.param("constant", 2, "parts", marks=pytest.mark.long),
        ("constant", 3, "moved"),
    ],
)
def test_a_resumed_run_ends_with_the_same_bytes_as_one_in_one_go(train, schedule, stop, place):
    config = CONFIG.updated({"schedule": schedule, "epochs": 4})
    whole = train("whole", config)
    with pytest.raises(KeyboardInterrupt):
        train("parts", config, callbacks=[StopAt(stop)])
    (train.folder / "parts").rename(train.folder / place)
    parts = train(place, config, resume=True)
    weights = [(o.folder / "weights.safetensors").read_bytes() for o in (whole, parts)]
    tasks = [json.loads((o.folder / "tasks.json").read_text())["tasks"] for o in (whole, parts)]
    assert weights[0] == weights[1] and tasks[0] == tasks[1]
    epochs = [row["epoch"] for row in read_history(parts.folder / "metrics.csv")]
    assert epochs == ["0", "1", "2", "3"]


def test_a_finished_run_returns_at_once_when_resumed(train, finished):
    first = finished
    stamp = (first.folder / "weights.safetensors").stat().st_mtime_ns
    again = train("run", resume=True, callbacks=[StopAt(0)])
    assert (first.folder / "weights.safetensors").stat().st_mtime_ns == stamp
    assert again.val_loss == first.val_loss and again.figures == first.figures


def test_resuming_with_other_crystals_is_refused_in_words(made_corpus, registered_toy, tmp_path):
    for stop, words in ((50, None), (49, "crystals, or their split, are not those")):
        block = registered_toy(registered_toy.Config())
        run = (made_corpus, block, TRAIN[:stop], VAL, CONFIG, tmp_path)
        if words is None:
            pretrain(*run)
            continue
        with pytest.raises(InputError, match=words) as caught:
            pretrain(*run, resume=True)
        assert "digest" not in str(caught.value)


def test_resuming_with_other_settings_is_refused(train, finished):
    with pytest.raises(InputError, match=r"batch_size was 16, now it is 8"):
        train("run", CONFIG.updated({"batch_size": 8}), resume=True)
    with pytest.raises(InputError, match=r"epochs was 3, now it is 2.*only more epochs"):
        train("run", CONFIG.updated({"epochs": 2}), resume=True)
    train("run", CONFIG.updated({"threads": torch.get_num_threads()}), resume=True)


def weights_of(outcome):
    return (outcome.folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_resuming_may_add_epochs(train, schedule):
    config = CONFIG.updated({"schedule": schedule})
    before = weights_of(train("run", config))
    longer = train("run", config.updated({"epochs": 5}), resume=True)
    rows = read_history(longer.folder / "metrics.csv")
    assert [row["epoch"] for row in rows] == list("01234")
    assert ModelCard.load(longer.folder).training["epochs"] == 5
    assert weights_of(longer) != before
    if schedule == "constant":
        assert weights_of(longer) == weights_of(train("whole", config.updated({"epochs": 5})))
    else:  # from where it stood it falls to the end of the longer course
        assert float(rows[2]["learning_rate"]) < float(rows[3]["learning_rate"])
        assert float(rows[4]["learning_rate"]) < float(rows[3]["learning_rate"])


def test_trained_weights_are_not_replaced_by_others_without_being_told_to(train, finished):
    before = weights_of(finished)
    other = CONFIG.updated({"epochs": 1})
    with pytest.raises(InputError, match=r"epochs was 3, now it is 1.*--force"):
        train("run", other)
    assert weights_of(train("run")) == before
    outcome = train("run", other, force=True)
    assert len(read_history(outcome.folder / "metrics.csv")) == 1
    assert weights_of(outcome) != before


def test_checkpoints_of_an_unfinished_run_are_not_replaced_without_being_told_to(train):
    with pytest.raises(KeyboardInterrupt):
        train("run", callbacks=[StopAt(2)])
    with pytest.raises(InputError, match="--force"):
        train("run", CONFIG.updated({"seed": 1}))
    train("run", CONFIG.updated({"seed": 1}), force=True)


def test_a_run_of_the_same_settings_goes_on_without_being_told_to(train, finished):
    with pytest.raises(KeyboardInterrupt):
        train("parts", callbacks=[StopAt(2)])
    last = read_checkpoint(train.folder / "parts" / "toy" / "checkpoints" / "last.ckpt")
    assert last["epoch"] == 1
    assert weights_of(train("parts", callbacks=[StopAt(0)])) == weights_of(finished)


def test_weights_without_the_settings_they_came_from_are_kept(train, finished):
    outcome = finished
    before = weights_of(outcome)
    (outcome.folder / "config.json").unlink()
    (outcome.folder / "checkpoints" / "last.ckpt").unlink()
    assert weights_of(train("run")) == before  # their card says that they are these
    with pytest.raises(InputError, match="--force"):
        train("run", CONFIG.updated({"epochs": 2}))
    assert weights_of(outcome) == before


def test_damaged_weights_are_made_again_from_the_checkpoint(train):
    outcome = train("run")
    before = weights_of(outcome)
    (outcome.folder / "weights.safetensors").write_bytes(before[:-1] + b"x")
    assert weights_of(train("run", callbacks=[StopAt(0)])) == before


def test_a_damaged_checkpoint_is_named_with_what_to_do(train):
    with pytest.raises(KeyboardInterrupt):
        train("run", callbacks=[StopAt(1)])
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read. Remove"):
        (train.folder / "run" / "toy" / "checkpoints" / "last.ckpt").write_bytes(b"nonsense")
        train("run")


def test_a_run_that_stopped_early_does_not_go_on_when_its_weights_are_made_again(train):
    config = CONFIG.updated({"epochs": 30, "patience": 2, "learning_rate": 1e-30})
    outcome = train("run", config)
    before, epochs = weights_of(outcome), len(read_history(outcome.folder / "metrics.csv"))
    (outcome.folder / "card.json").unlink()
    assert weights_of(train("run", config)) == before
    assert len(read_history(outcome.folder / "metrics.csv")) == epochs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_training_and_the_same_call_goes_on(train, finished, number):
    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 2:
                signal.raise_signal(number)

    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt) as caught, stop_on_sigterm():
        train("parts", callbacks=[Stop()])
    assert isinstance(caught.value, Terminated) == (number == signal.SIGTERM)
    assert handlers == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    last = train.folder / "parts" / "toy" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["epoch"] == 1
    assert weights_of(train("parts")) == weights_of(finished)


def test_two_processes_do_not_train_in_one_folder(train, finished):
    code = "import sys; from crystalssl.files import exclusive\n"
    code += "with exclusive(sys.argv[1]): print('in', flush=True); sys.stdin.read()"
    folder = finished.folder
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", code, str(folder)], **pipes)
    other.stdout.readline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "WAIT_SECONDS", 0.1)
        with pytest.raises(InputError, match="Another crystalssl command writes to"):
            train("run", CONFIG.updated({"epochs": 9}), force=True)
    other.communicate()


def test_patience_stops_a_run_that_does_not_improve(train):
    config = CONFIG.updated({"epochs": 30, "patience": 2, "learning_rate": 1e-30})
    outcome = train("run", config.updated({"schedule": "constant"}))
    assert 3 <= len(read_history(outcome.folder / "metrics.csv")) < 30


def test_checkpoints_hold_plain_tensors_only(finished):
    outcome = finished
    checkpoint = read_checkpoint(outcome.folder / "checkpoints" / "best.ckpt")
    assert checkpoint["epoch"] == outcome.best_epoch


def test_the_random_state_outside_is_left_alone(train):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train("run")
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_that_diverges_says_so(train):
    class Poison(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            with torch.no_grad():
                pl_module.block.head.bias.fill_(float("nan"))

    with pytest.raises(InputError, match="diverged in epoch 0"):
        train("run", callbacks=[Poison()])


def spoil(monkeypatch, toy, corpus, row):
    """Let the loss of one crystal be NaN, as a crystal of odd numbers would."""
    plain = toy.pretext
    lattice = corpus.batch([row], toy).rows[0, 100:103, 3:6]

    def pretext(self, batch, generator):
        results = plain(self, batch, generator)
        odd = (batch.rows[:, 100:103, 3:6] == lattice).all((1, 2)).any()
        factor = torch.where(odd, float("nan"), 1.0)
        return [replace(result, loss=result.loss * factor) for result in results]

    monkeypatch.setattr(toy, "pretext", pretext)


@pytest.mark.parametrize("row", [4, 55])
def test_a_crystal_whose_loss_is_not_finite_is_named_and_training_goes_on(
    train, made_corpus, registered_toy, monkeypatch, row
):
    spoil(monkeypatch, registered_toy, made_corpus, row)
    outcome = train("run")
    assert [skip.id for skip in outcome.left_out] == [made_corpus.ids[row]]
    with (outcome.folder / "left_out.csv").open() as handle:
        assert [line["id"] for line in csv.DictReader(handle)] == [made_corpus.ids[row]]
    losses = [float(r[k]) for r in read_history(outcome.folder / "metrics.csv") for k in LOSSES]
    assert np.isfinite(losses).all()
    assert [skip.id for skip in train("run").left_out] == [made_corpus.ids[row]]  # finished
    with pytest.raises(KeyboardInterrupt):
        train("parts", callbacks=[StopAt(1)])
    assert weights_of(train("parts")) == weights_of(outcome)


def test_crystals_without_finite_targets_are_left_out_of_everything_but_the_list(
    train, made_corpus
):
    before = made_corpus.values.clone()  # the corpus is that of all tests
    made_corpus.values[7, 0] = float("inf")
    made_corpus.values[52, 1] = float("nan")
    try:
        outcome = train("run")
    finally:
        made_corpus.values.copy_(before)
    assert [skip.id for skip in outcome.left_out] == made_corpus.ids[[7, 52]].tolist()
    assert np.isfinite(outcome.val_loss)


def test_gradients_that_are_not_finite_change_no_weight(train, registered_toy, monkeypatch):
    plain = registered_toy.pretext

    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("inf")

    def pretext(self, batch, generator):
        results = plain(self, batch, generator)
        return [replace(result, loss=Odd.apply(result.loss)) for result in results]

    fresh = registered_toy(registered_toy.Config())
    monkeypatch.setattr(registered_toy, "pretext", pretext)
    outcome = train("run", CONFIG.updated({"weight_decay": 0.0}))
    assert len(outcome.left_out) == len(TRAIN)
    for parameter, before in zip(outcome.block.parameters(), fresh.parameters(), strict=True):
        assert bool(parameter.isfinite().all()) and parameter.shape == before.shape


def test_crystals_without_symmetry_or_parts_without_crystals_are_refused(
    made_corpus, canonical, registered_toy, tmp_path
):
    block = registered_toy(registered_toy.Config())
    with pytest.raises(InputError, match="0 to validate"):
        pretrain(made_corpus, block, TRAIN, [], CONFIG, tmp_path)
    with pytest.raises(InputError, match="without symmetry"):
        pretrain(Corpus.from_crystals(canonical.crystals), block, TRAIN, VAL, CONFIG, tmp_path)
    with pytest.raises(InputError, match="built for features"):
        bare = Corpus.from_crystals(canonical, targets=False)
        pretrain(bare, block, TRAIN, VAL, CONFIG, tmp_path)


def test_the_statistics_of_targets_come_from_the_training_part(train, made_corpus, monkeypatch):
    seen = []
    fit = Corpus.fit_targets
    monkeypatch.setattr(
        Corpus, "fit_targets", lambda self, index: seen.append(np.array(index)) or fit(self, index)
    )
    train("run", CONFIG.updated({"epochs": 1}))
    assert len(seen) == 1 and np.array_equal(seen[0], TRAIN)


def test_weights_load_in_evaluation_mode(finished):
    assert not load_weights(finished.folder).training


def test_a_run_cut_off_after_its_last_epoch_is_completed_when_resumed(train):
    whole = train("run")
    weights = whole.folder / "weights.safetensors"
    before = weights.read_bytes()
    for name in ("card.json", "weights.safetensors", "tasks.json"):
        (whole.folder / name).unlink()
    again = train("run", resume=True)
    assert weights.read_bytes() == before and again.figures == whole.figures
    assert len(read_history(whole.folder / "metrics.csv")) == CONFIG.epochs


def test_what_was_best_is_not_forgotten_when_a_folder_is_moved(tmp_path):
    before = every_epoch(tmp_path / "old" / "best.ckpt", "val_loss")
    before.best_model_score = torch.tensor(0.5)
    before.best_model_path = before.kth_best_model_path = str(tmp_path / "old" / "best.ckpt")
    before.best_k_models = {before.best_model_path: before.best_model_score}
    after = every_epoch(tmp_path / "new" / "best.ckpt", "val_loss")
    after.load_state_dict(before.state_dict())
    moved = str(tmp_path / "new" / "best.ckpt")
    assert after.best_model_score == 0.5 and after.best_k_models == {moved: 0.5}
    assert after.best_model_path == after.kth_best_model_path == moved
    older = ModelCheckpoint(monitor="val_loss", save_on_train_epoch_end=True)
    assert after.state_key == older.state_key


def test_training_from_shards_on_disk_learns_and_is_repeatable(
    canonical, registered_toy, tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "SHARD", 16)
    table = write_table(canonical.crystals, tmp_path / "structures.parquet")
    shards.write_shards(table, tmp_path / "corpus")
    corpus = shards.ShardedCorpus(tmp_path / "corpus")
    weights = []
    for name in "ab":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = registered_toy(registered_toy.Config())
        run = pretrain(corpus, block, TRAIN, VAL, CONFIG, tmp_path / name)
        weights.append((run.folder / "weights.safetensors").read_bytes())
    losses = [float(row["train_loss"]) for row in read_history(run.folder / "metrics.csv")]
    assert len(losses) == CONFIG.epochs and losses[-1] < losses[0]
    assert weights[0] == weights[1]
