"""Everything can be compiled ahead of time, and the cache can be looked at."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import fastbp
from fastbp import startup
from fastbp.kernels import entries as training


def run(*arguments, **environment):
    command = [sys.executable, "-m", "fastbp", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_everything_is_compiled_ahead_and_progress_is_told():
    steps = []
    place = fastbp.warmup(["float64"], progress=lambda *step: steps.append(step))
    assert steps == [("float64", name) for name in startup.FUNCTIONS]
    assert {path.name.partition("-")[0] for path in place.glob("*.code")} >= set(startup.FUNCTIONS)


def test_one_dtype_may_be_given_by_itself():
    assert fastbp.warmup("float32") == fastbp.warmup([np.float32, np.dtype("float64")])


@pytest.mark.parametrize("wrong", ["float16", ["int64"], 3])
def test_a_dtype_that_networks_do_not_have_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        fastbp.warmup(wrong)


def test_every_entry_is_compiled_ahead():
    compiled = {name for name, value in vars(training).items() if hasattr(value, "signatures") and not_inner(value)}
    assert compiled == set(startup.ENTRIES)


def not_inner(function):
    """Tell what Python calls from kernels."""
    return type(function).__name__ == "_EntryByDtype" and function.py_func.__module__ == training.__name__


def test_the_command_warms_up_once_and_says_where(tmp_path):
    cold = run("warmup", "--dtype", "float32", FASTBP_CACHE_DIR=str(tmp_path))
    assert cold.returncode == 0, cold.stderr
    assert cold.stdout.startswith("float32 ready after ")
    place = pathlib.Path(cold.stdout.strip().rpartition("kept in ")[2])
    written = {path: path.stat().st_mtime_ns for path in place.glob("*.code")}
    assert len(written) == len(startup.FUNCTIONS)
    warm = run("warmup", "--dtype", "float32", "--quiet", FASTBP_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in place.glob("*.code")} == written
    assert warm.stderr == ""

    told = run("doctor", FASTBP_CACHE_DIR=str(tmp_path))
    assert told.returncode == 0, told.stdout
    lines = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if not line.startswith(" "))
    assert lines["cache"].startswith(str(place))
    assert lines["float32"].startswith("compiled: train (")
    assert lines["float64"].startswith("compiled: xoshiro (")  # which serves both dtypes
    assert lines["float64"].endswith("to be compiled: train,")
    assert lines["problems"] == "none"

    next(iter(written)).write_bytes(b"damaged")
    told = run("doctor", FASTBP_CACHE_DIR=str(tmp_path), NUMBA_BOUNDSCHECK="")
    assert told.returncode == 1
    assert "problem   " in told.stdout
    assert "is damaged" in told.stdout


def test_the_doctor_tests_what_is_compiled_against_numpy():
    test = startup.self_test("float64", seconds=0.1)
    assert test.is_right
    assert test.difference < 1e-12
    assert test.speedup > 0.3


def test_the_doctor_sees_what_slows_kernels_down():
    told = run("doctor", NUMBA_OPT="1", NUMBA_BOUNDSCHECK="1")
    assert told.returncode == 1
    assert "NUMBA_OPT is 1" in told.stdout
    assert "NUMBA_BOUNDSCHECK is set" in told.stdout


def test_the_doctor_says_when_code_is_kept_nowhere(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    settings = {"FASTBP_CACHE_DIR": str(blocked), "XDG_CACHE_HOME": str(blocked), "TMPDIR": str(tmp_path)}
    (tmp_path / f"fastbp-{os.getuid()}").write_text("in the way")
    told = run("doctor", **settings)
    assert told.returncode == 1
    assert "cache     nowhere: every process compiles" in told.stdout
    assert told.stderr.count("RuntimeWarning") <= 1
