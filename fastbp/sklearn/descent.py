"""scikit-learn's minibatch gradient descent, made by a run of the compiled core.

This file must not know estimators.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array, Integers
from fastbp.activations import OneOrMore
from fastbp.kernels import packing
from fastbp.kernels.layout import Parameters
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.shuffling import MERSENNE_TWISTER, RandomState, mersenne_twister
from fastbp.losses import Loss
from fastbp.results import History, Progress
from fastbp.runs.display import Display, Line, LogLines
from fastbp.runs.evaluation import evaluator
from fastbp.runs.prediction import Predictor
from fastbp.runs.run import Patience, Run
from fastbp.schedules import LearningRate, Schedule
from fastbp.sklearn import solvers
from fastbp.sklearn.solvers import Optimizer


@dataclass(frozen=True)
class Objective:
    """A loss, and how the value that scikit-learn reports follows from the value that the kernels compute.

    The reported value is scale · value + offset. Neither the scale nor the offset changes the gradient.

    Parameters
    ----------
    loss : Loss
    is_mean_over_outputs : bool
        Whether the reported value is the mean over the outputs. The gradient is always that of the sum.
    """

    loss: Loss
    is_mean_over_outputs: bool = False

    def scale(self, outputs: int) -> float:
        """Return the factor of the computed value."""
        return 1 / outputs if self.is_mean_over_outputs else 1.0

    def offsets(self, y: Array) -> npt.NDArray[np.float64] | None:
        """Return each row's offset: Σ_o y log y − y for "poisson", None for a loss without offset."""
        if self.loss.link != "exp" or self.loss.is_custom:
            return None
        y = y.astype(np.float64)
        logs = np.log(y, out=np.zeros_like(y), where=y > 0)
        return np.asarray((y * logs - y).sum(axis=1))

    def mean_offset(self, y: Array, sample_weight: Array | None) -> float:
        """Return the weighted mean of the rows' offsets."""
        offsets = self.offsets(y)
        return 0.0 if offsets is None else float(np.average(offsets, weights=sample_weight))


def rows_of(X: Array, y: Array, sample_weight: Array | None, dtype: np.dtype[Any]) -> TrainingRows:
    """Return checked rows in the form that kernels take."""
    weights = np.zeros(0, dtype) if sample_weight is None else sample_weight.astype(dtype)
    x, targets = packing.padded_rows(X, dtype), packing.target_rows(y.astype(dtype, copy=False), dtype)
    return TrainingRows(x, targets, np.zeros(0, np.int64), weights, len(X))


@functools.lru_cache(maxsize=16)
def first_order(seed: int, n: int) -> Integers:
    """Return the first order of n rows that a random stream with this seed draws. `partial_fit` starts it each time."""
    return np.random.RandomState(seed).permutation(n)


@dataclass(frozen=True)
class ByEpoch(Schedule):
    """A schedule with one learning rate for each epoch. The last rate also holds for all later steps.

    Parameters
    ----------
    rates : tuple of float
        One rate for each epoch.
    steps : int
        Steps of an epoch.
    first : int, default 0
        Number of the first epoch's first step.
    """

    rates: tuple[float, ...]
    steps: int
    first: int = 0

    @property
    def takes_arrays(self) -> bool:
        """Always, for speed."""
        return True

    def __call__(self, step: Any) -> npt.NDArray[np.float64]:
        """Return the rate of a step, or of each of an array of steps."""
        epoch = np.clip((np.asarray(step) - self.first) // self.steps, 0, len(self.rates) - 1)
        return np.asarray(np.asarray(self.rates, np.float64)[epoch])


class Descent:
    """Minibatch gradient descent over some rows, which can be continued after any epoch.

    Parameters
    ----------
    parameters : Parameters
        The initial parameters; the epochs change them in place.
    activation : Activation or tuple of Activation
        Activation of all hidden layers, or one for each.
    objective : Objective
    X : ndarray of shape (n, D)
    y : ndarray of shape (n, outputs)
    sample_weight : ndarray of shape (n,) or None
    batch_size : int
        Rows of a minibatch, from 1 to n.
    shuffle : bool
        Whether the rows are shuffled before each epoch.
    random_state : RandomState or None
        The stream of random numbers. The shuffling draws the same numbers from it as scikit-learn does. None if `order`
        is given.
    alpha : float
        α: the loss of a batch gains α ‖Ω‖² / 2, divided by the batch's sum of sample weights.
    optimizer : Optimizer
        Its number of steps is the initial one.
    moments : sequence of Parameters
        The initial moments of the optimizer; the epochs change them in place. An empty sequence means zeros.
    dropout : float, default 0.0
        Probability with which a step drops a hidden unit of a row.
    order : ndarray of int64, optional
        The order of the rows for the only epoch. Default: `random_state` draws an order for each epoch.

    Attributes
    ----------
    losses : list of float
        The reported loss of each epoch so far.
    """

    def __init__(
        self,
        parameters: Parameters,
        activation: OneOrMore,
        objective: Objective,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        batch_size: int,
        shuffle: bool,
        random_state: np.random.RandomState | None,
        alpha: float,
        optimizer: Optimizer,
        moments: Sequence[Parameters],
        dropout: float = 0.0,
        order: Integers | None = None,
    ) -> None:
        self._optimizer, self._objective, self._activation = optimizer, objective, activation
        dtype = parameters.data.dtype
        offsets = objective.offsets(y)
        # Without sample weights, the offset of an epoch is the mean over the rows. With sample weights, each batch has
        # its own weighted mean, so the offset depends on the order of the rows.
        self._offset = 0.0 if offsets is None else float(offsets.mean())
        self._weighted_offsets = None if offsets is None or sample_weight is None else (offsets, sample_weight)
        self._batch_size = batch_size
        words = None if random_state is None else _words_of(random_state)
        self._drawn_from_by_kernels = None if words is None else random_state
        self._drawn_from_here = random_state if words is None and shuffle else None
        mean, square = [*(moment.data for moment in moments), None, None][:2]
        self._run = Run(
            parameters,
            rows_of(X, y, sample_weight, dtype),
            activation=activation,
            loss=objective.loss,
            rule=solvers.rule(optimizer, alpha),
            batch_size=batch_size,
            random=np.zeros(4, np.uint64) if words is None else words,
            shuffle=shuffle and words is not None,
            order=order,
            step=solvers.steps(optimizer),
            mean=mean,
            square=square,
            dropout=float(dropout),
            loss_scale=objective.scale(y.shape[1]),
            is_mean_of_batches=True,
        )
        self.losses: list[float] = []

    def fit(
        self,
        rates: list[float],
        patience: Patience,
        after_epoch: Callable[[float], bool] | None,
        verbose: bool | int = False,
    ) -> None:
        """Make one epoch for each of the learning rates, and append its loss to `losses`.

        Parameters
        ----------
        rates : list of float
        patience : Patience
            Ends the call early. It is up to date after the call, even if the call raises.
        after_epoch : callable or None
            Called with each epoch's loss; ends the call if it returns True. `patience` is then left to the callable.
        verbose : bool or int, default False
            Whether lines on stderr tell how much of a long epoch is done.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
        is_constant = rates.count(rates[0]) == len(rates)
        rate = rates[0] if is_constant else ByEpoch(tuple(rates), self._run.steps_per_epoch, self._run.step)
        with Display(self._progress(), LogLines() if verbose else None, is_brief_shown=False):
            if after_epoch is not None:
                self._fit_watched(rate, len(rates), after_epoch)
            elif self._weighted_offsets is not None or self._drawn_from_here is not None:
                self._fit_watched(rate, len(rates), lambda loss: _is_over_after(patience, loss))
            else:
                self._fit_unwatched(rate, len(rates), patience)

    def _progress(self) -> Callable[[bool], Line]:
        """Return a function that describes the present epoch, if no epoch has ended since its last call."""
        n_before = len(self.losses)

        def look(is_over: bool) -> Line:
            nonlocal n_before
            n, seen, has_news = self._run.plan.rows, self._run.rows_seen, len(self.losses) > n_before
            n_before = len(self.losses)
            if is_over or has_news:  # the line of an epoch stands on stdout
                return Line("")
            return Line(f"{seen % n:,} of {n:,} rows of the next epoch" if seen else "preparing the code")

        return look

    def _fit_unwatched(self, rate: LearningRate, epochs: int, patience: Patience) -> None:
        """Make epochs without Python between them; the compiled run counts the patience."""
        history = History()
        try:
            self._run.fit_until_stale(epochs, rate, patience, self._offset, history)
        finally:
            self.losses += [loss + self._offset for loss in history.loss]

    def _fit_watched(self, rate: LearningRate, epochs: int, after_epoch: Callable[[float], bool]) -> None:
        """Make epochs with Python between them."""

        def between(progress: Progress) -> bool:
            offset = self._offset if self._weighted_offsets is None else self._epoch_offset(*self._weighted_offsets)
            self.losses.append(progress.loss + offset)
            is_ended = after_epoch(self.losses[-1])
            if progress.epoch < epochs and not is_ended:
                self._shuffle_here()
            return is_ended

        self._shuffle_here()
        self._run.fit(epochs, rate, callback=between)

    def _shuffle_here(self) -> None:
        """Shuffle the rows in Python if the kernels do not know the bit generator of the stream."""
        if self._drawn_from_here is not None:
            order = self._run.order
            order[:] = order[self._drawn_from_here.permutation(len(order))]

    def _epoch_offset(self, offsets: Array, weights: Array) -> float:
        """Return the offset of an epoch in the present order of the rows.

        A batch counts by its number of rows, but a batch whose rows all weigh 0 counts nothing, as in the kernels.
        """
        order, total = self._run.order, 0.0
        for first in range(0, len(order), self._batch_size):
            batch = order[first : first + self._batch_size]
            if weights[batch].any():
                total += float(np.average(offsets[batch], weights=weights[batch])) * len(batch)
        return total / len(order)

    def predictor(self) -> Callable[[Array], Array]:
        """Return a function from rows to ŷ with the present parameters, before any activation of the output layer."""
        parameters = self._run.parameters
        predictor = Predictor(parameters.sizes.tolist(), parameters.data.dtype, self._activation)
        return lambda X: predictor.predict(parameters, X, None)

    def evaluator(self, X: Array, y: Array, sample_weight: Array | None) -> Callable[[], float]:
        """Return a function that computes the loss of held-out rows with the present parameters, without penalty."""
        rows = rows_of(X, y, sample_weight, self._run.parameters.data.dtype)
        loss_of_rows = evaluator(rows, self._run.parameters, self._activation, self._objective.loss)
        scale, offset = self._objective.scale(y.shape[1]), self._objective.mean_offset(y, sample_weight)
        return lambda: loss_of_rows() * scale + offset

    @property
    def parameters(self) -> Parameters:
        """The present parameters; the next epoch changes them in place."""
        return self._run.parameters

    def keep_best(self) -> None:
        """Keep the present parameters as the best."""
        self._run.keep_best()

    @property
    def best(self) -> Parameters | None:
        """The parameters that `keep_best` kept last; None before its first call."""
        return self._run.best

    @property
    def moments(self) -> tuple[Parameters, ...]:
        """The present moments of the optimizer; the next epoch changes them in place."""
        return self._run.moments

    def finish(self, is_stream_shared: bool) -> None:
        """Write the number of steps to the optimizer, and the new state to a random stream that others draw from."""
        solvers.write_steps(self._optimizer, self._run.step)
        random = self._drawn_from_by_kernels
        if random is not None and is_stream_shared:
            twister: Any = random.get_state(legacy=False)
            words = self._run.random[:MERSENNE_TWISTER].astype(np.uint32)
            twister["state"] = {"key": words, "pos": int(self._run.random[MERSENNE_TWISTER])}
            random.set_state(twister)


def _words_of(random_state: np.random.RandomState) -> RandomState | None:
    """Return the state of a stream as kernels take it; None if kernels do not know its bit generator."""
    try:
        return mersenne_twister(random_state)
    except TypeError:
        return None


def _is_over_after(patience: Patience, loss: float) -> bool:
    """Count an epoch's loss; return whether the patience is over."""
    patience.improves(loss)
    return patience.is_over
