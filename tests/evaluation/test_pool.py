from threading import Event, current_thread, get_ident, main_thread
from time import sleep

import pytest
import torch
from threadpoolctl import threadpool_info

from crystalssl.evaluation.pool import MOST_WORKERS, Pool, Task


def test_there_is_a_worker_for_each_core_up_to_a_few():
    assert Pool.plan(1) == Pool(workers=1, threads=1)
    assert Pool.plan(2) == Pool(workers=2, threads=1)
    assert Pool.plan(2 * MOST_WORKERS) == Pool(workers=MOST_WORKERS, threads=2)


def test_tasks_run_side_by_side_and_come_back_in_order():
    meet, said, limits = (Event(), Event()), [], []

    def work(number):
        blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
        limits.extend([torch.get_num_threads(), *blas])
        if number < 2:  # the first two wait for each other
            meet[number].set()
            assert meet[1 - number].wait(10)
        return number, get_ident()

    tasks = [
        Task(text=f"{number}" if number else "", run=lambda n=number: work(n))
        for number in range(5)
    ]
    before = torch.get_num_threads()
    numbers, threads = zip(*Pool(workers=2, threads=1).run(tasks, said.append), strict=True)
    assert numbers == (0, 1, 2, 3, 4)
    assert sorted(said) == ["", "1", "2", "3", "4"]
    assert len(set(threads)) == 2
    assert set(limits) == {1}
    assert torch.get_num_threads() == before


def test_what_wants_to_be_alone_comes_last_in_the_main_thread():
    ran = []

    def work(number):
        ran.append((number, current_thread() is main_thread()))
        return number

    tasks = [Task(text="", run=lambda n=n: work(n), alone=n < 2) for n in range(4)]
    assert Pool(workers=2, threads=1).run(tasks, print) == [0, 1, 2, 3]
    assert {number for number, main in ran[:2] if not main} == {2, 3}
    assert ran[2:] == [(0, True), (1, True)]


@pytest.mark.parametrize("fails", [0, 1])
def test_an_error_in_one_worker_ends_the_others(fails):
    failed, done = Event(), []

    def work(number):
        if number == fails:
            failed.set()
            raise KeyboardInterrupt
        assert failed.wait(10)
        sleep(0.05)
        done.append(number)

    tasks = [Task(text="", run=lambda n=n: work(n)) for n in range(100)]
    with pytest.raises(KeyboardInterrupt):
        Pool(workers=2, threads=1).run(tasks, print)
    assert len(done) <= 2
