from threading import Event, get_ident
from time import sleep

import pytest

from crystalssl.evaluation.lanes import Lanes, Task


def test_lanes_need_heads_and_cores_for_both():
    assert Lanes.plan(["ridge", "lightgbm", "mlp"], 2) == Lanes(trees=1, others=1)
    assert Lanes.plan(["ridge", "lightgbm", "mlp"], 5) == Lanes(trees=3, others=2)
    assert Lanes.plan(["ridge", "lightgbm"], 1) == Lanes(trees=1)
    assert Lanes.plan(["ridge", "mlp"], 4) == Lanes(trees=4)
    assert Lanes.plan(["lightgbm", "random_forest"], 4) == Lanes(trees=4)


def test_trees_and_others_run_side_by_side_and_come_back_in_order():
    meet, ran, said = (Event(), Event()), [], []

    def work(head, number):
        ran.append((head, number, get_ident()))
        if number < 2:  # the first of each lane waits for that of the other
            meet[number].set()
            assert meet[1 - number].wait(10)
        return number

    heads = ["mlp", "lightgbm", "ridge", "random_forest", "mlp"]
    tasks = [
        Task(head=head, text=f"{number}" if number else "", run=lambda h=head, n=number: work(h, n))
        for number, head in enumerate(heads)
    ]
    assert Lanes(trees=1, others=1).run(tasks, said.append) == [0, 1, 2, 3, 4]
    assert sorted(said) == ["1", "2", "3", "4"]
    threads = {head in ("lightgbm", "random_forest"): thread for head, _, thread in ran}
    assert len(set(threads.values())) == 2
    assert [number for head, number, _ in ran if head in ("mlp", "ridge")] == [0, 2, 4]


@pytest.mark.parametrize("fails", ["mlp", "lightgbm"])
def test_an_error_in_one_lane_ends_the_other(fails):
    failed, done = Event(), []

    def work(head):
        if head == fails:
            failed.set()
            raise KeyboardInterrupt
        assert failed.wait(10)
        sleep(0.05)
        done.append(head)

    heads = ["mlp", "lightgbm", *["mlp", "lightgbm"] * 50]
    tasks = [Task(head=head, text="", run=lambda h=head: work(h)) for head in heads]
    with pytest.raises(KeyboardInterrupt):
        Lanes(trees=1, others=1).run(tasks, print)
    assert len(done) <= 2
