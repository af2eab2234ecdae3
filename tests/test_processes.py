import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numba
import pytest

from crystalssl.processes import (
    EXIT_TERMINATED,
    Terminated,
    obey_parent,
    stop_on_sigterm,
    with_compile_cache,
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


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_read_only_package_without_a_home_compiles_into_a_folder_of_this_user_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked = []

    def decorator(function):
        asked.append(numba.config.CACHE_DIR)
        if not numba.config.CACHE_DIR:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    assert with_compile_cache(decorator, len) is len
    folder = Path(asked[1])
    assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)  # as another user could have made it
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    with_compile_cache(decorator, len)
    assert asked[3] not in ("", asked[1]) and stat.S_IMODE(Path(asked[3]).stat().st_mode) == 0o700
