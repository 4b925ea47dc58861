"""Compiled code is kept in one place, never stale, and a cache that cannot be used is a miss."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

import fastbp
from fastbp import training
from fastbp.jit import OPTIONS

PROGRAM = """
import fastbp
from fastbp import jit, training
net = fastbp.Network([2, 3, 1], seed=0)
print(float(net.predict([[1.0, 2.0]])[0, 0]).hex())
stats = training.predict.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
print(jit.cache_directory())
"""


def run(cache, *options, package=None, **environment):
    """Predict in a new process; return the prediction, cache hits, misses, the cache's place, and what it warned."""
    settings = {**os.environ, "FASTBP_CACHE_DIR": str(cache), **environment}
    if package is not None:
        settings["PYTHONPATH"] = str(package)
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM],
        env=settings,
        cwd=tempfile.gettempdir(),  # where no other fastbp lies in the way
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    prediction, counts, place = done.stdout.splitlines()
    return prediction, *map(int, counts.split()), place, done.stderr


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory):
    """Return a cache in which `predict` is kept, and what it predicted when it was compiled."""
    cache = tmp_path_factory.mktemp("cache") / "kept"
    prediction, hits, misses, _, warned = run(cache)
    assert (hits, misses, warned) == (0, 1, "")
    return cache, prediction


@pytest.fixture
def cache(warm_cache, tmp_path):
    """Return a copy of the warm cache, to be spoilt."""
    return pathlib.Path(shutil.copytree(warm_cache[0], tmp_path / "kept")), warm_cache[1]


def test_a_second_process_compiles_nothing(cache):
    directory, prediction = cache
    assert run(directory)[:3] == (prediction, 1, 0)


def test_only_the_owner_can_write_to_the_cache(cache):
    for directory in (cache[0], *(path for path in cache[0].rglob("*") if path.is_dir())):
        assert not directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [b"", b"\x80\x04", b"no pickle at all", None], ids=["empty", "cut", "foreign", "halved"]
)
def test_a_damaged_cache_is_a_miss_with_a_warning(cache, suffix, damage):
    directory, prediction = cache
    for path in directory.rglob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    got, hits, misses, _, warned = run(directory)
    assert (got, hits, misses) == (prediction, 0, 1)
    assert "fastbp recompiles" in warned
    assert run(directory)[:3] == (prediction, 1, 0)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_without_a_writable_cache_everything_works_and_says_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    _, _, _, place, warned = run(blocked / "cache")
    assert place == "None"
    assert "no writable cache" in warned


def test_an_edit_in_any_kernel_file_leaves_the_old_code_behind(tmp_path):
    package = tmp_path / "site"
    shutil.copytree(
        pathlib.Path(fastbp.__file__).parent, package / "fastbp", ignore=shutil.ignore_patterns("__pycache__")
    )
    before = run(tmp_path / "cache", package=package)
    kernels = package / "fastbp" / "narrow.py"
    source = kernels.read_text(encoding="utf-8")
    edited = source.replace("β = biases.data[biases.at + o]", "β = biases.data[biases.at + o] + 1")
    assert edited != source
    kernels.write_text(edited, encoding="utf-8")
    after = run(tmp_path / "cache", package=package)
    assert float.fromhex(after[0]) == pytest.approx(float.fromhex(before[0]) + 1)


def test_disabling_the_compiler_is_answered_by_a_clear_error():
    done = subprocess.run(
        [sys.executable, "-c", "import fastbp; fastbp.Network([2, 1])"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "unset NUMBA_DISABLE_JIT" in done.stderr


def test_options_assume_nothing_about_nan_and_infinity():
    assert not {"fast", "nnan", "ninf", "reassoc"} & OPTIONS["fastmath"]


def test_one_compilation_serves_every_shape_of_network():
    before = len(training.train.signatures), len(training.predict.signatures)
    for sizes in ([2, 1], [2, 3, 1], [3, 4, 5, 6, 2]):
        net = fastbp.Network(sizes, seed=0)
        X = [[0.5] * sizes[0]] * 4
        net.fit(X, [[1] * sizes[-1]] * 4, epochs=1, optimizer=fastbp.Adam())
        net.predict(X)
    assert len(training.train.signatures) <= max(before[0], 1)
    assert len(training.predict.signatures) <= max(before[1], 1)
