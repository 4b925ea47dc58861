"""Measure the fraction of a core's arithmetic peak that fastbp reaches: `python -m benchmarks.roofline`.

The peak is measured just before each sample. The clock is measured too, because operations per cycle show whether the
loop that measures the peak is optimal. A step includes everything that `Network.fit` does: shuffling, gathering the
rows, forward pass, loss, backward pass and update. Only operations on the true sizes count, without padding. The output
is two Markdown tables: kernels and whole steps.
"""

import argparse
import functools
import shlex
import statistics
import sys
import time

from benchmarks.common import Problem, machine, microseconds, pin, step_flops, usable_cores
from benchmarks.kernel_calls import EQUATIONS, fastbp_calls
from benchmarks.peak import beside_peak, clock_hertz, peak_flops
from benchmarks.peers import prepare
from benchmarks.timing import seconds_of, warm_up

ROWS = 4096
SECONDS = 0.1
WIDTHS, BATCHES = (16, 32, 64, 100, 128, 256, 512), (32, 256)
NETWORKS = [
    ((16, 16, 1), 32),
    ((16, *4 * [16], 1), 32),
    ((16, *2 * [64], 1), 32),
    ((16, *4 * [64], 1), 256),
    ((16, *4 * [256], 1), 32),
    ((16, *4 * [256], 1), 256),
    ((16, *2 * [100], 1), 200),
    (5 * (16,), 32),
    (5 * (64,), 32),
    (5 * (256,), 32),
    (5 * (256,), 256),
    ((16, *2 * [50], 10), 32),
    ((16, *4 * [256], 1), 8),
    ((16, *4 * [256], 1), 1),
]


def kernel_seconds(name, width, batch_size, dtype):
    """Return the seconds of one call of a kernel."""
    repeat = fastbp_calls(name, width, batch_size, dtype).repeat
    times = max(1, round(SECONDS * 5e10 / (2 * batch_size * width**2)))
    repeat(max(1, times // 10))
    start = time.perf_counter()
    repeat(times)
    return (time.perf_counter() - start) / times


@functools.cache
def warm_trainer(problem):
    """Return `train(epochs)`, and the number of epochs that takes about SECONDS."""
    train = prepare("fastbp", problem).train
    return train, warm_up(train, SECONDS)


def step_seconds(sizes, batch_size, dtype):
    """Return the seconds per step of a fit that takes about SECONDS."""
    problem = Problem(sizes, batch_size, dtype, ROWS // batch_size * batch_size)
    train, epochs = warm_trainer(problem)
    return seconds_of(train, epochs) / (epochs * problem.steps)


def print_peak(options, where):
    pairs = [(peak_flops(options.dtype), clock_hertz()) for _ in range(20)]
    peak = statistics.median(peak for peak, _ in pairs) / 1e9
    a_cycle = statistics.median(peak / clock for peak, clock in pairs)
    command = shlex.join(["python", "-m", "benchmarks.roofline", *sys.argv[1:]])
    print(f"`{command}` on {where}. One core, {options.dtype}, medians of {options.rounds} rounds.\n")
    print(
        f"FMA peak: {peak:.0f} GFLOP/s, which is {a_cycle:.1f} operations per cycle. The clock is "
        f"{peak / a_cycle:.2f} GHz, measured by a chain of operations that\ntake one cycle each.\n"
    )


def print_kernels(options):
    cells = [(name, width, batch, options.dtype) for name in EQUATIONS for width in WIDTHS for batch in BATCHES]

    def flops(_name, width, batch, _dtype):
        return 2 * batch * width**2

    found = beside_peak(cells, flops, kernel_seconds, options.dtype, options.rounds)
    print(f"| kernel | batch | {' | '.join(f'width {width}' for width in WIDTHS)} |")
    print(f"| --- | --- |{' --- |' * len(WIDTHS)}")
    for name, equation in EQUATIONS.items():
        for batch in BATCHES:
            fractions = [found[name, width, batch, options.dtype][1] for width in WIDTHS]
            print(f"| {equation} | {batch} | {' | '.join(f'{fraction:.0%}' for fraction in fractions)} |")


def print_steps(options):
    cells = [(*network, options.dtype) for network in NETWORKS]

    def flops(sizes, batch, _dtype):
        return step_flops(sizes, batch)

    found = beside_peak(cells, flops, step_seconds, options.dtype, options.rounds)
    print("\n| layers | batch | step, µs | GFLOP/s | fraction of the peak |\n| --- | --- | --- | --- | --- |")
    for cell in cells:
        sizes, batch, _ = cell
        took, fraction = found[cell]
        rate = step_flops(sizes, batch) / took / 1e9
        print(f"| {'-'.join(map(str, sizes))} | {batch} | {microseconds(took)} | {rate:.1f} | {fraction:.0%} |")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=5, help="measurements per number; default 5")
    options = parser.parse_args()
    where = machine(["fastbp", "numba", "numpy"])
    pin({max(usable_cores())})
    print_peak(options, where)
    print_kernels(options)
    print_steps(options)


if __name__ == "__main__":
    main()
