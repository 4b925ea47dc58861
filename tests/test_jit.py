"""One set of options for all kernels, and one compilation for all networks."""

import os
import subprocess
import sys

import pytest

import fastbp
from fastbp.kernels import entries as training
from fastbp.machine import compiler
from fastbp.machine.jit import OPTIONS


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


def call_at_every_depth(depth):
    """Call a function with a large frame many times, from each of many frames on top of one another."""
    for _ in range(500):
        leaf()
    if depth > 0:
        call_at_every_depth(depth - 1)


def leaf(a=0, b=0, c=0, d=0, e=0, f=0, g=0, h=0, i=0, j=0, k=0, l=0, m=0, n=0, o=0, p=0):  # noqa: E741
    return [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]


def test_calls_with_room_ask_the_system_for_no_memory_at_any_depth():
    resource = pytest.importorskip("resource")

    def page_faults(_):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        call_at_every_depth(300)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert compiler.call_with_room(page_faults, None) < 250
