"""The course of a fit by "sgd" or "adam": its epochs, its history, its learning rates, and when it ends.

This file must not know how an epoch is computed, nor what the targets mean.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from fastbp._typing import Array, BatchSize, Integers, RandomState, Scoring
from fastbp.kernels.layout import Parameters
from fastbp.results import DivergenceError, Progress
from fastbp.runs.run import Patience, is_true
from fastbp.sklearn import convergence
from fastbp.sklearn.descent import Descent, Objective, first_order
from fastbp.sklearn.learned import Learned
from fastbp.sklearn.packed import arrays_of, parameters_of
from fastbp.sklearn.solvers import AdamOptimizer, Optimizer, SGDOptimizer

Callback = Callable[[Progress], object] | None
Solver = Literal["lbfgs", "sgd", "adam"]
RateSchedule = Literal["constant", "invscaling", "adaptive"]
STOCHASTIC_SOLVERS: tuple[Solver, ...] = ("sgd", "adam")
_FEW_ROWS = 1000  # to hand the random stream to compiled code and back takes as long as drawing their order here


class CheckedRows(NamedTuple):
    """Rows, their targets and their weights, ready for a network."""

    X: Array  # (n, D)
    y: Array  # (n, outputs)
    sample_weight: Array | None = None  # (n,); None where all weights are 1


class StochasticFit(Learned, ABC):
    """The part of an estimator that makes epochs; its attributes are those of the estimator."""

    loss_: float
    loss_curve_: list[float]
    best_loss_: Any  # None with early stopping
    validation_scores_: Any  # None without early stopping
    best_validation_score_: Any  # None without early stopping
    validation_loss_curve_: Any  # None without held-out rows
    n_iter_: int
    t_: int
    _best_coefs: list[Array]
    _best_intercepts: list[Array]
    _no_improvement_count: int
    _random_state: np.random.RandomState

    alpha: float
    batch_size: BatchSize
    beta_1: float
    beta_2: float
    callback: Callback
    dropout: float
    early_stopping: bool
    epsilon: float
    learning_rate: RateSchedule
    learning_rate_init: float
    max_iter: int
    momentum: float
    n_iter_no_change: float
    nesterovs_momentum: bool
    power_t: float
    random_state: RandomState
    scoring: Scoring
    shuffle: bool
    solver: Solver
    tol: float
    validation_fraction: float
    verbose: bool | int

    @abstractmethod
    def _objective(self, dtype: npt.DTypeLike) -> Objective:
        """Return the loss that a fit in this dtype minimises, without the penalty."""

    @abstractmethod
    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return a function from ŷ to the default score against these targets."""

    @abstractmethod
    def _labels(self, y: Array) -> Array:
        """Return targets in the form in which `predict` returns them."""

    @abstractmethod
    def _stratify(self, y: Array) -> Array | None:
        """Return the class of each row for a stratified split, or None for a split without strata."""

    # --- before the first epoch -----------------------------------------------------------------------------

    def _forget_epochs(self) -> None:
        """Start a new history."""
        self.loss_curve_ = []
        self.validation_loss_curve_ = None
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _new_optimizer(self, parameters: Parameters) -> Optimizer:
        sizes, dtype = parameters.sizes.tolist(), parameters.data.dtype
        params = [np.empty(shape, dtype) for shape in (*pairwise(sizes), *sizes[1:])]  # only their shapes count
        if self.solver == "adam":
            return AdamOptimizer(params, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        rate = self.learning_rate_init, self.learning_rate
        return SGDOptimizer(params, *rate, self.momentum, self.nesterovs_momentum, self.power_t)

    def _split(self, rows: CheckedRows) -> tuple[CheckedRows, CheckedRows]:
        """Return the training rows and the held-out rows."""
        arrays = [array for array in rows if array is not None]
        parts = train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(rows.y),
        )
        training, held_out = CheckedRows(*parts[::2]), CheckedRows(*parts[1::2])
        if len(held_out.X) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return training, held_out

    def _batch_size_for(self, n: int) -> int:
        """Return the batch size for n rows."""
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return int(np.clip(self.batch_size, 1, n))

    # --- the epochs -----------------------------------------------------------------------------------------

    def _fit_stochastic(
        self, rows: CheckedRows, incremental: bool, held_out: CheckedRows | None, order: Integers | None
    ) -> None:
        """Make the epochs of a fit. An order of the rows is that of the only epoch of a call of `partial_fit`."""
        current = self._current()
        parameters = current.parameters
        has_moments = incremental and hasattr(self, "_optimizer")
        if not has_moments:
            self._optimizer, self._moments = self._new_optimizer(parameters), None
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.early_stopping and held_out is None:
            rows, held_out = self._split(rows)
        n = len(rows.X)
        descent = Descent(
            parameters,
            current.activation,
            self._objective(rows.X.dtype),
            *rows,
            self._batch_size_for(n),
            self.shuffle,
            self._random_state if order is None else None,
            self.alpha,
            self._optimizer,
            self._current_moments(parameters) if has_moments else (),
            self.dropout,
            order,
        )
        self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        try:
            self._run(descent, n, epochs, held_out)
        except KeyboardInterrupt:
            self._is_stopping = True
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            self._take_over(descent.parameters)
            self._moments = descent.moments
            descent.finish(is_stream_shared=type(self.random_state) is not int)
            if descent.best is not None:
                self._best_coefs, self._best_intercepts = arrays_of(descent.best)
        if not incremental and self.n_iter_ == self.max_iter and not self._is_stopping:
            arrays = arrays_of(descent.parameters)
            hints = convergence.advice(rows.X, *arrays, self.activation, self.loss_curve_)
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                f"converged yet. {hints}",
                ConvergenceWarning,
                stacklevel=4,
            )
        if self.early_stopping:
            self._take_over(parameters_of(self._best_coefs, self._best_intercepts))

    def _order_of_only_epoch(self, n: int) -> Integers | None:
        """Return the order of n rows for a single epoch if drawing it here takes less time than in compiled code."""
        if not self.shuffle or n > _FEW_ROWS or self.dropout > 0:
            return None
        seed = self.random_state
        return first_order(seed, n) if type(seed) is int else check_random_state(seed).permutation(n)

    def _run(self, descent: Descent, n: int, epochs: int, held_out: CheckedRows | None) -> None:
        """Make up to `epochs` epochs of n rows; end earlier for lack of improvement or by the callback."""
        patience = self._new_patience()
        is_watched = held_out is not None or self.verbose or self.callback is not None
        after_epoch = self._after_epoch(descent, n, held_out, patience) if is_watched else None
        self._is_stopping = False
        while self.n_iter_ < epochs and not self._is_stopping:
            first = len(descent.losses)
            try:
                descent.fit(self._rates(n, epochs - self.n_iter_), patience, after_epoch, self.verbose)
            except DivergenceError:
                if not self.early_stopping:
                    raise
                self._note_lost_epochs(epochs - self.n_iter_, n)
            finally:
                if after_epoch is None:
                    self._note(descent.losses[first:], n)
                    self._note_patience(patience)
            if not self._is_stopping and self._no_improvement_count > self.n_iter_no_change:
                self._is_stopping = self._optimizer.trigger_stopping(self._reason_to_stop(), self.verbose)
                if not self._is_stopping:  # "adaptive" has lowered the learning rate
                    self._no_improvement_count = patience.count = 0

    def _rates(self, n: int, epochs: int) -> list[float]:
        """Return the learning rate of each of the next epochs, by the settings with which the optimizer was made."""
        optimizer = self._optimizer
        first, rate = float(optimizer.learning_rate_init), float(optimizer.learning_rate)
        if not isinstance(optimizer, SGDOptimizer):
            return [first] * epochs
        if optimizer.lr_schedule != "invscaling":
            return [rate] * epochs
        seen = (self.t_ + epoch * n for epoch in range(1, epochs))
        return [rate, *(first / (samples + 1) ** optimizer.power_t for samples in seen)]

    def _new_patience(self) -> Patience:
        """Return the patience for the training loss, with the epochs of earlier calls that did not improve."""
        best = np.inf if self.best_loss_ is None else self.best_loss_
        return Patience(self.n_iter_no_change + 1, self.tol, best, self._no_improvement_count)

    def _reason_to_stop(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."

    # --- the history ----------------------------------------------------------------------------------------

    def _note(self, losses: list[float], n: int) -> None:
        """Add epochs with these losses to the history."""
        self.n_iter_ += len(losses)
        self.t_ += n * len(losses)
        self.loss_curve_.extend(np.asarray(losses))  # as floats of NumPy
        if losses:
            self.loss_ = self.loss_curve_[-1]
            self._optimizer.iteration_ends(self.t_)

    def _note_patience(self, patience: Patience) -> None:
        self.best_loss_, self._no_improvement_count = np.float64(patience.best), patience.count

    def _note_lost_epochs(self, epochs: int, n: int) -> None:
        """Add the epochs after a divergence to the history as NaN. scikit-learn makes them with parameters of NaN."""
        lost = [np.nan] * epochs
        self._note(lost, n)
        self.validation_scores_ += lost
        self.validation_loss_curve_ += lost

    def _after_epoch(
        self, descent: Descent, n: int, held_out: CheckedRows | None, patience: Patience
    ) -> Callable[[float], bool]:
        """Return the function that gets the loss of each epoch and returns whether to end the epochs."""
        note_held_out = None if held_out is None else self._noting_held_out(descent, held_out)

        def note(loss: float) -> bool:
            self._note([loss], n)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
            validation_loss = np.nan if note_held_out is None else note_held_out()
            if not self.early_stopping:
                patience.improves(loss)
                self._note_patience(patience)
            if self.callback is not None:
                self._take_over(descent.parameters)
                self._is_stopping = self._is_stopped_by_callback(validation_loss)
            return bool(self._is_stopping or self._no_improvement_count > self.n_iter_no_change)

        return note

    def _is_stopped_by_callback(self, validation_loss: float = np.nan) -> bool:
        """Call the callback, if there is one; return whether it returned True."""
        progress = Progress(self.n_iter_, self.loss_, validation_loss, model=self)
        return self.callback is not None and is_true(self.callback(progress))

    # --- held-out rows --------------------------------------------------------------------------------------

    def _noting_held_out(self, descent: Descent, held_out: CheckedRows) -> Callable[[], float]:
        """Return a function that notes and returns the loss of held-out rows, and notes their score if it is needed."""
        if self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        loss = descent.evaluator(*held_out)
        score = self._held_out_score(descent, held_out) if self.early_stopping else None

        def note() -> float:
            self.validation_loss_curve_.append(loss())
            if score is not None:
                self._note_score(score(), descent)
            return float(self.validation_loss_curve_[-1])

        return note

    def _held_out_score(self, descent: Descent, held_out: CheckedRows) -> Callable[[], float]:
        """Return a function that scores held-out rows with the present parameters.

        The default score is NaN if an output is not finite.
        """
        if self.scoring is None:
            score = self._scorer(held_out.y, held_out.sample_weight)
            outputs = descent.predictor()

            def by_outputs() -> float:
                f = outputs(held_out.X)
                return score(f) if np.isfinite(f).all() else np.nan

            return by_outputs
        scorer, labels = check_scoring(self, self.scoring), self._labels(held_out.y)
        weight = {} if held_out.sample_weight is None else {"sample_weight": held_out.sample_weight}

        def by_estimator() -> float:
            self._take_over(descent.parameters)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "X does not have valid feature names")  # `held_out.X` is an array
                return float(scorer(self, held_out.X, labels, **weight))

        return by_estimator

    def _note_score(self, score: float, descent: Descent) -> None:
        """Add a score to the history; keep the parameters if the score is the best so far."""
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        self._no_improvement_count = (
            self._no_improvement_count + 1 if score < self.best_validation_score_ + self.tol else 0
        )
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
            descent.keep_best()
