"""Time one row in a user's own compiled loop: `python -m benchmarks.compiled` ends with 1 if a row takes too long.

A function with `numba.njit` takes `net.compile()` as an argument, and calls `predict` or `jacobian` for one row after
another, on one core. The table also has a block of all rows in one call, and one row by `net.predict` from Python. A
second table compares differential equations with a network as right-hand side. SciPy's solvers get the right-hand side
and its Jacobian from compiled functions, or the right-hand side by `net.predict`. This file must not know how a network
is compiled.
"""

import argparse
import functools
import time

import numba
import numpy as np
from scipy.integrate import solve_ivp

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


@numba.njit
def right_hand_side(_t, y, net):
    derivative = np.empty(y.size)
    net.predict(y, derivative)
    return derivative


@numba.njit
def jacobian(_t, y, net):
    J = np.empty((y.size, y.size))
    net.jacobian(y, J)
    return J


@numba.njit
def runge_kutta(net, y, h, n):
    """The classical method of order 4, with n steps of length h."""
    for _ in range(n):
        k1 = right_hand_side(0.0, y, net)
        k2 = right_hand_side(0.0, y + h / 2 * k1, net)
        k3 = right_hand_side(0.0, y + h / 2 * k2, net)
        k4 = right_hand_side(0.0, y + h * k3, net)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def plain_runge_kutta(f, y, h, n):
    for _ in range(n):
        k1 = f(0.0, y)
        k2 = f(0.0, y + h / 2 * k1)
        k3 = f(0.0, y + h / 2 * k2)
        k4 = f(0.0, y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def solvers():
    """Yield a name, and two functions that solve the same equation: with `net.predict`, and with `net.compile()`."""
    for sizes in ((4, 16, 16, 4), (10, 64, 64, 10)):
        net = fastbp.Network(sizes, "float64", seed=0, activation="tanh")
        compiled, start = net.compile(), np.linspace(-1, 1, sizes[0])
        name = "-".join(map(str, sizes))

        def f(_t, y, net=net):
            return net.predict(y[None])[0]

        for method in ("BDF", "Radau", "LSODA"):
            common = {"t_span": (0, 20), "y0": start, "method": method, "rtol": 1e-6, "atol": 1e-8}
            with_ours = {"fun": right_hand_side, "jac": jacobian, "args": (compiled,)}
            plain, ours = functools.partial(solve_ivp, f, **common), functools.partial(solve_ivp, **with_ours, **common)
            yield f"{name}, solve_ivp, {method}", plain, ours
        steps = 0.01, 2000
        plain, ours = (
            functools.partial(plain_runge_kutta, f, start, *steps),
            functools.partial(runge_kutta, compiled, start, *steps),
        )
        yield f"{name}, a Runge-Kutta loop of one's own", plain, ours


def milliseconds(solve, rounds):
    """Return the least time of so many rounds."""
    solve()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        solve()
        times.append(time.perf_counter() - begun)
    return min(times) * 1e3


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
    print("\n| dy/dt = ŷ(y) for 20 time units, float64 | plain Python, ms | compiled, ms | ratio |")
    print("| --- | --- | --- | --- |")
    for name, plain, ours in solvers():
        plain_ms, ours_ms = (milliseconds(solve, rounds) for solve in (plain, ours))
        print(f"| {name} | {plain_ms:.1f} | {ours_ms:.1f} | {plain_ms / ours_ms:.1f} |")
    if slow:
        raise SystemExit(f"error: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
