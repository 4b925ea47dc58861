"""Learning-rate schedules: what `learning_rate` may be besides a number.

A schedule is called with the step's number, counted from 0 over all that an optimizer has made, and returns the
learning rate of that step. Any callable will do; those here take arrays of steps as well, and compare equal when
their numbers do, so that training goes on after a network was saved and loaded.

This file knows NumPy and nothing of fastbp.
"""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Steps = npt.NDArray[np.int64]
Rates = npt.NDArray[np.float64]
Schedule = Callable[[Any], Any]

_MOST_STEPS = 2**63 - 1


def check_rate(name: str, rate: Any) -> None:
    """Raise unless `rate` is a finite number that is not negative."""
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {reprlib.repr(rate)}")
    try:
        number = float(rate)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {reprlib.repr(rate)}")


def check_schedule(name: str, rate: Any) -> None:
    """Raise unless `rate` is a number that a step can be made with, or a function that gives one."""
    if isinstance(rate, type):
        raise TypeError(f"{name} must be a number or a schedule, got the class itself: call {rate.__name__}(…)")
    if callable(rate):
        return
    if not isinstance(rate, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number or a schedule, got {reprlib.repr(rate)}")
    check_rate(name, rate)


def _check_count(name: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"{name} must be a whole number of steps, got {count!r}")
    if not 1 <= count <= _MOST_STEPS:
        bound = "at least 1" if count < 1 else f"at most {_MOST_STEPS}"
        raise ValueError(f"{name} must be {bound}, got {count!r}")


@dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    Parameters
    ----------
    rate : float
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate("rate", self.rate)

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.full(np.shape(step), self.rate, np.float64)


@dataclass(frozen=True)
class Step:
    """`initial * factor ** (step // every)`.

    Parameters
    ----------
    initial : float
    every : int
        Steps from one drop to the next.
    factor : float, default 0.1
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_rate("initial", self.initial)
        check_rate("factor", self.factor)
        _check_count("every", self.every)

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.asarray(self.initial * np.float64(self.factor) ** (np.asarray(step) // self.every))


@dataclass(frozen=True)
class InverseScaling:
    """`initial / (step + 1) ** power`.

    Parameters
    ----------
    initial : float
    power : float, default 0.5
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        check_rate("initial", self.initial)
        check_rate("power", self.power)

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.asarray(self.initial / (np.asarray(step) + 1.0) ** self.power)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `initial` to `final` over `steps`, and `final` after.

    Parameters
    ----------
    initial : float
    steps : int
    final : float, default 0.0

    References
    ----------
    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", ICLR, equation 5.
    """

    initial: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_rate("initial", self.initial)
        check_rate("final", self.final)
        _check_count("steps", self.steps)

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        done = np.minimum(np.asarray(step) / self.steps, 1.0)
        return np.asarray(self.final + (self.initial - self.final) * 0.5 * (1 + np.cos(np.pi * done)))


@dataclass(frozen=True)
class LogarithmicCosine:
    """`highest * (1 - cos(2π log₂(1 + (2**cycles - 1) t))) / 2`, t going from 0 to 1 over `steps`, and 0 after.

    A wave from 0 to `highest` and back, `cycles` times, each twice as long as the one before.

    Parameters
    ----------
    highest : float
    steps : int
    cycles : int, default 4

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data", NeurIPS, appendix A.1.
    """

    highest: float
    steps: int
    cycles: int = 4

    def __post_init__(self) -> None:
        check_rate("highest", self.highest)
        _check_count("steps", self.steps)
        if isinstance(self.cycles, bool) or not isinstance(self.cycles, int) or not 1 <= self.cycles <= 50:
            raise ValueError(f"cycles must be a whole number from 1 to 50, got {self.cycles!r}")

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        done = np.minimum(np.asarray(step) / self.steps, 1.0)
        return np.asarray(self.highest * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**self.cycles - 1) * done))))


@dataclass(frozen=True)
class WarmUp:
    """A linear rise over the first `steps` steps to what `then` gives; `then` counts its steps from the rise's end.

    Parameters
    ----------
    then : float or schedule
    steps : int

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    then: "float | Schedule"
    steps: int

    def __post_init__(self) -> None:
        check_schedule("then", self.then)
        _check_count("steps", self.steps)

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        steps = np.asarray(step)
        later = np.maximum(steps - self.steps, 0)
        rise = np.minimum((steps + 1) / self.steps, 1.0)
        return np.asarray(rise * (self.then(later) if callable(self.then) else self.then))


@dataclass(frozen=True)
class ByEpoch:
    """One rate after another, each for `steps` steps from step `first` on, and the last one for good.

    Parameters
    ----------
    rates : tuple of float
    steps : int
    first : int, default 0
    """

    rates: tuple[float, ...]
    steps: int
    first: int = 0

    def __call__(self, step: Steps) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        epoch = np.clip((np.asarray(step) - self.first) // self.steps, 0, len(self.rates) - 1)
        return np.asarray(self.rates, np.float64)[epoch]


_BLOCK = 1024  # steps


def _takes_arrays(schedule: Any) -> bool:
    if isinstance(schedule, WarmUp):
        return not callable(schedule.then) or _takes_arrays(schedule.then)
    return isinstance(schedule, Constant | Step | InverseScaling | Cosine | LogarithmicCosine | ByEpoch)


def evaluate(learning_rate: "float | Schedule", first: int, count: int) -> Rates:
    """Return the rates of steps first, …, first + count − 1, the same to the bit however a run is sliced.

    Where a schedule leaves the finite numbers after the first step, only the rates up to there.

    Raises
    ------
    TypeError, ValueError
        If the schedule returns something else than a finite number that is not negative.
    """
    if not callable(learning_rate):
        return np.full(count, learning_rate, np.float64)
    if _takes_arrays(learning_rate):
        # Whole blocks, since a vector's length may decide which of NumPy's loops, so which bits, a number gets.
        start = first // _BLOCK * _BLOCK
        with np.errstate(over="ignore"):  # past the steps that are asked for, or found just below
            rates = learning_rate(np.arange(start, -(-(first + count) // _BLOCK) * _BLOCK))[first - start :][:count]
        check_rate(f"learning_rate at step {first}", float(rates[0]))
        finite = np.isfinite(rates)
        return np.ascontiguousarray(rates if finite.all() else rates[: finite.argmin()])
    rates = []
    for step in range(first, first + count):
        rate = learning_rate(step)
        if isinstance(rate, np.ndarray) and rate.ndim == 0:
            rate = rate[()]
        try:
            check_rate(f"learning_rate at step {step}", rate)
        except (TypeError, ValueError):
            if rates:
                break
            raise
        rates.append(rate)
    return np.array(rates, np.float64)


def describe(learning_rate: "float | Schedule") -> Any:
    """Return a schedule as plain numbers and names, which JSON holds; one of the user's own is just "custom"."""
    if isinstance(learning_rate, Constant | Step | InverseScaling | Cosine | LogarithmicCosine | WarmUp):
        numbers = {name: describe(value) for name, value in vars(learning_rate).items()}
        return {"schedule": type(learning_rate).__name__, **numbers}
    return "custom" if callable(learning_rate) else float(learning_rate)
