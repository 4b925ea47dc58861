"""What the classifier and the regressor share: the course of a fit, as scikit-learn lays it down.

Names, defaults, the order in which the random stream is drawn from, warnings and errors are scikit-learn's. This file
must not know how an epoch is computed, nor what the targets mean.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastbp.fitting import DivergenceError
from fastbp.sklearn import lbfgs
from fastbp.sklearn.descent import Array, Descent, Objective, Stopping, outputs
from fastbp.sklearn.optimizers import SMALLEST_RATE, AdamOptimizer, SGDOptimizer

STOCHASTIC_SOLVERS = ("sgd", "adam")
NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class BaseMLP(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron behind scikit-learn's interface."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
    }

    loss_curve_: list[float]
    best_loss_: Any  # None, and the next two not, with early stopping
    validation_scores_: Any
    best_validation_score_: Any
    _no_improvement_count: int

    # --- what the two differ in -----------------------------------------------------------------------------

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return checked rows and targets as numbers."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return the name of what stands behind the last layer."""

    @abstractmethod
    def _objective(self, dtype: npt.DTypeLike) -> Objective:
        """Return what a fit lowers."""

    @abstractmethod
    def _activated(self, f: Array) -> Array:
        """Return the outputs behind their activation."""

    @abstractmethod
    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return what gives the score of outputs before their activation, against targets as numbers."""

    @abstractmethod
    def _stratify(self, y: Array) -> Array | None:
        """Return by what rows are stratified when some are held out."""

    # --- a fit ----------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "BaseMLP":
        """Fit the model to rows and targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Sparse rows are made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is not as described, or parameters left the finite numbers.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> "BaseMLP":
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        X = X.toarray() if issparse(X) else X
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._initialize([X.shape[1], *hidden, self.n_outputs_], X.dtype)
        try:
            if self.solver in STOCHASTIC_SOLVERS:
                self._fit_stochastic(X, y, sample_weight, incremental)
            else:
                self._fit_lbfgs(X, y, sample_weight)
        except DivergenceError as error:
            raise ValueError(NON_FINITE) from error
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NON_FINITE)
        return self

    def _initialize(self, units: list[int], dtype: npt.DTypeLike) -> None:
        """Draw the parameters, layer by layer, and forget earlier fits."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(units)
        self.out_activation_ = self._output_activation()
        self.coefs_, self.intercepts_ = [], []
        for inputs, size in pairwise(units):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (inputs + size))
            self.coefs_.append(self._random_state.uniform(-bound, bound, (inputs, size)).astype(dtype, copy=False))
            self.intercepts_.append(self._random_state.uniform(-bound, bound, size).astype(dtype, copy=False))
        self._keep_best(self.coefs_, self.intercepts_)
        if self.solver in STOCHASTIC_SOLVERS:
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _keep_best(self, coefs: list[Array], intercepts: list[Array]) -> None:
        self._best_coefs = [array.copy() for array in coefs]
        self._best_intercepts = [array.copy() for array in intercepts]

    def _fit_lbfgs(self, X: Array, y: Array, sample_weight: Array | None) -> None:
        objective = self._objective(np.float64)
        sizes = [self.coefs_[0].shape[0], *(matrix.shape[1] for matrix in self.coefs_)]
        self._coef_indptr, self._intercept_indptr = lbfgs.places(sizes)
        value = lbfgs.WholeTable(sizes, self.activation, objective, X, y, sample_weight, self.alpha)
        x = lbfgs.pack(self.coefs_, self.intercepts_)
        found = lbfgs.minimize(value, x, self.max_iter, self.max_fun, self.tol, self.verbose)
        self.n_iter_, self.loss_ = found.n_iter, found.loss
        self._unpack(found.x)

    def _unpack(self, packed: Array) -> None:
        """Take coefficients and intercepts from one vector."""
        self.coefs_, self.intercepts_ = lbfgs.unpack(packed, self._coef_indptr, self._intercept_indptr)

    def _loss_grad_lbfgs(
        self, packed: Array, X: Array, y: Array, sample_weight: Array | None, *_buffers: Any
    ) -> tuple[float, Array]:
        """Return the loss and its gradient at one vector of parameters; scikit-learn's tests call it."""
        self._unpack(packed)
        sizes = [self.coefs_[0].shape[0], *(matrix.shape[1] for matrix in self.coefs_)]
        objective = self._objective(np.float64)
        return lbfgs.WholeTable(sizes, self.activation, objective, X, y, sample_weight, self.alpha)(packed)

    # --- a stochastic fit -----------------------------------------------------------------------------------

    def _fit_stochastic(self, X: Array, y: Array, sample_weight: Array | None, incremental: bool) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        held_out = None
        if self.early_stopping:
            X, y, sample_weight, held_out = self._split(X, y, sample_weight)
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
        )
        self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        try:
            self._run(descent, len(X), epochs, held_out)
            if not incremental and self.n_iter_ == self.max_iter and not self._is_stopping:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            self.coefs_, self.intercepts_ = descent.parameters()
            descent.finish()
            if descent.best is not None:
                self._best_coefs, self._best_intercepts = descent.best
        if self.early_stopping:
            self.coefs_ = [array.copy() for array in self._best_coefs]
            self.intercepts_ = [array.copy() for array in self._best_intercepts]

    def _new_optimizer(self) -> SGDOptimizer | AdamOptimizer:
        params = [*self.coefs_, *self.intercepts_]
        if self.solver == "sgd":
            return SGDOptimizer(params, self.learning_rate_init, self.momentum, self.nesterovs_momentum)
        return AdamOptimizer(params, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)

    def _split(
        self, X: Array, y: Array, sample_weight: Array | None
    ) -> tuple[Array, Array, Array | None, tuple[Array, Array, Array | None]]:
        """Return the rows to learn from, and those held out."""
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=self._stratify(y)
        )
        learning, held_out = [*parts[::2], None][:3], [*parts[1::2], None][:3]
        if len(held_out[0]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return learning[0], learning[1], learning[2], (held_out[0], held_out[1], held_out[2])

    def _rows_of_a_batch(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return int(np.clip(self.batch_size, 1, n))

    def _run(self, descent: Descent, n: int, epochs: int, held_out: tuple[Array, Array, Array | None] | None) -> None:
        """Make the epochs, until the loss or the validation score stands still for too long."""
        after_epoch = self._after_epoch(descent, n, held_out) if held_out or self.verbose else None
        self._is_stopping = False
        while self.n_iter_ < epochs and not self._is_stopping:
            rates, before = self._rates(n, epochs - self.n_iter_), len(descent.losses)
            best = np.inf if self.best_loss_ is None else self.best_loss_
            stopping = Stopping(self.tol, self.n_iter_no_change, best, self._no_improvement_count)
            try:
                descent.run(rates, stopping, after_epoch)
            except DivergenceError:
                if held_out is None:
                    raise
                # The best parameters are finite: only the epochs to come are lost.
                self.validation_scores_ += [np.nan] * (epochs - self.n_iter_)
                self._note([np.nan] * (epochs - self.n_iter_), n)
            finally:
                if after_epoch is None:
                    self._note(descent.losses[before:], n)
                    self.best_loss_, self._no_improvement_count = stopping.best_loss, stopping.count
            if self._no_improvement_count > self.n_iter_no_change:
                self._is_stopping = self._stops_or_slows()
                if not self._is_stopping:
                    self._no_improvement_count = 0

    def _rates(self, n: int, epochs: int) -> list[float]:
        """Return the learning rate of each of the epochs to come."""
        if self.solver == "adam":
            return [float(self.learning_rate_init)] * epochs
        rate = self._optimizer.learning_rate
        if self.learning_rate != "invscaling":
            return [rate] * epochs
        return [rate, *(self._inverse_scaling(self.t_ + epoch * n) for epoch in range(1, epochs))]

    def _inverse_scaling(self, samples: int) -> float:
        return float(self.learning_rate_init / (samples + 1) ** self.power_t)

    def _note(self, losses: list[float], n: int) -> None:
        """Take note of epochs that have been made."""
        self.n_iter_ += len(losses)
        self.t_ += n * len(losses)
        self.loss_curve_ += losses
        if losses:
            self.loss_ = losses[-1]
        if self.solver == "sgd" and self.learning_rate == "invscaling" and losses:
            self._optimizer.learning_rate = self._inverse_scaling(self.t_)

    def _after_epoch(
        self, descent: Descent, n: int, held_out: tuple[Array, Array, Array | None] | None
    ) -> Callable[[float], bool]:
        """Return what is done after each epoch, where Python is needed; it returns whether patience has ended."""
        score = None if held_out is None else self._scorer(*held_out[1:])

        def note(loss: float) -> bool:
            self._note([loss], n)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
            if held_out is None or score is None:
                stopping = Stopping(self.tol, self.n_iter_no_change, self.best_loss_, self._no_improvement_count)
                stopping.note(loss)
                self.best_loss_, self._no_improvement_count = stopping.best_loss, stopping.count
            else:
                f = descent.outputs(held_out[0])
                self._note_score(score(f) if np.isfinite(f).all() else np.nan, descent)
            return bool(self._no_improvement_count > self.n_iter_no_change)

        return note

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

    def _stops_or_slows(self) -> bool:
        """Return whether to stop, now that nothing has improved; if not, the learning rate has been lowered."""
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        is_adaptive = self.solver == "sgd" and self.learning_rate == "adaptive"
        stops = not is_adaptive or self._optimizer.learning_rate <= SMALLEST_RATE
        if not stops:
            self._optimizer.learning_rate /= 5.0
            what_then = f"Setting learning rate to {self._optimizer.learning_rate:f}"
        else:
            what_then = "Learning rate too small. Stopping." if is_adaptive else "Stopping."
        if self.verbose:
            print(f"{message} {what_then}")
        return stops

    # --- after a fit ----------------------------------------------------------------------------------------

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _outputs(self, X: Any) -> Array:
        """Return the outputs for checked rows, behind their activation."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        X = X.toarray() if issparse(X) else X
        return self._activated(outputs(self.coefs_, self.intercepts_, self.activation, X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
