"""What the benchmarks share: the grid of networks, seeded problems, the work of a step, and the machine's description.

This file must not know who solves a problem, or how it is timed.
"""

import datetime
import importlib.metadata
import itertools
import math
import os
import platform
from dataclasses import dataclass

import numpy as np

INPUTS, OUTPUTS = 16, 1
HIDDEN_LAYERS = (1, 2, 4, 8)
WIDTHS = (16, 32, 64, 128, 256, 512)
BATCH_SIZES = (1, 8, 32, 128, 256)

EPOCH_STEPS = 1024  # so many that what an epoch costs by itself, whoever runs it, is a small part of it
EPOCH_ROWS = 16384  # but the table stays a small one,
EPOCH_FLOPS = 2**28  # and an epoch of a large network short,
LEAST_STEPS = 4  # though not a single step


@dataclass(frozen=True)
class Problem:
    """Regression on a table of normal numbers; its squared error is ½ the mean over rows of the sum over outputs."""

    sizes: tuple[int, ...]  # inputs, hidden widths, outputs
    batch_size: int
    dtype: str
    rows: int  # a multiple of batch_size

    def __post_init__(self):
        if self.rows % self.batch_size:
            raise ValueError(f"{self.rows} rows are no whole number of batches of {self.batch_size}")

    @property
    def steps(self):
        """Steps of an epoch."""
        return self.rows // self.batch_size


def cell_problem(K, width, batch_size, dtype):
    """Return the problem of one cell of the grid: K hidden layers of one width."""
    sizes = (INPUTS, *K * [width], OUTPUTS)
    steps = min(EPOCH_STEPS, EPOCH_ROWS // batch_size, EPOCH_FLOPS // step_flops(sizes, batch_size))
    return Problem(sizes, batch_size, dtype, batch_size * max(steps, LEAST_STEPS))


def table(problem, seed=0):
    """Return X (rows, inputs) and y (rows, outputs)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((problem.rows, problem.sizes[0]))
    y = rng.standard_normal((problem.rows, problem.sizes[-1]))
    return X.astype(problem.dtype), y.astype(problem.dtype)


def initial_parameters(problem, seed=0):
    """Return weights Ω_i (outputs, inputs), He-normal, and biases β_i (outputs,), 0."""
    rng = np.random.default_rng(seed)
    layers = list(itertools.pairwise(problem.sizes))
    weights = [rng.normal(0, math.sqrt(2 / inputs), (outputs, inputs)) for inputs, outputs in layers]
    biases = [np.zeros(outputs, problem.dtype) for _, outputs in layers]
    return [matrix.astype(problem.dtype) for matrix in weights], biases


def step_flops(sizes, batch_size):
    """Return the operations of one step: forward, ∂L/∂Ω, and behind the first layer ∂L/∂h, 2 each."""
    layers = itertools.pairwise(sizes)
    return sum(2 * batch_size * inputs * outputs * (3 if i else 2) for i, (inputs, outputs) in enumerate(layers))


def microseconds(seconds):
    """Return seconds as microseconds, to three digits."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def usable_cores():
    """Return the numbers of the cores that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def pin(cores):
    """Keep this process, and those that it will start, to `cores`, where the system lets one choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def cpu_model():
    """Return the processor's name, or what is nearest to it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(packages):
    """Return the machine, the versions of `packages` and the date, in one line; packages not installed are left out."""
    cores = len(usable_cores())
    parts = [
        cpu_model(),
        f"{cores} usable core{'s' if cores > 1 else ''}",
        f"{platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {platform.python_version()}",
    ]
    for package in packages:
        try:
            parts.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join([*parts, datetime.date.today().isoformat()])
