"""A file is replaced whole or not at all, whatever happens in the middle."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from fastbp.files import model_file
from fastbp.files.atomic import replace_file

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and signals as POSIX has them")
OLD, NEW = b"the old content", [b"the new ", memoryview(b"content")]


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def ordinary_directory():
    """A directory of an ordinary user, with that user's rights: to root nothing is read-only."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, 65534, -1)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_new_content_takes_the_place_of_the_old_and_nothing_else_is_left(target):
    replace_file(target, NEW)
    assert target.read_bytes() == b"the new content"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", ["größe 重さ 🐧.fastbp", "a b'c\".fastbp", "n" * 255])
def test_any_name_that_the_file_system_takes_is_taken(tmp_path, name):
    replace_file(tmp_path / name, NEW)
    assert (tmp_path / name).read_bytes() == b"the new content"


def test_a_relative_path_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace_file("file", NEW)
    assert (tmp_path / "file").read_bytes() == b"the new content"


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_temporary(target, monkeypatch, function, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(failure)):
        replace_file(target, NEW)
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_an_error_in_the_content_leaves_the_old_file_and_no_temporary(target):
    def chunks():
        yield b"one"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        replace_file(target, chunks())
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_the_bytes_are_on_the_disk_before_the_name_is(target, monkeypatch):
    calls = []
    for function in ("fsync", "replace"):
        real = getattr(os, function)
        monkeypatch.setattr(os, function, lambda *a, f=function, real=real: (calls.append(f), real(*a)))
    replace_file(target, NEW)
    assert calls[:2] == ["fsync", "replace"]
    if os.name == "posix":
        assert calls[2:] == ["fsync"]


CHILD = """
import os, signal, sys
import numpy as np
from fastbp.files import model_file
path, function = sys.argv[1:]
if function:
    setattr(os, function, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
print("ready", flush=True)
number = 0
while True:
    number += 1
    model_file.write(path, {"a": np.full(300_000, number, dtype=np.int64)}, {"number": number})
"""


@posix
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_process_killed_in_the_middle_leaves_the_old_model_whole(tmp_path, function):
    path = tmp_path / "model.fastbp"
    model_file.write(path, {"a": np.arange(5)}, {"number": 0})
    before = path.read_bytes()
    child = subprocess.run([sys.executable, "-c", CHILD, path, function], stdout=subprocess.DEVNULL, timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == before


@posix
def test_a_process_killed_at_any_moment_leaves_one_model_whole(tmp_path):
    path = tmp_path / "model.fastbp"
    model_file.write(path, {"a": np.zeros(1, dtype=np.int64)}, {"number": 0})
    moments = random.Random(0)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", CHILD, path, ""], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(moments.uniform(0.01, 0.08))
            child.kill()
        tensors, metadata = model_file.read(path)
        assert np.all(tensors["a"] == metadata["number"])
    assert metadata["number"] > 0


@posix
def test_a_new_file_has_the_permissions_that_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@posix
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_replaced_file_keeps_its_permissions(target, mode):
    target.chmod(mode)
    replace_file(target, NEW)
    assert stat.S_IMODE(target.stat().st_mode) == mode


@posix
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("name", ["file", "new"])
def test_given_permissions_hold_whatever_the_umask_and_from_the_first_byte_on(target, name, umask):
    def chunks():
        (temporary,) = target.parent.glob(".fastbp-*.tmp")
        modes.append(stat.S_IMODE(temporary.stat().st_mode))
        yield b"secret"

    modes = []
    before = os.umask(umask)
    try:
        replace_file(target.parent / name, chunks(), permissions=0o600)
    finally:
        os.umask(before)
    modes.append(stat.S_IMODE((target.parent / name).stat().st_mode))
    assert modes == [0o600, 0o600]


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_a_link_to_the_new_content(tmp_path, there):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    if there:
        real.write_bytes(OLD)
    link.symlink_to(real)
    replace_file(link, NEW)
    assert link.is_symlink()
    assert real.read_bytes() == b"the new content"


@posix
def test_a_read_only_directory_gives_an_error_that_names_the_file(ordinary_directory):
    path = ordinary_directory / "model.fastbp"
    ordinary_directory.chmod(0o555)
    with pytest.raises(PermissionError, match=r"model\.fastbp"):
        replace_file(path, NEW)
    ordinary_directory.chmod(0o755)
    assert list(ordinary_directory.iterdir()) == []


@posix
def test_a_read_only_file_is_not_replaced(ordinary_directory):
    path = ordinary_directory / "model.fastbp"
    path.write_bytes(OLD)
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"read-only.*model\.fastbp"):
        replace_file(path, NEW)
    assert path.read_bytes() == OLD


def test_a_missing_directory_gives_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.*model\.fastbp"):
        replace_file(tmp_path / "none" / "model.fastbp", NEW)


def test_a_directory_is_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path, NEW)
    assert tmp_path.is_dir()


@posix
def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="not a regular file"):
        replace_file(pipe, NEW)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# --- what killed processes left ---------------------------------------------------------------------------------


HOUR = 3600
REMAINS = f".fastbp-{'0123456789abcdef'}.tmp"


def leave(folder, name=REMAINS, age=2 * HOUR):
    path = folder / name
    path.write_bytes(b"half of a model")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


@posix
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_what_a_killed_process_left_is_removed_by_a_later_save(tmp_path, function):
    path = tmp_path / "model.fastbp"
    subprocess.run([sys.executable, "-c", CHILD, path, function], stdout=subprocess.DEVNULL, timeout=60, check=False)
    (left,) = tmp_path.glob(".fastbp-*.tmp")
    replace_file(path, NEW)
    assert left.exists()  # it is young: another process may be about to replace its target
    os.utime(left, (time.time() - 2 * HOUR,) * 2)
    replace_file(path, NEW)
    assert list(tmp_path.iterdir()) == [path]


def test_young_files_and_files_of_other_names_stay(tmp_path):
    kept = [
        leave(tmp_path, age=HOUR / 2),
        leave(tmp_path, ".fastbp-notes.tmp"),
        leave(tmp_path, "model.fastbp.tmp"),
        leave(tmp_path, ".fastbp-0123456789abcdef.tmp.bak"),
        leave(tmp_path, ".fastbp-0123456789ABCDEF.tmp"),
    ]
    replace_file(tmp_path / "model.fastbp", NEW)
    assert all(path.exists() for path in kept)


@posix
def test_a_link_a_folder_and_a_pipe_of_such_a_name_stay(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = leave(tmp_path / "elsewhere", "precious")
    (tmp_path / ".fastbp-0000000000000000.tmp").symlink_to(target)
    (tmp_path / ".fastbp-1111111111111111.tmp").mkdir()
    os.mkfifo(tmp_path / ".fastbp-2222222222222222.tmp")
    for name in tmp_path.glob(".fastbp-*.tmp"):
        os.utime(name, (1, 1), follow_symlinks=False)
    replace_file(tmp_path / "model.fastbp", NEW)
    assert len(list(tmp_path.glob(".fastbp-*.tmp"))) == 3
    assert target.exists()


WRITER = """
import os, sys, time
from fastbp.files.atomic import replace_file
def chunks():
    yield b"one"
    print("writing", flush=True)
    sys.stdin.readline()
    yield b"two"
replace_file(sys.argv[1], chunks())
"""


@posix
def test_the_file_of_a_process_that_still_writes_stays(tmp_path):
    path = tmp_path / "slow.fastbp"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as slow:
        slow.stdout.readline()
        (temporary,) = tmp_path.glob(".fastbp-*.tmp")
        os.utime(temporary, (time.time() - 2 * HOUR,) * 2)
        replace_file(tmp_path / "model.fastbp", NEW)
        assert temporary.exists()
        slow.communicate(b"\n", timeout=60)
    assert path.read_bytes() == b"onetwo"


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_stay(tmp_path):
    left = leave(tmp_path)
    os.chown(left, 12345, -1)
    replace_file(tmp_path / "model.fastbp", NEW)
    assert left.exists()


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    left = leave(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    replace_file(tmp_path / "model.fastbp", NEW)
    assert left.exists()
