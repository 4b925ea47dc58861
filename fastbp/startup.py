"""The first second: compile everything ahead of time, and say where compiled code is kept and whether it is there.

This file knows the cache and the names of what is compiled. It must not know the terminal.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
import numpy.typing as npt
from llvmlite.binding import get_host_cpu_features
from numba.core import config

from fastbp import checks
from fastbp.kernels import entries as training
from fastbp.kernels.layout import Floats
from fastbp.machine import cache, compiler, jit
from fastbp.network import Network
from fastbp.runs.threads import available

DTYPES = ("float32", "float64")
FEATURES = ("avx512f", "avx2", "avx", "fma", "sve", "neon")
ENTRIES = ("train", "predict", "evaluate", "differentiate", "trace")


def warmup(
    dtypes: Sequence[npt.DTypeLike] = DTYPES, progress: Callable[[str, str], object] | None = None
) -> Path | None:
    """Compile all that networks of these dtypes will need, or load it where it is kept: for an image, or a first user.

    Parameters
    ----------
    dtypes : list of dtypes, default ("float32", "float64")
        Of the networks. For each, five functions are compiled.
    progress : callable, optional
        Called before each function with the dtype's name and the function's, such as "float32" and "train".

    Returns
    -------
    Path or None
        The directory where the code is kept; None if there is no place to keep it.

    Raises
    ------
    TypeError, ValueError
        If one of them is neither float32 nor float64.
    """
    for dtype in [checks.float_dtype(dtype) for dtype in ([dtypes] if isinstance(dtypes, str) else dtypes)]:
        for name, call in _first_calls(dtype):
            if progress is not None:
                progress(dtype.name, name)
            call()
    return jit.cache_directory()


def _first_calls(dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each entry's name, and what compiles it."""
    net, X, y = Network((1, 1), dtype, seed=0), np.zeros((1, 1)), np.zeros(1)
    yield "train", lambda: net.fit(X, y, epochs=1)
    yield "predict", lambda: net.predict(X)
    yield "evaluate", lambda: net.loss(X, y)
    yield "differentiate", lambda: net.gradients(X, y)
    yield "trace", lambda: net.forward(X)


class SelfTest(NamedTuple):
    """How a small network compares with the same in plain NumPy."""

    difference: float  # the largest in a gradient, relative to the largest number in it
    is_right: bool
    times_sooner: float  # a step of training


def self_test(dtype: str, seconds: float = 0.5) -> SelfTest:
    """Compare gradients and a training step of a small network with plain NumPy's."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((64, 16)).astype(dtype), random.standard_normal((64, 3)).astype(dtype)
    net = Network([16, 64, 64, 3], dtype, seed=0)
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
    """Return ∂L/∂Ω_i and ∂L/∂β_i of the squared error, as the slides have them."""
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
    """What `fastbp doctor` reports."""

    versions: dict[str, str]
    cpu: str
    features: list[str]  # of the CPU, that make kernels fast
    cores: int
    place: Path | None  # of compiled code
    place_is_writable: bool
    bytes: int
    kept: dict[str, dict[str, float]]  # by dtype and entry: the seconds that a hit spares
    missing: dict[str, list[str]]  # by dtype: what would be compiled
    older: list[Path]  # directories of other versions, CPUs or settings
    older_bytes: int
    problems: list[str]


def diagnose() -> Diagnosis:
    """Look at the cache without compiling anything."""
    from fastbp import __version__

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
        module, _, name = head.function.rpartition(".")
        if module == training.__name__:
            kept["float32" if "float32" in head.signature else "float64"][name] = head.seconds
    if not (cache.IS_SUPPORTED and compiler.ENTRY):
        problems.append(
            f"fastbp does not know the inner parts of Numba {numba.__version__}, and uses Numba's own cache"
        )
    if config.OPT != 3:
        problems.append(f"NUMBA_OPT is {int(config.OPT)}, which makes slow code: unset it")
    if config.BOUNDSCHECK:
        problems.append("NUMBA_BOUNDSCHECK is set, which makes slow code: unset it")
    older = sorted({path.parent for root in cache.roots() for path in root.glob(f"*/*{cache.SUFFIX}")} - {place})
    kept = {dtype: {name: found[name] for name in ENTRIES if name in found} for dtype, found in kept.items()}
    return Diagnosis(
        {
            "fastbp": __version__,
            "Python": sys.version.split()[0],
            "NumPy": np.__version__,
            "Numba": numba.__version__,
            "llvmlite": llvmlite.__version__,
        },
        cache.cpu(),
        [name for name in FEATURES if get_host_cpu_features().get(name)],
        available(),
        place,
        place is not None and os.access(place, os.W_OK),
        size,
        kept,
        {dtype: [name for name in ENTRIES if name not in kept[dtype]] for dtype in DTYPES},
        older,
        sum(path.stat().st_size for directory in older for path in directory.glob("*")),
        problems,
    )
