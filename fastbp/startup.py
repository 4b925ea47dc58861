"""Compile all kernels ahead of time, test them against NumPy, and report the state of the cache of compiled code.

May import `many`, `network`, `runs`, `kernels` and `machine`. It must not know the terminal.
"""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Floats
from fastbp._version import __version__
from fastbp.kernels import (
    activations,
    clipping,
    custom_losses,
    dropout,
    expansion,
    frozen,
    input_factors,
    losses,
    shuffling,
    steps,
    strided,
)
from fastbp.machine import cache, host, jit
from fastbp.many import train_many
from fastbp.network import Network
from fastbp.runs.threads import cores

DTYPES = ("float32", "float64")
ENTRIES = ("train", "predict", "evaluate", "differentiate", "trace")
PIECES = (
    *losses.PIECES.values(),
    *(custom_losses.FILL_LAST_LINES, custom_losses.SUM_VALUES),
    *activations.PIECES.values(),
    *(dropout.DROPOUT, input_factors.DIFFERENTIATE, input_factors.FOLD, expansion.EXPANSION, strided.STRIDED),
    *steps.PIECES.values(),
    clipping.GRADIENT_SCALE,
    *shuffling.PIECES,
    *(frozen.PREDICT, frozen.JACOBIAN),
)
CALLS = ("call_predict", "call_jacobian")  # of `frozen`, for Python
# What is compiled by itself: entries, and pieces that they call.
FUNCTIONS = (*ENTRIES, "train_epochs", *(str(piece.name) for piece in PIECES), *CALLS)


def warmup(
    dtypes: Sequence[npt.DTypeLike] = DTYPES, progress: Callable[[str, str], object] | None = None
) -> Path | None:
    """Compile all functions that networks of these dtypes need, for example while a container image is built.

    Functions that are in the cache are loaded and not compiled again.

    Parameters
    ----------
    dtypes : str or sequence of dtypes, default ("float32", "float64")
        Dtypes of the networks: a name such as "float32", or a sequence of dtypes. Each dtype has six functions,
        some for each loss, activation, kind of step and shuffle, and four for `Network.compile` and
        `Network.jacobian`.
    progress : callable, optional
        Called before each function with the names of the dtype and the function, such as "float32" and "train".

    Returns
    -------
    Path or None
        The directory that holds the compiled code. None if no directory is writable.

    Raises
    ------
    TypeError, ValueError
        If `dtypes` is neither a name nor a sequence, or a dtype is neither float32 nor float64.
    """
    for dtype in [checks.float_dtype(dtype) for dtype in ([dtypes] if isinstance(dtypes, str) else dtypes)]:
        for name, call in _first_calls(dtype):
            if progress is not None:
                progress(dtype.name, name)
            call()
    return jit.cache_directory()


def _first_calls(dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name of each function, and a call that compiles it."""
    net, X, y = Network((1, 1), dtype, seed=0), np.zeros((1, 1)), np.zeros(1)
    yield "train", lambda: net.fit(X, y, epochs=1)
    yield "predict", lambda: net.predict(X)
    yield "evaluate", lambda: net.loss(X, y)
    yield "differentiate", lambda: net.gradients(X, y)
    yield "trace", lambda: net.forward(X)
    yield "train_epochs", lambda: train_many([net], X, y, epochs=1, patience=1)
    for piece in PIECES:
        yield str(piece.name), functools.partial(piece.address, dtype)
    x = X.astype(dtype)
    yield "call_predict", lambda: net.compile().predict(x, x.copy())
    yield "call_jacobian", lambda: net.jacobian(x)


class SelfTest(NamedTuple):
    """The comparison of a small network with the same network in NumPy.

    Attributes
    ----------
    difference : float
        Largest difference between an array of gradients and NumPy's, relative to the largest number of this array.
    is_right : bool
        Whether the difference is within rounding errors.
    speedup : float
        Time of a training step in NumPy, divided by the time of a training step in fastbp.
    """

    difference: float
    is_right: bool
    speedup: float


def self_test(dtype: str, seconds: float = 0.5) -> SelfTest:
    """Compare the gradients and the training time of a small network with NumPy.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Dtype of the network.
    seconds : float, default 0.5
        Duration of the timing in seconds, half of it for NumPy.

    Returns
    -------
    SelfTest
    """
    random = np.random.default_rng(0)
    X, y = random.standard_normal((64, 16)).astype(dtype), random.standard_normal((64, 3)).astype(dtype)
    net = Network([16, 64, 64, 3], np.dtype(dtype), seed=0)
    ours, (weights, biases) = net.gradients(X, y), (list(net.weights), list(net.biases))
    theirs = _numpy_gradients(weights, biases, X, y)
    pairs = zip((*ours.weights, *ours.biases), theirs, strict=True)
    difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    steps, numpy_steps, half = 0, 0, seconds / 2
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < half:
        net.fit(X, y, epochs=100, batch_size=64, shuffle=False, n_threads=1)
        steps += 100
    started = time.perf_counter()
    while (numpy_spent := time.perf_counter() - started) < half:
        for parameter, gradient in zip((*weights, *biases), _numpy_gradients(weights, biases, X, y), strict=True):
            parameter -= 0.01 * gradient
        numpy_steps += 1
    is_right = difference < 1000 * np.finfo(dtype).eps
    return SelfTest(difference, bool(is_right), (numpy_spent / numpy_steps) / (spent / steps))


def _numpy_gradients(weights: list[Floats], biases: list[Floats], X: Floats, y: Floats) -> list[Floats]:
    """Return all ∂L/∂Ω_i, and then all ∂L/∂β_i, of the squared error, computed with NumPy."""
    h = [X]
    for Ω, β in zip(weights[:-1], biases[:-1], strict=True):
        h.append(np.maximum(h[-1] @ Ω.T + β, 0))
    g = (h[-1] @ weights[-1].T + biases[-1] - y) / len(X)
    by_weights: list[Floats] = []
    by_biases: list[Floats] = []
    for Ω, h_i in zip(weights[::-1], h[::-1], strict=True):
        by_weights.insert(0, g.T @ h_i)
        by_biases.insert(0, g.sum(axis=0))
        g = (g @ Ω) * (h_i > 0)
    return by_weights + by_biases


class Diagnosis(NamedTuple):
    """What `fastbp doctor` reports.

    Attributes
    ----------
    versions : dict of str to str
        Versions by name of the package.
    cpu : str
        Name of the CPU, and a hash of its features.
    features : list of str
        The features of the CPU that the kernels use.
    cores : int
        The number of cores that this process may use.
    place : Path or None
        The directory that holds the compiled code.
    place_is_writable : bool
        Whether this directory is writable.
    bytes : int
        Size of the compiled code in bytes.
    kept : dict of str to dict of str to float
        Seconds that the compilation of each function took, by dtype and name of the function.
    missing : dict of str to list of str
        Names of the functions that are not in the cache, by dtype.
    older : list of Path
        Directories with compiled code of other versions, CPUs or settings.
    older_bytes : int
        Size of these directories in bytes.
    problems : list of str
        Problems, one sentence each.
    """

    versions: dict[str, str]
    cpu: str
    features: list[str]
    cores: int
    place: Path | None
    place_is_writable: bool
    bytes: int
    kept: dict[str, dict[str, float]]
    missing: dict[str, list[str]]
    older: list[Path]
    older_bytes: int
    problems: list[str]


def diagnose() -> Diagnosis:
    """Inspect the CPU and the cache of compiled code. Nothing is compiled.

    Returns
    -------
    Diagnosis
    """
    place = jit.cache_directory()
    kept: dict[str, dict[str, float]] = {dtype: {} for dtype in DTYPES}
    size, problems = 0, list(cache.warned.values())
    for path in sorted(place.glob(f"*{cache.SUFFIX}")) if place else []:
        size += path.stat().st_size
        try:
            head, _ = cache.read_code(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path} is damaged or cannot be read, and will be compiled again ({error})")
            continue
        name = head.function.rpartition(".")[2]
        if name in FUNCTIONS:
            of_dtype = ["float32" if "float32" in head.signature else "float64"]
            for dtype in of_dtype if "float" in head.signature else DTYPES:  # shuffles know no dtype
                kept[dtype][name] = head.seconds
    problems += host.problems()
    older = sorted({path.parent for root in cache.roots() for path in root.glob(f"*/*{cache.SUFFIX}")} - {place})
    kept = {dtype: {name: found[name] for name in FUNCTIONS if name in found} for dtype, found in kept.items()}
    return Diagnosis(
        {
            "fastbp": __version__,
            "Python": sys.version.split()[0],
            "NumPy": np.__version__,
            **host.versions(),
        },
        cache.cpu(),
        host.cpu_features(),
        cores(),
        place,
        place is not None and os.access(place, os.W_OK),
        size,
        kept,
        {dtype: [name for name in FUNCTIONS if name not in kept[dtype]] for dtype in DTYPES},
        older,
        sum(path.stat().st_size for directory in older for path in directory.glob("*")),
        problems,
    )
