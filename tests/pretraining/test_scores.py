import torch

from crystalssl.blocks.contract import PretextResult, TaskInfo
from crystalssl.pretraining.scores import Tally

INFO = TaskInfo(
    name="t", number=1, figure="error", higher_is_better=False, trivial="mean", teaches="."
)


def result(model, mean, count, loss=1.0):
    return PretextResult(
        task="t", loss=torch.tensor(loss), weight=1.0,
        sums={"model": torch.tensor(model), "mean": torch.tensor(mean)}, count=torch.tensor(count),
    )  # fmt: skip


def test_figures_are_ratios_of_sums_not_means_of_ratios():
    tally = Tally()
    tally.add([result([2.0], [4.0], [2.0])], torch.tensor(1.0), 2)
    tally.add([result([0.0], [8.0], [6.0])], torch.tensor(3.0), 6)
    figure = tally.figures("b", [INFO])[0]
    assert figure.model == 2 / 8 and figure.baselines == {"mean": 12 / 8}
    assert figure.beats_trivial
    assert tally.loss == (1 * 2 + 3 * 6) / 8 and tally.crystals == 8


def test_one_entry_for_each_class_gives_a_balanced_figure_over_the_classes_seen():
    tally = Tally()
    tally.add([result([9.0, 0.0, 0.0], [9.0, 1.0, 0.0], [9.0, 1.0, 0.0])], torch.tensor(1.0), 1)
    figure = tally.figures("b", [INFO])[0]
    assert figure.model == 0.5 and figure.baselines["mean"] == 1.0


def test_a_task_without_scored_entries_has_no_figure():
    tally = Tally()
    tally.add([result([0.0], [0.0], [0.0])], torch.tensor(1.0), 1)
    figure = tally.figures("b", [INFO])[0]
    assert figure.model is None and not figure.beats_trivial
