"""The learning rates of steps, computed from a number, a schedule or any function, and checked.

This file must not know how a step uses its learning rate.
"""

import numpy as np

from fastbp import checks
from fastbp.schedules import LearningRate, Rates, Schedule

_BLOCK = 1024  # steps


def evaluate(learning_rate: LearningRate, first: int, count: int) -> Rates:
    """Return the learning rates of the steps first, …, first + count − 1.

    The division of a run into slices does not change the rates, to the bit. If a rate after the first step is invalid,
    only the rates before it are returned.

    Raises
    ------
    TypeError, ValueError
        If the rate of the first step is not a finite number of at least 0.
    """
    if not callable(learning_rate):
        return np.full(count, learning_rate, np.float64)
    if isinstance(learning_rate, Schedule) and learning_rate.takes_arrays:
        # Whole blocks, because the length of an array may decide which loop NumPy uses, and so the last bits of a rate.
        start = first // _BLOCK * _BLOCK
        with np.errstate(over="ignore"):  # an overflow is found below, or lies behind the requested steps
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
