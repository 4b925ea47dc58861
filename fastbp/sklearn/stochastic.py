"""The course of a stochastic fit: epochs, what is noted of each, when the rate falls, when it ends.

This file must not know how an epoch is computed, nor what the targets mean.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from fastbp.runs.fitting import DivergenceError
from fastbp.sklearn import convergence as advice
from fastbp.sklearn.descent import Array, Descent, Objective, Stopping
from fastbp.sklearn.solvers import AdamOptimizer, Optimizer, SGDOptimizer

STOCHASTIC_SOLVERS = ("sgd", "adam")


class HeldOut(NamedTuple):
    """Rows that a fit does not learn from."""

    X: Array
    y: Array  # targets as numbers, (n, outputs)
    sample_weight: Array | None


class StochasticFit(ABC):
    """The part of an estimator that makes epochs; its parameters are the estimator's."""

    coefs_: list[Array]
    intercepts_: list[Array]
    loss_: float
    loss_curve_: list[float]
    best_loss_: Any  # None, and the next two not, with early stopping
    validation_scores_: Any
    best_validation_score_: Any
    validation_loss_curve_: Any  # None unless rows are held out
    n_iter_: int
    t_: int
    _best_coefs: list[Array]
    _best_intercepts: list[Array]
    _no_improvement_count: int
    _random_state: np.random.RandomState

    activation: str
    alpha: float
    batch_size: Any
    beta_1: float
    beta_2: float
    callback: Callable[[Any], object] | None
    dropout: float
    early_stopping: bool
    epsilon: float
    learning_rate: str
    learning_rate_init: float
    max_iter: int
    momentum: float
    n_iter_no_change: float
    nesterovs_momentum: bool
    power_t: float
    scoring: Any
    shuffle: bool
    solver: str
    tol: float
    validation_fraction: float
    verbose: Any

    @abstractmethod
    def _objective(self, dtype: npt.DTypeLike) -> Objective:
        """Return what a fit lowers."""

    @abstractmethod
    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return what gives the default score of outputs before their activation, against targets as numbers."""

    @abstractmethod
    def _labels(self, y: Array) -> Array:
        """Return targets as `predict` gives them."""

    @abstractmethod
    def _stratify(self, y: Array) -> Array | None:
        """Return by what rows are stratified when some are held out."""

    # --- before the first epoch -----------------------------------------------------------------------------

    def _forget_epochs(self) -> None:
        """Begin the history anew."""
        self.loss_curve_ = []
        self.validation_loss_curve_ = None
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _new_optimizer(self) -> Optimizer:
        params = [*self.coefs_, *self.intercepts_]
        if self.solver == "adam":
            return AdamOptimizer(params, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        rate = self.learning_rate_init, self.learning_rate
        return SGDOptimizer(params, *rate, self.momentum, self.nesterovs_momentum, self.power_t)

    def _split(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[HeldOut, HeldOut]:
        """Return the rows to learn from, and those held out."""
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=self._stratify(y)
        )
        learning, held_out = (HeldOut(*[*half, None][:3]) for half in (parts[::2], parts[1::2]))
        if len(held_out.X) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return learning, held_out

    def _rows_of_a_batch(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return int(np.clip(self.batch_size, 1, n))

    # --- the epochs -----------------------------------------------------------------------------------------

    def _fit_stochastic(
        self, X: Array, y: Array, sample_weight: Array | None, incremental: bool, held_out: HeldOut | None
    ) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.early_stopping and held_out is None:
            (X, y, sample_weight), held_out = self._split(X, y, sample_weight)
        descent = Descent(
            self.coefs_,
            self.intercepts_,
            self.activation,
            self._objective(X.dtype),
            X,
            y,
            sample_weight,
            self._rows_of_a_batch(len(X)),
            self.shuffle,
            self._random_state,
            self.alpha,
            self._optimizer,
            self.dropout,
        )
        self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        try:
            self._run(descent, len(X), epochs, held_out)
        except KeyboardInterrupt:
            self._is_stopping = True
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            self.coefs_, self.intercepts_ = descent.parameters()
            descent.finish()
            if descent.best is not None:
                self._best_coefs, self._best_intercepts = descent.best
        if not incremental and self.n_iter_ == self.max_iter and not self._is_stopping:
            hints = advice.on_convergence(X, self.coefs_, self.intercepts_, self.activation, self.loss_curve_)
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                f"converged yet. {hints}",
                ConvergenceWarning,
                stacklevel=4,
            )
        if self.early_stopping:
            self.coefs_ = [array.copy() for array in self._best_coefs]
            self.intercepts_ = [array.copy() for array in self._best_intercepts]

    def _run(self, descent: Descent, n: int, epochs: int, held_out: HeldOut | None) -> None:
        """Make the epochs, until the loss or the validation score stands still for too long."""
        is_watched = held_out is not None or self.verbose or self.callback is not None
        after_epoch = self._after_epoch(descent, n, held_out) if is_watched else None
        self._is_stopping = False
        while self.n_iter_ < epochs and not self._is_stopping:
            rates, before = self._rates(n, epochs - self.n_iter_), len(descent.losses)
            best = np.inf if self.best_loss_ is None else self.best_loss_
            stopping = Stopping(self.tol, self.n_iter_no_change, best, self._no_improvement_count)
            try:
                descent.run(rates, stopping, after_epoch)
            except DivergenceError:
                if not self.early_stopping:
                    raise
                self._note_lost_epochs(epochs - self.n_iter_, n)
            finally:
                if after_epoch is None:
                    self._note(descent.losses[before:], n)
                    self.best_loss_, self._no_improvement_count = stopping.best_loss, stopping.count
            if not self._is_stopping and self._no_improvement_count > self.n_iter_no_change:
                self._is_stopping = self._optimizer.trigger_stopping(self._what_stands_still(), self.verbose)
                if not self._is_stopping:
                    self._no_improvement_count = 0

    def _rates(self, n: int, epochs: int) -> list[float]:
        """Return the learning rate of each of the epochs to come."""
        optimizer = self._optimizer  # which may have other settings than the estimator has by now
        first, rate = float(optimizer.learning_rate_init), float(optimizer.learning_rate)
        if not isinstance(optimizer, SGDOptimizer):
            return [first] * epochs
        if optimizer.lr_schedule != "invscaling":
            return [rate] * epochs
        seen = (self.t_ + epoch * n for epoch in range(1, epochs))
        return [rate, *(first / (samples + 1) ** optimizer.power_t for samples in seen)]

    def _what_stands_still(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."

    # --- what is noted --------------------------------------------------------------------------------------

    def _note(self, losses: list[float], n: int) -> None:
        """Take note of epochs that have been made."""
        self.n_iter_ += len(losses)
        self.t_ += n * len(losses)
        self.loss_curve_ += losses
        if losses:
            self.loss_ = losses[-1]
            self._optimizer.iteration_ends(self.t_)

    def _note_lost_epochs(self, epochs: int, n: int) -> None:
        """Take note of epochs that parameters without finite numbers would make: the best ones are kept."""
        lost = [np.nan] * epochs
        self._note(lost, n)
        self.validation_scores_ += lost
        self.validation_loss_curve_ += lost

    def _after_epoch(self, descent: Descent, n: int, held_out: HeldOut | None) -> Callable[[float], bool]:
        """Return what is done after each epoch, where Python is needed; it returns whether to end the run."""
        note_held_out = None if held_out is None else self._noting_held_out(descent, held_out)

        def note(loss: float) -> bool:
            self._note([loss], n)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
            if note_held_out is not None:
                note_held_out()
            if not self.early_stopping:
                stopping = Stopping(self.tol, self.n_iter_no_change, self.best_loss_, self._no_improvement_count)
                stopping.note(loss)
                self.best_loss_, self._no_improvement_count = stopping.best_loss, stopping.count
            if self.callback is not None:
                self.coefs_, self.intercepts_ = descent.parameters()
                self._is_stopping = self._is_stopped_by_callback()
            return bool(self._is_stopping or self._no_improvement_count > self.n_iter_no_change)

        return note

    def _is_stopped_by_callback(self) -> bool:
        answer = None if self.callback is None else self.callback(self)
        return isinstance(answer, bool | np.bool_) and bool(answer)

    def _noting_held_out(self, descent: Descent, held_out: HeldOut) -> Callable[[], None]:
        """Return what notes the loss of rows held out, and with early stopping their score."""
        if self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        loss = descent.evaluator(*held_out)
        score = self._held_out_score(descent, held_out) if self.early_stopping else None

        def note() -> None:
            self.validation_loss_curve_.append(loss())
            if score is not None:
                self._note_score(score(), descent)

        return note

    def _held_out_score(self, descent: Descent, held_out: HeldOut) -> Callable[[], float]:
        """Return what scores the rows held out with the present parameters; NaN where outputs are not finite."""
        if self.scoring is None:
            score = self._scorer(held_out.y, held_out.sample_weight)

            def by_outputs() -> float:
                f = descent.outputs(held_out.X)
                return score(f) if np.isfinite(f).all() else np.nan

            return by_outputs
        scorer, labels = check_scoring(self, self.scoring), self._labels(held_out.y)
        weight = {} if held_out.sample_weight is None else {"sample_weight": held_out.sample_weight}

        def by_estimator() -> float:
            self.coefs_, self.intercepts_ = descent.parameters()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "X does not have valid feature names")  # held-out rows are an array
                return float(scorer(self, held_out.X, labels, **weight))

        return by_estimator

    def _note_score(self, score: float, descent: Descent) -> None:
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        self._no_improvement_count = (
            self._no_improvement_count + 1 if score < self.best_validation_score_ + self.tol else 0
        )
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
            descent.keep_best()
