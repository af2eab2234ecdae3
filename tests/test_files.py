import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from crystalssl import files, locks
from crystalssl.errors import InputError


def names(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def exit_code(code: str, *arguments: object, **environment: str) -> int:
    process = run(code, *arguments, **environment)
    process.communicate()
    return process.returncode


def run(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = files.write_text("old", tmp_path / "deep" / "a.txt")
    with pytest.raises(RuntimeError), files.atomic(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_is_said_with_a_remedy_and_leaves_nothing(tmp_path, number):
    path = files.write_text("old", tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"a\.txt .*(Free|Choose)"), files.atomic(path) as aside:
        aside.write_text("half")
        raise OSError(number, os.strerror(number))
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_an_error_of_a_file_that_is_read_is_not_blamed_on_the_one_that_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "out" / "a.txt"):
        (tmp_path / "in" / "none").read_text()


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    for write in (lambda p: files.write_text("", p), files.check_target):
        with pytest.raises(InputError, match="is a folder"):
            write(tmp_path)


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        files.check_target(tmp_path / "a" / "b.txt")


def test_long_names_are_written(tmp_path):
    for name in ("x" * 250, "ü" * 120):
        assert files.write_text("a", tmp_path / name).read_text() == "a"


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_the_umask_decides_who_may_read_also_where_a_library_makes_the_file(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic(tmp_path / "a") as aside:
            private = tmp_path / "private"
            private.write_text("")
            private.chmod(0o600)
            private.replace(aside)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_what_a_killed_process_left_is_swept_up_and_what_a_living_one_writes_is_not(tmp_path):
    code = """
        import os, signal, sys
        from crystalssl import files, locks
        with files.atomic(sys.argv[1]) as aside:
            print(aside, flush=True)
            sys.stdin.read()
    """
    dead, alive = run(code, tmp_path / "dead"), run(code, tmp_path / "alive")
    left, kept = dead.stdout.readline().strip(), alive.stdout.readline().strip()
    dead.kill()
    dead.communicate()
    files._swept.discard(tmp_path.resolve())
    files.write_text("", tmp_path / "a")
    assert not Path(left).exists() and Path(kept).exists()
    alive.communicate()
    assert names(tmp_path) == ["a", "alive"]


def test_a_second_process_is_refused_while_the_first_holds_the_lock_and_let_in_after_its_death(
    tmp_path,
):
    code = """
        import sys
        from crystalssl import files, locks
        with files.exclusive(sys.argv[1]):
            print("in", flush=True)
            sys.stdin.read()
    """
    first = run(code, tmp_path)
    assert first.stdout.readline() == "in\n"
    with pytest.raises(InputError, match=f"process {first.pid}"), files.exclusive(tmp_path, 0.1):
        pass
    first.kill()
    first.communicate()
    with files.exclusive(tmp_path, 0.1), files.exclusive(tmp_path, 0.1):
        assert names(tmp_path) == [".lock"]
    assert not names(tmp_path)


def test_many_processes_take_turns(tmp_path):
    code = """
        import sys, pathlib
        from crystalssl import files, locks
        log = pathlib.Path(sys.argv[1])
        for _ in range(20):
            with files.exclusive(log, 30):
                number = int(log.read_text() or 0)
                log.write_text(str(number + 1))
    """
    log = tmp_path / "count"
    log.write_text("0")
    for process in [run(code, log) for _ in range(4)]:
        process.communicate()
    assert log.read_text() == "80" and names(tmp_path) == ["count"]


def test_files_of_a_set_are_checked_against_the_one_that_describes_them(tmp_path):
    data, record = tmp_path / "data", tmp_path / "record.json"
    with files.atomic_set(data, record) as (one, two):
        one.write_text("abc")
        two.write_text(files.json_text({"files": files.describe({"data": one})}))
    described = files.read_json(record)["files"]
    files.check(described, tmp_path, "Write again.")
    data.write_text("abd")
    files.check(described, tmp_path, "Write again.", content=False)
    with pytest.raises(InputError, match="Write again"):
        files.check(described, tmp_path, "Write again.")
    for broken in ({"data": {}}, {"data": 3}, {"none": described["data"]}):
        with pytest.raises(InputError, match="Write again"):
            files.check(broken, tmp_path, "Write again.")


def test_none_of_a_set_is_replaced_when_one_cannot_be_written(tmp_path):
    for name in "ab":
        files.write_text("old", tmp_path / name)
    with pytest.raises(ValueError, match="no"), files.atomic_set(tmp_path / "a", tmp_path / "b"):
        raise ValueError("no")
    assert {name: (tmp_path / name).read_text() for name in "ab"} == {"a": "old", "b": "old"}


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, '{"a": "\ud800"}'])
def test_json_that_is_no_object_is_refused_in_words(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"a\.json"):
        files.read_json(tmp_path / "a.json")


def test_a_newer_format_is_refused_and_an_older_one_read():
    assert files.check_version(None, 2, "f") == 0 and files.check_version(2, 2, "f") == 2
    with pytest.raises(InputError, match=r"newer crystalssl.*Update"):
        files.check_version(3, 2, "f")
    for wrong in ("1", True, -1, 1.5):
        with pytest.raises(InputError, match="expected a number"):
            files.check_version(wrong, 2, "f")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_the_process_dies_at_the_point_it_is_told_to(tmp_path):
    code = "import sys; from crystalssl import files; files.write_text('new', sys.argv[1])"
    path, log = tmp_path / "a", tmp_path / "log" / "points"
    log.parent.mkdir()
    assert exit_code(code, path, CRYSTALSSL_FAULT=f"0:{log}") == 0
    points = [line.split()[0] for line in log.read_text().splitlines()]
    assert points == ["open", "rename", "renamed"]
    for number, content in ((1, "old"), (2, "old"), (3, "new")):
        path.write_text("old")
        log.unlink()
        assert exit_code(code, path, CRYSTALSSL_FAULT=f"{number}:{log}") == -9
        assert path.read_text() == content


class Msvcrt:
    """What Windows does where a byte of a file is locked: refused while its holder has it open."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.holders: dict[int, int] = {}

    def locking(self, number: int, mode: int, count: int) -> None:
        assert mode == self.LK_NBLCK and count == 1
        assert os.lseek(number, 0, os.SEEK_CUR) == 2**30, "a byte that nobody reads"
        inode = os.fstat(number).st_ino
        holder = self.holders.get(inode)
        if holder != number and is_open(holder, inode):  # numbers are used again
            raise OSError(errno.EACCES, "Permission denied")
        self.holders[inode] = number


def is_open(number: int | None, inode: int) -> bool:
    try:
        return number is not None and os.fstat(number).st_ino == inode
    except OSError:
        return False


@pytest.fixture
def windows(monkeypatch):
    """Files and locks as on Windows, where what is open is neither moved nor removed."""
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", Msvcrt(), raising=False)
    for module in (files, locks):
        monkeypatch.setattr(module, "FOR_OPEN_FILES", False)
    whole = {"replace": Path.replace, "unlink": Path.unlink}

    def refuse(name):
        def act(path, *words, **options):
            inode = path.stat().st_ino if path.exists() else None
            if inode is not None and any(is_open(number, inode) for number in range(3, 256)):
                raise PermissionError(errno.EACCES, "open in this process", str(path))
            return whole[name](path, *words, **options)

        return act

    for name in whole:
        monkeypatch.setattr(Path, name, refuse(name))


def test_on_windows_one_holder_has_a_lock_until_its_file_is_closed(windows, tmp_path):
    with (tmp_path / "a").open("ab+") as one, (tmp_path / "a").open("ab+") as other:
        assert locks.lock(one) is True and locks.lock(other) is False
        one.close()
        assert locks.lock(other) is True


def test_on_windows_a_second_writer_is_refused_and_let_in_afterwards(windows, tmp_path):
    with files.exclusive(tmp_path), (tmp_path / ".lock").open("ab+") as other:
        assert locks.lock(other) is False
        assert f"process {os.getpid()}" in (tmp_path / ".lock").read_text()
    with files.exclusive(tmp_path, 0.1):
        pass


def test_on_windows_files_are_closed_before_they_take_their_places(windows, tmp_path):
    with files.atomic_set(tmp_path / "a", tmp_path / "b") as asides:
        for aside in asides:
            aside.write_text("new")
    with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "a") as aside:
        aside.write_text(str(1 / 0))
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_text() == "new"


def test_on_windows_only_what_is_old_is_swept_up(windows, tmp_path):
    old, new = tmp_path / ".a.01.partial", tmp_path / ".b.02.partial"
    for path in (old, new):
        path.write_text("")
    os.utime(old, (0, 0))
    files.write_text("", tmp_path / "c")
    assert names(tmp_path) == [new.name, "c"]
