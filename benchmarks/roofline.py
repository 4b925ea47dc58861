"""How much of this core's arithmetic a training step uses: `python -m benchmarks.roofline`.

The peak is measured, by a loop of independent fused multiply-adds, in the same run and next to each cell, since
shared machines change their speed. A step is all that `Network.fit` does: shuffling, gathering, forward, loss,
backward, update. Only true sizes count as work; padding does not. Prints a table in Markdown.
"""

import argparse
import statistics
import time

import numpy as np

import fastbp
from benchmarks.common import cpu_model, pin, step_flops, usable_cores
from fastbp.arithmetic import fma_along
from fastbp.jit import entry
from fastbp.layout import aligned_zeros, lanes_of
from fastbp.line import TILE_ROWS, line_length, load, store, tile

ROWS = 4096
SECONDS = 0.1
CHAINS = TILE_ROWS * 3 // 2  # enough to hide an fma's latency, few enough to stay in registers
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
]


@entry
def independent_fmas(times, x, out):
    sums, line = tile(load(x, 0), CHAINS), load(x, line_length(x))
    for _ in range(times):
        sums = fma_along(sums, x, 0, line)
    store(out, 0, sums)


def peak_flops(dtype):
    """Return the floating-point operations per second of a loop that does nothing else."""
    lanes, times = lanes_of(dtype), 500_000
    x, out = aligned_zeros(CHAINS * lanes, dtype), aligned_zeros(CHAINS * lanes, dtype)
    independent_fmas(1, x, out)
    start = time.perf_counter()
    independent_fmas(times, x, out)
    return 2 * CHAINS * lanes * times / (time.perf_counter() - start)


def step_seconds(sizes, batch_size, dtype):
    """Return the seconds of one step within a fit of about SECONDS."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((ROWS, sizes[0])), rng.standard_normal((ROWS, sizes[-1]))
    net = fastbp.Network(sizes, dtype=dtype, seed=0)
    optimizer = fastbp.SGD(1e-6)  # so slow that every round does the same work
    net.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=1)
    estimate = sum(net.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=1).seconds)
    epochs = max(1, round(SECONDS / estimate))
    history = net.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=epochs)
    return sum(history.seconds) / (epochs * -(-ROWS // batch_size))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pin({max(usable_cores())})
    fractions = {str(cell): [] for cell in NETWORKS}
    seconds = {str(cell): [] for cell in NETWORKS}
    peaks = []
    for _ in range(options.rounds):
        for cell in NETWORKS:
            peaks.append(peak_flops(options.dtype))
            took = step_seconds(*cell, options.dtype)
            seconds[str(cell)].append(took)
            fractions[str(cell)].append(step_flops(*cell) / took / peaks[-1])
    peak = statistics.median(peaks) / 1e9
    print(f"{cpu_model()}, one core, {options.dtype}: FMA peak {peak:.0f} GFLOP/s\n")
    print("| layers | batch | step, µs | GFLOP/s | fraction of the peak |\n| --- | --- | --- | --- | --- |")
    for sizes, batch_size in NETWORKS:
        took = statistics.median(seconds[str((sizes, batch_size))])
        fraction = statistics.median(fractions[str((sizes, batch_size))])
        rate = step_flops(sizes, batch_size) / took / 1e9
        print(f"| {'-'.join(map(str, sizes))} | {batch_size} | {took * 1e6:.2f} | {rate:.1f} | {fraction:.0%} |")


if __name__ == "__main__":
    main()
