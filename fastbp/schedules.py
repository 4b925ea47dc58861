"""Learning-rate schedules: what `learning_rate` may be besides a number.

A schedule is called with the number of a step, counted from 0 over all steps that an optimizer has made, and returns
the learning rate of that step. Any callable will do. The schedules here take arrays of steps as well, learn the length
of a run from the run, and compare equal when their numbers do, so that training goes on after a network was saved and
loaded.

This file knows NumPy and `checks`. It must not know who steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import checks

__all__ = ["Constant", "Cosine", "InverseScaling", "LogarithmicCosine", "Schedule", "Step", "WarmUp"]

Steps = npt.NDArray[np.int64]
Rates = npt.NDArray[np.float64]
LearningRate = float | Callable[[Any], Any]  # what an optimizer takes


def check_learning_rate(name: str, rate: Any) -> None:
    """Raise unless `rate` is a finite number that is not negative, or can be called."""
    if isinstance(rate, type):
        raise TypeError(f"{name} must be a number or a schedule, got the class itself: call {rate.__name__}(…)")
    if callable(rate):
        return
    if not isinstance(rate, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number or a schedule, got {checks.shown(rate)}")
    checks.not_negative(name, rate)


def _check_steps(name: str, steps: Any) -> None:
    """Raise unless `steps` is a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise TypeError(f"{name} must be a whole number of steps, got {checks.shown(steps)}")
    checks.whole_number(name, steps, 1)


class Schedule(ABC):
    """A learning rate that depends on the step."""

    @property
    def takes_arrays(self) -> bool:
        """Whether the schedule may be called with an array of steps: so are those of this module."""
        return False

    @abstractmethod
    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, or of each of an array of steps.

        Parameters
        ----------
        step : int or ndarray of int

        Returns
        -------
        ndarray of float64
            Of the shape of `step`.
        """

    def over(self, first: int, steps: int) -> "Schedule":  # noqa: ARG002 (subclasses that span a run use both)
        """Return the schedule for a run of `steps` steps that begins with step `first`.

        A schedule that was given its own number of steps, or needs none, is returned as it is.
        """
        return self


class _OfArrays(Schedule):
    """A schedule that takes arrays of steps."""

    @property
    def takes_arrays(self) -> bool:
        return True


@dataclass(frozen=True)
class Constant(_OfArrays):
    """The same rate at every step.

    Parameters
    ----------
    rate : float

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a finite number, or is negative.
    """

    rate: float

    def __post_init__(self) -> None:
        checks.not_negative("rate", self.rate)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.full(np.shape(step), self.rate, np.float64)


@dataclass(frozen=True)
class Step(_OfArrays):
    """`initial * factor ** (step // every)`.

    Parameters
    ----------
    initial : float
    every : int
        Steps from one drop to the next.
    factor : float, default 0.1

    Raises
    ------
    TypeError, ValueError
        If a rate is not a finite number, or is negative, or `every` is not a whole number of at least 1.
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        checks.not_negative("initial", self.initial)
        checks.not_negative("factor", self.factor)
        _check_steps("every", self.every)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.asarray(self.initial * np.float64(self.factor) ** (np.asarray(step) // self.every))


@dataclass(frozen=True)
class InverseScaling(_OfArrays):
    """`initial / (step + 1) ** power`.

    Parameters
    ----------
    initial : float
    power : float, default 0.5

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number, or is negative.
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        checks.not_negative("initial", self.initial)
        checks.not_negative("power", self.power)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        return np.asarray(self.initial / (np.asarray(step) + 1.0) ** self.power)


class _WholeRun(_OfArrays):
    """A schedule over a number of steps, which is that of the run where it is left out."""

    steps: int | None

    def over(self, first: int, steps: int) -> Schedule:
        """Return the schedule for a run of `steps` steps that begins with step `first`."""
        if self.steps is not None:
            return self
        return _Later(replace(self, steps=steps), first)  # type: ignore[type-var]  # both subclasses are dataclasses

    def _share_done(self, step: Any) -> Rates:
        """Return how much of the steps lies behind each step, from 0 to 1."""
        if self.steps is None:
            name = type(self).__name__
            raise ValueError(f"{name} does not know how many steps there are: give it steps, or hand it to a fit")
        return np.asarray(np.minimum(np.asarray(step) / self.steps, 1.0), np.float64)


@dataclass(frozen=True)
class Cosine(_WholeRun):
    """Half a cosine wave from `initial` to `final` over `steps`, and `final` after.

    Parameters
    ----------
    initial : float
    steps : int, optional
        Left out, the wave spans each call of `fit`, whatever its batch size and number of epochs.
    final : float, default 0.0

    Raises
    ------
    TypeError, ValueError
        If a rate is not a finite number, or is negative, or `steps` is not a whole number of at least 1.

    References
    ----------
    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", ICLR, equation 5.
    """

    initial: float
    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.not_negative("initial", self.initial)
        checks.not_negative("final", self.final)
        if self.steps is not None:
            _check_steps("steps", self.steps)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        wave = 0.5 * (1 + np.cos(np.pi * self._share_done(step)))
        return np.asarray(self.final + (self.initial - self.final) * wave)


@dataclass(frozen=True)
class LogarithmicCosine(_WholeRun):
    """`highest * (1 - cos(2π log₂(1 + (2**cycles - 1) t))) / 2`, t going from 0 to 1 over `steps`, and 0 after.

    A wave from 0 to `highest` and back, `cycles` times, each twice as long as the one before.

    Parameters
    ----------
    highest : float
    steps : int, optional
        Left out, the waves span each call of `fit`, whatever its batch size and number of epochs.
    cycles : int, default 4
        From 1 to 50.

    Raises
    ------
    TypeError, ValueError
        If `highest` is not a finite number, or is negative, or a count is not a whole number within its range.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data", NeurIPS, appendix A.1.
    """

    highest: float
    steps: int | None = None
    cycles: int = 4

    def __post_init__(self) -> None:
        checks.not_negative("highest", self.highest)
        if self.steps is not None:
            _check_steps("steps", self.steps)
        checks.whole_number("cycles", self.cycles, 1, 50)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        waves = 1 - np.cos(2 * np.pi * np.log2(1 + (2**self.cycles - 1) * self._share_done(step)))
        return np.asarray(self.highest * 0.5 * waves)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise over the first `steps` steps to what `then` gives; `then` counts its steps from the rise's end.

    Parameters
    ----------
    then : float or schedule
        A schedule that spans a run spans what the rise leaves of that run.
    steps : int

    Raises
    ------
    TypeError, ValueError
        If `then` is neither a finite number that is not negative nor a schedule, or `steps` is not a whole number of
        at least 1.

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    then: LearningRate
    steps: int

    @property
    def takes_arrays(self) -> bool:
        """Whether `then` takes arrays of steps too."""
        return self.then.takes_arrays if isinstance(self.then, Schedule) else not callable(self.then)

    def __post_init__(self) -> None:
        check_learning_rate("then", self.then)
        _check_steps("steps", self.steps)

    def over(self, first: int, steps: int) -> Schedule:
        """Return the schedule for a run of `steps` steps that begins with step `first`."""
        then = over_run(self.then, 0, max(steps - self.steps, 1))
        return self if then is self.then else _Later(replace(self, then=then), first)

    def __call__(self, step: Any) -> Rates:
        """Return the rate of a step, or of each of an array of steps."""
        steps = np.asarray(step)
        later = np.maximum(steps - self.steps, 0)
        rise = np.minimum((steps + 1) / self.steps, 1.0)
        return np.asarray(rise * (self.then(later) if callable(self.then) else self.then))


@dataclass(frozen=True)
class _Later(Schedule):
    """A schedule that counts its steps from step `first` on."""

    schedule: Schedule
    first: int

    @property
    def takes_arrays(self) -> bool:
        return self.schedule.takes_arrays

    def __call__(self, step: Any) -> Rates:
        return np.asarray(self.schedule(np.maximum(np.asarray(step) - self.first, 0)))


def over_run(learning_rate: LearningRate, first: int, steps: int) -> LearningRate:
    """Return a learning rate for a run of `steps` steps that begins with step `first`; see `Schedule.over`."""
    return learning_rate.over(first, steps) if isinstance(learning_rate, Schedule) else learning_rate


def describe(learning_rate: LearningRate) -> Any:
    """Return a schedule as plain numbers and names, which JSON holds; one of the user's own is just "custom"."""
    if isinstance(learning_rate, Constant | Step | InverseScaling | _WholeRun | WarmUp):
        numbers = {name: None if value is None else describe(value) for name, value in vars(learning_rate).items()}
        return {"schedule": type(learning_rate).__name__, **numbers}
    return "custom" if callable(learning_rate) else float(learning_rate)


def __dir__() -> list[str]:
    return sorted(__all__)
