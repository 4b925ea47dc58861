"""How much of this core's arithmetic fastbp uses: `python -m benchmarks.roofline`.

The peak is measured, by a loop of independent fused multiply-adds, in the same run and next to each figure, since
shared machines change their speed; the clock is measured beside it, which shows that the loop misses nothing. A step
is all that `Network.fit` does: shuffling, gathering, forward, loss, backward, update. Only true sizes count as work;
padding does not. Prints tables in Markdown: kernels, and whole steps.
"""

import argparse
import shlex
import statistics
import sys
import time

import numpy as np

import fastbp
from benchmarks.common import machine, microseconds, pin, step_flops, usable_cores
from fastbp import kernels
from fastbp.arithmetic import fma_along
from fastbp.jit import entry
from fastbp.layout import Panels, aligned_zeros, lanes_of, padded_rows, panels_from
from fastbp.line import TILE_ROWS, line_length, load, store, tile

ROWS = 4096
SECONDS = 0.1
CHAINS = TILE_ROWS * 3 // 2  # enough to hide an fma's latency, few enough to stay in registers
WIDTHS, BATCHES = (16, 32, 64, 100, 128, 256, 512), (32, 256)
NETWORKS = [
    ([16, 16, 1], 32),
    ([16] + 4 * [16] + [1], 32),
    ([16] + 2 * [64] + [1], 32),
    ([16] + 4 * [64] + [1], 256),
    ([16] + 4 * [256] + [1], 32),
    ([16] + 4 * [256] + [1], 256),
    ([16] + 2 * [100] + [1], 200),
    (5 * [16], 32),
    (5 * [64], 32),
    (5 * [256], 32),
    (5 * [256], 256),
    ([16] + 2 * [50] + [10], 32),
    ([16] + 4 * [256] + [1], 8),
    ([16] + 4 * [256] + [1], 1),
]


# --- what the core can do -----------------------------------------------------------------------------------


@entry
def independent_fmas(times, x, out):
    sums, line = tile(load(x, 0), CHAINS), load(x, line_length(x))
    for _ in range(times):
        sums = fma_along(sums, x, 0, line)
    store(out, 0, sums)


@entry
def dependent_steps(times, bits):
    for _ in range(times):
        bits += bits >> np.uint64(
            1
        )  # a shift and then an addition: a cycle each, and no compiler can shorten the chain
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


# --- what fastbp does ---------------------------------------------------------------------------------------


@entry
def repeat_forward(times, h, weights, biases, out):
    for _ in range(times):
        kernels.linear_relu_forward(h, weights, biases, out)


@entry
def repeat_backward(times, g, weights, h, out):
    for _ in range(times):
        kernels.backward_input(g, weights, h, out)


@entry
def repeat_parameters(times, g, h, weights, biases):
    for _ in range(times):
        kernels.backward_parameters(g, h, weights, biases)


@entry
def repeat_descend(times, g, h, weights):
    for _ in range(times):
        kernels.descend_weights(g, h, 1e-30, 0.0, weights)


KERNELS = {
    "relu(β + Ω h)": repeat_forward,
    "I[h > 0] ⊙ Ωᵀ g": repeat_backward,
    "g hᵀ": repeat_parameters,
    "Ω − η g hᵀ": repeat_descend,
}


def kernel_seconds(name, width, batch_size, dtype):
    """Return the seconds of one call of a kernel on a layer as wide as its input."""
    rng = np.random.default_rng(0)
    h, g, out = (panels_from(rng.standard_normal((batch_size, width)), dtype) for _ in range(3))
    weights = panels_from(rng.standard_normal((width, width)), dtype)
    biases = Panels(padded_rows(np.zeros((1, width)), dtype), 0, 1, width, lanes_of(dtype))
    operands = {
        repeat_forward: (h, weights, biases, out),
        repeat_backward: (g, weights, h, out),
        repeat_parameters: (g, h, weights, biases),
        repeat_descend: (g, h, weights),
    }[KERNELS[name]]
    kernel, times = KERNELS[name], max(1, round(SECONDS * 5e10 / (2 * batch_size * width**2)))
    kernel(max(1, times // 10), *operands)
    start = time.perf_counter()
    kernel(times, *operands)
    return (time.perf_counter() - start) / times


def step_seconds(sizes, batch_size, dtype):
    """Return the seconds of one step within a fit of about SECONDS, by one thread."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((ROWS, sizes[0])), rng.standard_normal((ROWS, sizes[-1]))
    net = fastbp.Network(sizes, dtype=dtype, seed=0)
    optimizer = fastbp.SGD(1e-6)  # so slow that every round does the same work
    options = {"optimizer": optimizer, "batch_size": batch_size, "n_threads": 1}
    net.fit(X, y, epochs=1, **options)
    estimate = sum(net.fit(X, y, epochs=1, **options).seconds)
    epochs = max(1, round(SECONDS / estimate))
    return sum(net.fit(X, y, epochs=epochs, **options).seconds) / (epochs * -(-ROWS // batch_size))


# --- tables -------------------------------------------------------------------------------------------------


def measure(cells, flops_of, seconds_of, options):
    """Return the medians over rounds of each cell's seconds, and of its fraction of the peak measured next to it."""
    found = {str(cell): [] for cell in cells}
    for _ in range(options.rounds):
        for cell in cells:
            peak = peak_flops(options.dtype)
            took = seconds_of(*cell, options.dtype)
            found[str(cell)].append((took, flops_of(cell) / took / peak))
    return {cell: [statistics.median(figures) for figures in zip(*pairs, strict=True)] for cell, pairs in found.items()}


def print_peak(options, where):
    pairs = [(peak_flops(options.dtype), clock_hertz()) for _ in range(20)]
    peak = statistics.median(peak for peak, _ in pairs) / 1e9
    a_cycle = statistics.median(peak / clock for peak, clock in pairs)
    command = shlex.join(["python", "-m", "benchmarks.roofline", *sys.argv[1:]])
    print(f"`{command}` on {where}. One core, {options.dtype}, medians of {options.rounds} rounds.\n")
    print(
        f"FMA peak: {peak:.0f} GFLOP/s, which is {a_cycle:.1f} operations a cycle; a chain of operations of one cycle"
    )
    print(f"each shows a clock of {peak / a_cycle:.2f} GHz.\n")


def print_kernels(options):
    cells = [(name, width, batch) for name in KERNELS for width in WIDTHS for batch in BATCHES]
    found = measure(cells, lambda cell: 2 * cell[2] * cell[1] ** 2, kernel_seconds, options)
    print(f"| kernel | batch | {' | '.join(f'width {width}' for width in WIDTHS)} |")
    print(f"| --- | --- |{' --- |' * len(WIDTHS)}")
    for name in KERNELS:
        for batch in BATCHES:
            fractions = [found[str((name, width, batch))][1] for width in WIDTHS]
            print(f"| {name} | {batch} | {' | '.join(f'{fraction:.0%}' for fraction in fractions)} |")


def print_steps(options):
    found = measure(NETWORKS, lambda cell: step_flops(*cell), step_seconds, options)
    print("\n| layers | batch | step, µs | GFLOP/s | fraction of the peak |\n| --- | --- | --- | --- | --- |")
    for cell in NETWORKS:
        took, fraction = found[str(cell)]
        rate = step_flops(*cell) / took / 1e9
        print(f"| {'-'.join(map(str, cell[0]))} | {cell[1]} | {microseconds(took)} | {rate:.1f} | {fraction:.0%} |")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    where = machine(["fastbp", "numba", "numpy"])
    pin({max(usable_cores())})
    print_peak(options, where)
    print_kernels(options)
    print_steps(options)


if __name__ == "__main__":
    main()
