"""What the core that this process runs on can do, and how much of it a piece of work uses.

The peak is measured, by a loop of independent fused multiply-adds, next to each figure, since shared machines change
their speed. This file must not know what is measured beside it.
"""

import statistics
import time

import numpy as np

from fastbp.kernels.packing import aligned_zeros, lanes_of
from fastbp.machine.arithmetic import fma_along
from fastbp.machine.jit import entry
from fastbp.machine.line import TILE_ROWS, line_length, load, store, tile

CHAINS = TILE_ROWS * 3 // 2  # enough to hide an fma's latency, few enough to stay in registers


@entry
def independent_fmas(times, x, out):
    sums, line = tile(load(x, 0), CHAINS), load(x, line_length(x))
    for _ in range(times):
        sums = fma_along(sums, x, 0, line)
    store(out, 0, sums)


@entry
def dependent_steps(times, bits):
    for _ in range(times):
        # A shift and then an addition: a cycle each, and no compiler can shorten the chain.
        bits += bits >> np.uint64(1)
    return bits


def peak_flops(dtype):
    """Return the floating-point operations per second of a loop that does nothing else."""
    lanes, times = lanes_of(dtype), 500_000
    x, out = aligned_zeros(CHAINS * lanes, dtype), aligned_zeros(CHAINS * lanes, dtype)
    independent_fmas(1, x, out)
    start = time.perf_counter()
    independent_fmas(times, x, out)
    return 2 * CHAINS * lanes * times / (time.perf_counter() - start)


def clock_hertz():
    """Return the cycles per second."""
    times, bits = 2_000_000, np.uint64(2**63 + 1)
    dependent_steps(1, bits)
    start = time.perf_counter()
    dependent_steps(times, bits)
    return 2 * times / (time.perf_counter() - start)


def beside_peak(cells, flops_of, seconds_of, dtype, rounds):
    """Return the medians over rounds of each cell's seconds, and of its fraction of the peak measured next to it.

    The cells take turns, round by round.
    """
    found = {cell: [] for cell in cells}
    for _ in range(rounds):
        for cell in cells:
            peak = peak_flops(dtype)
            took = seconds_of(*cell)
            found[cell].append((took, flops_of(*cell) / took / peak))
    return {cell: [statistics.median(figures) for figures in zip(*pairs, strict=True)] for cell, pairs in found.items()}
