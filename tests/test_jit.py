"""One set of options for all kernels, and one compilation for all networks."""

import os
import subprocess
import sys

import fastbp
from fastbp.kernels import entries as training
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
