"""What the classifier and the regressor share: parameters, checks, initial weights, L-BFGS, outputs.

Names, defaults, the order in which the random stream is drawn from, warnings and errors are scikit-learn's. This file
must not know how an epoch is computed, nor what the targets mean.
"""

from abc import abstractmethod
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastbp.runs.fitting import DivergenceError
from fastbp.sklearn import conversion, lbfgs
from fastbp.sklearn.descent import Array, outputs
from fastbp.sklearn.stochastic import STOCHASTIC_SOLVERS, HeldOut, StochasticFit

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class BaseMLP(StochasticFit, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
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
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "callback": [callable, None],
    }

    # --- what the two differ in -----------------------------------------------------------------------------

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return checked rows and targets as numbers."""

    @abstractmethod
    def _held_out_targets(self, y: Any) -> Array:
        """Return the targets of `validation_data` as numbers, checked against those of the fit."""

    @abstractmethod
    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        """Return the weights of rows with these targets."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return the name of what stands behind the last layer."""

    @abstractmethod
    def _activated(self, f: Array) -> Array:
        """Return the outputs behind their activation."""

    # --- a fit ----------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> "BaseMLP":
        """Fit the model to rows and targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Sparse rows are made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        validation_data : (X, y) or (X, y, sample_weight), default=None
            Rows whose loss is noted after each epoch, in `validation_loss_curve_`; with `early_stopping`, those that
            are scored, and none are held out of X. Not for "lbfgs".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is not as described, or parameters left the finite numbers.
        """
        return self._fit(X, y, sample_weight, incremental=False, validation_data=validation_data)

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation_data: Any = None) -> "BaseMLP":
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        is_stochastic = self.solver in STOCHASTIC_SOLVERS
        if not is_stochastic and (validation_data is not None or self.dropout > 0):
            raise ValueError("validation_data and dropout are for the solvers 'sgd' and 'adam'")
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        X = X.toarray() if issparse(X) else X
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        if not first_pass:
            self._check_shape([X.shape[1], *hidden, y.shape[1]])
        self.n_outputs_ = y.shape[1]
        sample_weight = self._class_weighted(y, sample_weight)
        if sample_weight is not None and not (np.isfinite(sample_weight).all() and sample_weight.min() >= 0):
            raise ValueError("the rows' weights must be finite and not negative")
        held_out = None if validation_data is None else self._check_validation_data(validation_data, X.dtype)
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._initialize([X.shape[1], *hidden, self.n_outputs_], X.dtype)
        elif is_stochastic and not hasattr(self, "loss_curve_"):  # after "lbfgs"
            self._forget_epochs()
        try:
            if is_stochastic:
                self._fit_stochastic(X, y, sample_weight, incremental, held_out)
            else:
                self._fit_lbfgs(X, y, sample_weight)
        except DivergenceError as error:
            raise ValueError(NON_FINITE) from error
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NON_FINITE)
        return self

    def _check_shape(self, units: list[int]) -> None:
        """Raise unless a network of these widths, with this output, can go on from what was fitted before."""
        fitted = [self.coefs_[0].shape[0], *(matrix.shape[1] for matrix in self.coefs_)]
        if units[-1] != fitted[-1]:
            raise ValueError(f"y has {units[-1]} outputs, and the model was fitted with {fitted[-1]}")
        if units != fitted:
            raise ValueError(f"hidden_layer_sizes is {units[1:-1]}, and the model was fitted with {fitted[1:-1]}")
        if self._output_activation() != self.out_activation_:
            raise ValueError(f"loss={self.loss!r} does not go on from a model fitted with another link")

    def _check_validation_data(self, data: Any, dtype: npt.DTypeLike) -> HeldOut:
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
        X = validate_data(self, data[0], accept_sparse=["csr", "csc"], dtype=dtype, reset=False)
        X = X.toarray() if issparse(X) else X
        y = self._held_out_targets(data[1])
        check_consistent_length(X, y)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"validation_data has {y.shape[1]} outputs, y has {self.n_outputs_}")
        weight = _check_sample_weight(data[2], X) if len(data) == 3 and data[2] is not None else None
        return HeldOut(X, y, weight)

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
        self._best_coefs = [array.copy() for array in self.coefs_]
        self._best_intercepts = [array.copy() for array in self.intercepts_]
        if self.solver in STOCHASTIC_SOLVERS:
            self._forget_epochs()

    def _fit_lbfgs(self, X: Array, y: Array, sample_weight: Array | None) -> None:
        value = self._whole_table(X, y, sample_weight)
        x = lbfgs.pack(self.coefs_, self.intercepts_)
        self.n_iter_ = 0
        callback = None if self.callback is None else self._after_iteration
        found = lbfgs.minimize(value, x, self.max_iter, self.max_fun, self.tol, self.verbose, callback)
        self.n_iter_, self.loss_ = found.n_iter, found.loss
        self._unpack(found.x)

    def _whole_table(self, X: Array, y: Array, sample_weight: Array | None) -> lbfgs.WholeTable:
        sizes = [self.coefs_[0].shape[0], *(matrix.shape[1] for matrix in self.coefs_)]
        self._coef_indptr, self._intercept_indptr = lbfgs.places(sizes)
        objective = self._objective(np.float64)
        return lbfgs.WholeTable(sizes, self.activation, objective, X, y, sample_weight, self.alpha)

    def _after_iteration(self, x: Array, loss: float) -> bool:
        self._unpack(x)
        self.loss_ = loss
        self.n_iter_ += 1
        return self._is_stopped_by_callback()

    def _unpack(self, packed: Array) -> None:
        """Take coefficients and intercepts from one vector."""
        self.coefs_, self.intercepts_ = lbfgs.unpack(packed, self._coef_indptr, self._intercept_indptr)

    def _loss_grad_lbfgs(
        self, packed: Array, X: Array, y: Array, sample_weight: Array | None, *_buffers: Any
    ) -> tuple[float, Array]:
        """Return the loss and its gradient at one vector of parameters; scikit-learn's tests call it."""
        self._unpack(packed)
        return self._whole_table(X, y, sample_weight)(packed)

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
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        X = X.toarray() if issparse(X) else X
        dtype = np.result_type(X, self.coefs_[0])
        coefs, intercepts = ([array.astype(dtype, copy=False) for array in a] for a in (self.coefs_, self.intercepts_))
        return self._activated(outputs(coefs, intercepts, self.activation, X))

    def to_sklearn(self) -> Any:
        """Return the fitted model as scikit-learn's own, which shares nothing with this one.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            With the same weights, the same history and the same state of the optimizer.

        Raises
        ------
        ValueError
            If scikit-learn's has no such loss.
        NotFittedError
            If the model has not been fitted.
        """
        check_is_fitted(self)
        return conversion.to_sklearn(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
