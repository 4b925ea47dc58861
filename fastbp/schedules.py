"""Learning-rate schedules, for the argument `learning_rate` of an optimizer.

A schedule is called with the number of a step and returns the learning rate of this step. The first step of an
optimizer has the number 0. Any function may be a schedule. The schedules of this module also take arrays of step
numbers. `Cosine` and `LogarithmicCosine` can take the number of steps from the fit. Two schedules are equal if their
parameters are equal, so a network that was saved and loaded can continue its training.

This file knows NumPy and `checks`. It must not know the optimizers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt

from fastbp import checks

__all__ = ["Constant", "Cosine", "InverseScaling", "LogarithmicCosine", "Schedule", "Step", "WarmUp"]

Rates = npt.NDArray[np.float64]
LearningRate = float | Callable[[int], SupportsFloat]  # a number, or a function of the step number


def check_learning_rate(name: str, rate: Any) -> None:
    """Raise unless `rate` is a finite number of at least 0, or callable."""
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
    """The base class of schedules."""

    @property
    def takes_arrays(self) -> bool:
        """Whether the schedule may be called with an array of step numbers."""
        return False

    @abstractmethod
    def __call__(self, step: Any) -> Any:
        """Return the learning rate of each step.

        Parameters
        ----------
        step : int or ndarray of int
            Step numbers, from 0.

        Returns
        -------
        ndarray of float64
            The rates, in the shape of `step`.
        """

    def over(self, first: int, steps: int) -> "Schedule":  # noqa: ARG002 (subclasses that span a run use both)
        """Return the schedule for a fit of `steps` steps that begins with step `first`.

        A schedule that does not take its number of steps from the fit is returned unchanged.
        """
        return self


class _OfArrays(Schedule):
    """A schedule that takes arrays of step numbers."""

    @property
    def takes_arrays(self) -> bool:
        return True


@dataclass(frozen=True)
class Constant(_OfArrays):
    """The same rate at every step.

    Parameters
    ----------
    rate : float
        Learning rate, at least 0.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a finite number, or is negative.
    """

    rate: float

    def __post_init__(self) -> None:
        checks.not_negative("rate", self.rate)

    def __call__(self, step: Any) -> Rates:
        """Return the learning rate of each step, in the shape of `step`."""
        return np.full(np.shape(step), self.rate, np.float64)


@dataclass(frozen=True)
class Step(_OfArrays):
    """A rate that is multiplied by `factor` after every `every` steps: `initial * factor ** (step // every)`.

    Parameters
    ----------
    initial : float
        Learning rate of the first step, at least 0.
    every : int
        Number of steps between two changes, at least 1.
    factor : float, default 0.1
        Factor of each change, at least 0.

    Raises
    ------
    TypeError, ValueError
        If `initial` or `factor` is not a finite number of at least 0, or `every` is not an integer of at least 1.
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        checks.not_negative("initial", self.initial)
        checks.not_negative("factor", self.factor)
        _check_steps("every", self.every)

    def __call__(self, step: Any) -> Rates:
        """Return the learning rate of each step, in the shape of `step`."""
        return np.asarray(self.initial * np.float64(self.factor) ** (np.asarray(step) // self.every), np.float64)


@dataclass(frozen=True)
class InverseScaling(_OfArrays):
    """A rate that falls as a power of the step number: `initial / (step + 1) ** power`.

    Parameters
    ----------
    initial : float
        Learning rate of the first step, at least 0.
    power : float, default 0.5
        Exponent, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number of at least 0.
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        checks.not_negative("initial", self.initial)
        checks.not_negative("power", self.power)

    def __call__(self, step: Any) -> Rates:
        """Return the learning rate of each step, in the shape of `step`."""
        return np.asarray(self.initial / (np.asarray(step) + 1.0) ** self.power, np.float64)


class _WholeRun(_OfArrays):
    """A schedule over a number of steps. Without this number, the schedule spans a fit."""

    steps: int | None

    def over(self, first: int, steps: int) -> Schedule:
        """Return the schedule for a fit of `steps` steps that begins with step `first`."""
        if self.steps is not None:
            return self
        return _Later(replace(self, steps=steps), first)  # type: ignore[type-var]  # both subclasses are dataclasses

    def _share_done(self, step: Any) -> Rates:
        """Return the fraction of the steps before each step, from 0 to 1."""
        if self.steps is None:
            name = type(self).__name__
            raise ValueError(f"{name} does not know how many steps there are: give it steps, or use it in a fit")
        return np.asarray(np.minimum(np.asarray(step) / self.steps, 1.0), np.float64)


@dataclass(frozen=True)
class Cosine(_WholeRun):
    """Half a cosine wave from `initial` to `final` over `steps` steps. The rate stays at `final` after them.

    Parameters
    ----------
    initial : float
        Learning rate of the first step, at least 0.
    steps : int, optional
        Number of steps, at least 1. Default: the schedule spans each call of `fit`.
    final : float, default 0.0
        Learning rate at the end, at least 0.

    Raises
    ------
    TypeError, ValueError
        If a rate is not a finite number of at least 0, or `steps` is not an integer of at least 1.

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
        """Return the learning rate of each step, in the shape of `step`."""
        wave = 0.5 * (1 + np.cos(np.pi * self._share_done(step)))
        return np.asarray(self.final + (self.initial - self.final) * wave, np.float64)


@dataclass(frozen=True)
class LogarithmicCosine(_WholeRun):
    """Several waves from 0 to `highest` and back to 0. Each wave is twice as long as the wave before.

    The rate is `highest * (1 - cos(2π log₂(1 + (2**cycles - 1) t))) / 2`, where t goes from 0 to 1 over `steps` steps.
    After these steps, the rate is 0.

    Parameters
    ----------
    highest : float
        Largest learning rate, at least 0.
    steps : int, optional
        Number of steps, at least 1. Default: the schedule spans each call of `fit`.
    cycles : int, default 4
        Number of waves, from 1 to 50.

    Raises
    ------
    TypeError, ValueError
        If `highest` is not a finite number of at least 0, or `steps` or `cycles` is not an integer in its range.

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
        """Return the learning rate of each step, in the shape of `step`."""
        waves = 1 - np.cos(2 * np.pi * np.log2(1 + (2 ** int(self.cycles) - 1) * self._share_done(step)))
        return np.asarray(self.highest * 0.5 * waves, np.float64)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise of the rate over the first `steps` steps, and then the schedule `then`.

    Parameters
    ----------
    then : float or callable
        Learning rate after the rise: a number of at least 0, or a schedule. The step numbers of the schedule begin at
        0 after the rise. A schedule that spans a fit spans the rest of the fit.
    steps : int
        Number of steps of the rise, at least 1.

    Raises
    ------
    TypeError, ValueError
        If `then` is neither a finite number of at least 0 nor callable, or `steps` is not an integer of at least 1.

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.
    """

    then: LearningRate
    steps: int

    @property
    def takes_arrays(self) -> bool:
        """Whether the schedule may be called with an array of step numbers: whether `then` may."""
        return self.then.takes_arrays if isinstance(self.then, Schedule) else not callable(self.then)

    def __post_init__(self) -> None:
        check_learning_rate("then", self.then)
        _check_steps("steps", self.steps)

    def over(self, first: int, steps: int) -> Schedule:
        """Return the schedule for a fit of `steps` steps that begins with step `first`."""
        then = over_run(self.then, 0, max(steps - int(self.steps), 1))
        return self if then is self.then else _Later(replace(self, then=then), first)

    def __call__(self, step: Any) -> Rates:
        """Return the learning rate of each step, in the shape of `step`."""
        steps = np.asarray(step)
        later = np.maximum(steps - self.steps, 0)
        rise = np.minimum((steps + 1) / self.steps, 1.0)
        return np.asarray(rise * (self.then(later) if callable(self.then) else self.then), np.float64)


@dataclass(frozen=True)
class _Later(Schedule):
    """A schedule whose step 0 is the step `first` of the optimizer."""

    schedule: Schedule
    first: int

    @property
    def takes_arrays(self) -> bool:
        return self.schedule.takes_arrays

    def __call__(self, step: Any) -> Rates:
        return np.asarray(self.schedule(np.maximum(np.asarray(step) - self.first, 0)), np.float64)


def over_run(learning_rate: LearningRate, first: int, steps: int) -> LearningRate:
    """Return a learning rate for a fit of `steps` steps that begins with step `first`; see `Schedule.over`."""
    return learning_rate.over(first, steps) if isinstance(learning_rate, Schedule) else learning_rate


def describe(learning_rate: LearningRate) -> Any:
    """Return a learning rate as JSON can hold it. Every function of the user is described as "custom"."""
    if isinstance(learning_rate, Constant | Step | InverseScaling | _WholeRun | WarmUp):
        numbers = {name: None if value is None else describe(value) for name, value in vars(learning_rate).items()}
        return {"schedule": type(learning_rate).__name__, **numbers}
    return "custom" if callable(learning_rate) else float(learning_rate)


def __dir__() -> list[str]:
    return sorted(__all__)
