"""Learning rates of a run's steps, taken from a number, a schedule or any callable, and checked.

This file must not know what a step does with its rate.
"""

import numpy as np

from fastbp import checks
from fastbp.schedules import LearningRate, Rates, Schedule

_BLOCK = 1024  # steps


def evaluate(learning_rate: LearningRate, first: int, count: int) -> Rates:
    """Return the rates of steps first, …, first + count − 1, the same to the bit however a run is sliced.

    Where a schedule leaves the finite numbers after the first step, only the rates up to there.

    Raises
    ------
    TypeError, ValueError
        If the schedule returns something else than a finite number that is not negative.
    """
    if not callable(learning_rate):
        return np.full(count, learning_rate, np.float64)
    if isinstance(learning_rate, Schedule) and learning_rate.takes_arrays:
        # Whole blocks, since a vector's length may decide which of NumPy's loops, so which bits, a number gets.
        start = first // _BLOCK * _BLOCK
        with np.errstate(over="ignore"):  # past the steps that are asked for, or found just below
            rates = learning_rate(np.arange(start, -(-(first + count) // _BLOCK) * _BLOCK))[first - start :][:count]
        checks.not_negative(f"learning_rate at step {first}", float(rates[0]))
        finite = np.isfinite(rates)
        return np.ascontiguousarray(rates if finite.all() else rates[: finite.argmin()])
    rates = []
    for step in range(first, first + count):
        rate = learning_rate(step)
        if isinstance(rate, np.ndarray) and rate.ndim == 0:
            rate = rate[()]
        try:
            checks.not_negative(f"learning_rate at step {step}", rate)
        except (TypeError, ValueError):
            if rates:
                break
            raise
        rates.append(rate)
    return np.array(rates, np.float64)
