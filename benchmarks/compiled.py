"""Time one row in a user's own compiled loop: `python -m benchmarks.compiled` ends with 1 if a row takes too long.

A function with `numba.njit` takes `net.compile()` as an argument, and calls `predict` or `jacobian` for one row after
another, on one core. The table also has a block of all rows in one call, and one row by `net.predict` from Python. This
file must not know how a network is compiled.
"""

import argparse
import time

import numba
import numpy as np

import fastbp

LIMITS = {(4, 16, 16, 1): 0.3, (30, 64, 64, 1): 2.0}  # µs of a row, float32
N_ROWS = 20_000


@numba.njit
def predict_each(net, X, out):
    for i in range(len(X)):
        net.predict(X[i], out[i])


@numba.njit
def differentiate_each(net, X, out):
    for i in range(len(X)):
        net.jacobian(X[i], out[i])


@numba.njit
def predict_all(net, X, out):
    net.predict(X, out)


def predict_from_python(net, X, out):
    for i in range(len(X)):
        out[i] = net.predict(X[i : i + 1])[0]


def microseconds(function, net, X, out, rounds):
    """Return the least time of a row in so many rounds."""
    function(net, X[:1], out[:1])
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function(net, X, out)
        times.append((time.perf_counter() - start) / len(X) * 1e6)
    return min(times)


def measure(sizes, dtype, rounds):
    """Return µs of a row: in a compiled loop, its Jacobian, in a block, and from Python."""
    net = fastbp.Network(sizes, dtype, seed=0)
    X = np.random.default_rng(0).standard_normal((N_ROWS, sizes[0])).astype(dtype)
    ŷ, J = np.empty((N_ROWS, sizes[-1]), dtype), np.empty((N_ROWS, sizes[-1], sizes[0]), dtype)
    compiled = net.compile()
    return (
        microseconds(predict_each, compiled, X, ŷ, rounds),
        microseconds(differentiate_each, compiled, X, J, rounds),
        microseconds(predict_all, compiled, X, ŷ, rounds),
        microseconds(predict_from_python, net, X[:1000], ŷ[:1000], rounds),
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="measurements, of which the least counts; default 20")
    rounds = parser.parse_args().rounds
    print("| µs per row | dtype | predict(x) | jacobian(x) | predict(X) | net.predict from Python |")
    print("| --- | --- | --- | --- | --- | --- |")
    slow = []
    for sizes, limit in LIMITS.items():
        for dtype in ("float32", "float64"):
            times = measure(sizes, dtype, rounds)
            print(f"| {'-'.join(map(str, sizes))} | {dtype} | {' | '.join(f'{took:.3f}' for took in times)} |")
            if dtype == "float32" and times[0] > limit:
                slow.append(f"{'-'.join(map(str, sizes))} takes {times[0]:.2f} µs, more than {limit} µs")
    if slow:
        raise SystemExit(f"error: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
