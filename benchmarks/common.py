"""Common parts of the benchmarks: the grid of networks, problems, operations of a step, and the machine's description.

This file must not know which library solves a problem, or how time is measured.
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

EPOCH_STEPS = 1024  # many, so that the fixed time of an epoch is a small part
EPOCH_ROWS = 16384  # maximum, so that the table is small
EPOCH_FLOPS = 2**28  # maximum, so that an epoch of a large network is short
LEAST_STEPS = 4  # minimum, which has priority


@dataclass(frozen=True)
class Problem:
    """A regression of normally distributed numbers. The loss is ½ Σ (ŷ − y)² over outputs, as the mean over rows."""

    sizes: tuple[int, ...]  # inputs, hidden widths, outputs
    batch_size: int
    dtype: str
    rows: int  # a multiple of batch_size

    def __post_init__(self):
        if self.rows % self.batch_size:
            raise ValueError(f"{self.rows} rows are not a whole number of batches of {self.batch_size} rows")

    @property
    def steps(self):
        """Number of steps per epoch."""
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
    """Return weights Ω_i, (outputs, inputs), from N(0, 2 / inputs), and biases β_i, (outputs,), of 0."""
    rng = np.random.default_rng(seed)
    layers = list(itertools.pairwise(problem.sizes))
    weights = [rng.normal(0, math.sqrt(2 / inputs), (outputs, inputs)) for inputs, outputs in layers]
    biases = [np.zeros(outputs, problem.dtype) for _, outputs in layers]
    return [matrix.astype(problem.dtype) for matrix in weights], biases


def step_flops(sizes, batch_size):
    """Return the operations of one step: 2 per weight and row for h, ∂L/∂Ω, and ∂L/∂h of all layers but the first."""
    layers = itertools.pairwise(sizes)
    return sum(2 * batch_size * inputs * outputs * (3 if i else 2) for i, (inputs, outputs) in enumerate(layers))


def microseconds(seconds):
    """Return seconds as microseconds, with three significant digits or more."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def usable_cores():
    """Return the numbers of the cores that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def pin(cores):
    """Keep this process and its future child processes on `cores`, if the system supports this."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def cpu_model():
    """Return the name of the processor, or of its architecture if the name is unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(packages):
    """Return one line with the machine, the versions of the installed ones of `packages`, and the date."""
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
