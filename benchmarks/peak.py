"""The arithmetic peak of the core that this process runs on, and the fraction of the peak that a computation reaches.

The peak is the speed of a loop of independent fused multiply-adds. It is measured just before each sample, because the
speed of a shared machine changes. This file must not know what the samples are.
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
        # A shift and an addition take one cycle each, and a compiler cannot shorten the chain.
        bits += bits >> np.uint64(1)
    return bits


def peak_flops(dtype):
    """Return the floating-point operations per second of a loop of multiply-adds."""
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
    """Return the seconds of each cell and its fraction of the peak, as medians over rounds.

    In each round, all cells take turns, and the peak is measured just before each cell.
    """
    found = {cell: [] for cell in cells}
    for _ in range(rounds):
        for cell in cells:
            peak = peak_flops(dtype)
            took = seconds_of(*cell)
            found[cell].append((took, flops_of(*cell) / took / peak))
    return {cell: [statistics.median(figures) for figures in zip(*pairs, strict=True)] for cell, pairs in found.items()}
