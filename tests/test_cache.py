"""Compiled code is kept in one place, is never stale, and a cache that cannot be used is a miss."""

import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import pytest

import fastbp
from fastbp.machine import cache, compiler

# A function that compiles in no time, called in a process of its own.
PROGRAM = """
import sys
from fastbp.machine import cache, jit
exec(sys.argv[1])

@jit.entry
def double(x):
    return 2 * x

print(double(21), sum(double.stats.cache_hits.values()), sum(double.stats.cache_misses.values()), jit.cache_directory())
"""
POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def start(place, prelude="", program=PROGRAM, **environment):
    """Start a process that calls `double`."""
    settings = {**os.environ, "FASTBP_CACHE_DIR": str(place), "PYTHONWARNINGS": "default", **environment}
    package = str(pathlib.Path(fastbp.__file__).parents[1])
    settings["PYTHONPATH"] = os.pathsep.join([settings.pop("FIRST", package), package])
    return subprocess.Popen(
        [sys.executable, "-c", program, prelude],
        env={name: value for name, value in settings.items() if value is not None},
        cwd=tempfile.gettempdir(),  # where no other fastbp lies in the way
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return what it printed: the result, cache hits and misses, the cache's directory, and what it warned."""
    printed, warned = process.communicate(timeout=200)
    assert process.returncode == 0, warned
    result, hits, misses, place = printed.split()
    return result, int(hits), int(misses), place, warned


def run(place, prelude="", **options):
    return finish(start(place, prelude, **options))


HIT, MISS = ("42", 1, 0), ("42", 0, 1)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    place = tmp_path_factory.mktemp("cache") / "kept"
    assert run(place)[:3] == MISS
    return place


@pytest.fixture
def kept(warm, tmp_path):
    """Return a copy of a warm cache, to be spoilt."""
    return pathlib.Path(shutil.copytree(warm, tmp_path / "kept"))


def code_file(place):
    (path,) = place.rglob("*.code")
    return path


def test_this_numba_has_the_inner_parts_that_fastbp_builds_on():
    assert cache.IS_SUPPORTED
    assert compiler.ENTRY
    assert compiler.KERNEL


def test_a_second_process_compiles_nothing(kept):
    *got, _, warned = run(kept)
    assert (tuple(got), warned) == (HIT, "")


@POSIX
def test_only_the_owner_can_read_and_write_the_cache(tmp_path):
    run(tmp_path / "new" / "cache", prelude="import os; os.umask(0)")
    for path in [tmp_path / "new" / "cache", *(tmp_path / "new" / "cache").rglob("*")]:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


# --- damage -------------------------------------------------------------------------------------------------


DAMAGES = {
    "empty": lambda code: code[:0],
    "cut": lambda code: code[:2],
    "foreign": lambda code: code[1:20] + b"\n" + code[:20],
    "halved": lambda code: code[: len(code) // 2],
    "one bit changed": lambda code: code[:-100] + bytes([code[-100] ^ 1]) + code[-99:],
    "another's head": lambda code: b'{"function": "f"}\n' + code.partition(b"\n")[2],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_a_miss_with_a_warning(kept, damage):
    path = code_file(kept)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    *got, _, warned = run(kept)
    assert tuple(got) == MISS
    assert warned.count("Warning: fastbp recompiles") == 1
    assert run(kept)[:3] == HIT


def test_code_that_numba_cannot_rebuild_is_a_miss_with_a_warning(kept):
    path = code_file(kept)
    head, _, code = path.read_bytes().partition(b"\n")
    code = b"\x80\x04)."  # an empty tuple, duly sealed
    head = json.dumps({**json.loads(head), "digest": cache._digest(code)}).encode()
    path.write_bytes(head + b"\n" + code)
    *got, _, warned = run(kept)
    assert tuple(got) == MISS
    assert warned.count("Warning: fastbp recompiles") == 1


def test_a_file_that_cannot_be_read_nor_replaced_is_a_miss_with_warnings(kept):
    path = code_file(kept)
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    *got, _, warned = run(kept)
    assert tuple(got) == MISS
    assert warned.count("Warning: fastbp recompiles") == 1
    assert warned.count("Warning: fastbp could not keep") == 1


READ_ONLY = """
import os
open_file = os.open
def refuse_to_create(path, flags, *rest, **options):
    if flags & os.O_CREAT:
        raise OSError(30, "Read-only file system", path)
    return open_file(path, flags, *rest, **options)
os.open = refuse_to_create
"""


def test_a_read_only_cache_serves_what_it_has(kept):
    *got, _, warned = run(kept, READ_ONLY)
    assert (tuple(got), warned) == (HIT, "")


def test_a_read_only_cache_without_the_code_is_a_miss_with_one_warning(kept):
    code_file(kept).unlink()
    twice = READ_ONLY + "jit.entry(lambda x: 3 * x)(1)"
    *got, _, warned = run(kept, twice)
    assert tuple(got) == MISS
    assert warned.count("Warning: fastbp could not keep") == 1


# --- places -------------------------------------------------------------------------------------------------


@POSIX
def test_where_the_chosen_place_cannot_be_the_users_cache_is_taken_with_a_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    *got, place, warned = run(blocked / "cache", XDG_CACHE_HOME=str(tmp_path / "user"))
    assert tuple(got) == MISS
    assert place.startswith(str(tmp_path / "user" / "fastbp"))
    assert warned.count("Warning: fastbp keeps compiled code in") == 1


@POSIX
def test_without_a_home_a_temporary_directory_is_taken(tmp_path):
    gone = "import pathlib\ndef nowhere(): raise RuntimeError\npathlib.Path.home = nowhere"
    settings = {"FASTBP_CACHE_DIR": "", "XDG_CACHE_HOME": None, "HOME": None, "TMPDIR": str(tmp_path)}
    *got, place, warned = run("", gone, **settings)
    assert (tuple(got), warned) == (MISS, "")
    assert pathlib.Path(place).parent == tmp_path / f"fastbp-{os.getuid()}"


@POSIX
def test_without_any_place_everything_works_and_says_so_once(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    nowhere = f"import tempfile; tempfile.gettempdir = lambda: {str(blocked)!r}"
    *got, place, warned = run(blocked / "cache", nowhere, XDG_CACHE_HOME=str(blocked))
    assert (tuple(got), place) == (MISS, "None")
    assert warned.count("Warning: fastbp compiles afresh in each process") == 1


@POSIX
def test_a_directory_that_others_can_write_to_is_not_trusted(kept, tmp_path):
    code_file(kept).parent.chmod(0o777)
    *_, place, warned = run(kept, XDG_CACHE_HOME=str(tmp_path / "user"))
    assert place.startswith(str(tmp_path / "user"))
    assert "others can write to" in warned


# --- staleness ----------------------------------------------------------------------------------------------


PACKAGE = pathlib.Path(fastbp.__file__).parent
# What makes a function compiled, or decides how.
COMPILED = re.compile(
    r"^@(njit|inlined|jitable|entry|intrinsic|lower_builtin)|^(class|def) .*(Dispatcher|Compiler)", re.M
)


def copy_of_the_package(place):
    shutil.copytree(PACKAGE, place / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
    return place / "fastbp"


def test_an_edit_of_a_file_is_a_miss_if_it_has_compiled_code_and_only_then(tmp_path):
    package = copy_of_the_package(tmp_path)
    program = """
import pathlib
from fastbp.machine import cache
package = pathlib.Path(cache.__file__).parents[1]
before = cache._stamp("")
for path in sorted(package.rglob("*.py")):
    source = path.read_bytes()
    path.write_bytes(source + b"# edited")
    if cache._stamp("") != before:
        print(path.relative_to(package).as_posix())
    path.write_bytes(source)
assert cache._stamp("") == before
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    folders = {name for name in files if name.startswith(("kernels/", "machine/"))}
    compiled = {name for name, path in files.items() if COMPILED.search(path.read_text(encoding="utf-8"))}
    assert len(folders) > 16
    assert compiled <= set(found)
    assert set(found) == folders | {"activations.py", "losses.py", "optimizers.py"}


def test_what_kernels_take_from_other_files_decides_machine_code_too():
    for path in [*(PACKAGE / "kernels").glob("*.py"), *(PACKAGE / "machine").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        needed = set(re.findall(r"^from fastbp\.(\w+)[. ]", text, re.M))
        for names in re.findall(r"^from fastbp import (.*)", text, re.M):
            needed |= {name.strip() for name in names.split(",")}
        # Annotations make no code, nor does writing a file.
        assert needed <= {*cache._SOURCES, "_typing", *(["files"] if path.name == "cache.py" else [])}, path


def test_an_edit_in_a_kernel_leaves_the_old_code_behind(tmp_path):
    package = tmp_path / "site"
    copy_of_the_package(package)
    program = "import fastbp; print(float(fastbp.Network([2, 3, 1], seed=0).predict([[1.0, 2.0]])[0, 0]), 0, 0, None)"
    before = run(tmp_path / "cache", program=program, FIRST=str(package))
    kernels = package / "fastbp" / "kernels" / "narrow.py"
    source = kernels.read_text(encoding="utf-8")
    edited = source.replace("β = biases.data[biases.at + o]", "β = biases.data[biases.at + o] + 1")
    assert edited != source
    kernels.write_text(edited, encoding="utf-8")
    after = run(tmp_path / "cache", program=program, FIRST=str(package))
    assert float(after[0]) == pytest.approx(float(before[0]) + 1)


@pytest.mark.parametrize(
    "setting",
    [{"NUMBA_OPT": "1"}, {"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_LOOP_VECTORIZE": "0"}, {"NUMBA_CPU_NAME": "generic"}],
    ids=str,
)
def test_other_settings_find_other_code(kept, setting):
    assert run(kept, **setting)[:3] == MISS
    assert run(kept)[:3] == HIT


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_after_an_upgrade_nothing_old_is_found(kept, package):
    assert run(kept, f"import {package}; {package}.__version__ += '.1'")[:3] == MISS


# --- many at once -------------------------------------------------------------------------------------------


SAVES_LATE = """
save = cache.Cache.save_overload
def save_late(*arguments):
    import time
    time.sleep(3)
    save(*arguments)
cache.Cache.save_overload = save_late
"""


def test_of_ten_processes_that_start_cold_one_compiles_and_all_are_right(tmp_path):
    done = [finish(process) for process in [start(tmp_path, SAVES_LATE) for _ in range(10)]]
    assert [result for result, *_ in done] == ["42"] * 10
    assert sum(misses for _, _, misses, *_ in done) == 1
    assert [warned for *_, warned in done] == [""] * 10


HOLDS_THE_LOCK = """
def hold(*_):
    import time
    print("held", flush=True)
    time.sleep(100)
cache.Cache.save_overload = hold
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock to compile and does not release it."""
    process = start(tmp_path, HOLDS_THE_LOCK)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@POSIX
def test_a_process_waits_for_another_but_not_for_ever(tmp_path, holder):
    assert run(tmp_path, "cache.WAIT_SECONDS = 0.5")[:3] == MISS
    assert holder.poll() is None


@POSIX
def test_a_process_that_is_killed_holds_no_lock_any_more(tmp_path, holder):
    waiting = start(tmp_path)
    time.sleep(2)
    assert waiting.poll() is None
    holder.send_signal(signal.SIGKILL)
    assert finish(waiting)[:3] == MISS


# --- without Numba's inner parts ----------------------------------------------------------------------------


def test_where_numba_has_changed_its_own_cache_and_compiler_serve(tmp_path):
    program = """
from fastbp.machine import cache, compiler
cache.IS_SUPPORTED, compiler.ENTRY, compiler.KERNEL = False, {}, {}
from fastbp.kernels import entries as training
net = __import__("fastbp").Network([2, 3, 1], seed=0)
print(float(net.predict([[1.0, 2.0]])[0, 0]), *(sum(c.values()) for c in training.predict.stats[1:]), 0)
"""
    numbas = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    first, second = (run(tmp_path, program=program, **numbas) for _ in range(2))
    assert (first[1:3], second[1:3]) == ((0, 1), (1, 0))
    assert first[0] == second[0]
    assert float(first[0]) == fastbp.Network([2, 3, 1], seed=0).predict([[1.0, 2.0]])[0, 0]


# --- what is said -------------------------------------------------------------------------------------------


@POSIX
def test_who_sits_at_a_terminal_is_told_once_why_it_takes_seconds(tmp_path):
    import pty

    for expected in (1, 0):
        ours, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "jit.entry(lambda x: 3 * x)(1)"],
            env={**os.environ, "FASTBP_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
        os.close(terminal)
        process.communicate(timeout=100)
        try:
            said = os.read(ours, 10_000).decode()
        except OSError:  # nothing was
            said = ""
        os.close(ours)
        assert said.count("fastbp: compiling kernels for this CPU, once") == expected, said
