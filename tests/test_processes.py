import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from crystalssl.processes import (
    EXIT_TERMINATED,
    Terminated,
    obey_parent,
    stop_on_sigterm,
    worker_pool,
)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_sigterm_lets_the_command_clean_up_and_choose_its_exit_code():
    code = """
        import sys, time
        from crystalssl.processes import EXIT_TERMINATED, Terminated, stop_on_sigterm
        try:
            with stop_on_sigterm():
                print("ready", flush=True)
                time.sleep(60)
        except Terminated:
            print("saved", flush=True)
            sys.exit(EXIT_TERMINATED)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[0] == "saved\n"
    assert process.returncode == EXIT_TERMINATED == 143


def test_what_was_done_on_sigterm_before_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), stop_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_workers_are_gone_when_the_block_ends_also_in_the_midst_of_their_work():
    with worker_pool(1, obey_parent) as pool:
        number = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 600)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
