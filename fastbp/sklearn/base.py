"""The common base of the classifier and the regressor: checks of arguments, initial parameters, L-BFGS, outputs.

Names, defaults, warnings, errors and the order of draws from the random stream are those of scikit-learn. This file
must not know how an epoch is computed, nor what the targets mean.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from fastbp import activations, losses
from fastbp._typing import Array, HeldOut, MaybeArray, Self
from fastbp.export import c_header
from fastbp.export.model import write_network
from fastbp.export.parts import Layers, Outputs
from fastbp.results import DivergenceError
from fastbp.sklearn import conversion, lbfgs
from fastbp.sklearn._compat import Interval, Options, StrOptions, check_sample_weight, fit_context
from fastbp.sklearn.inputs import DOUBLE, SINGLE, CheckedInputs
from fastbp.sklearn.packed import layer_sizes, parameters_of
from fastbp.sklearn.stochastic import STOCHASTIC_SOLVERS, CheckedRows, RateSchedule, Solver, StochasticFit

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class BaseMLP(CheckedInputs, StochasticFit, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron with scikit-learn's interface, for any kind of targets."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(activations.NAMES)), activations.Activation, list, tuple],
        "solver": [StrOptions(set(get_args(Solver)))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(get_args(RateSchedule)))],
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

    # --- what the classifier and the regressor define -------------------------------------------------------

    @abstractmethod
    def _targets(self, y: Array, incremental: bool) -> Array:
        """Return the targets as numbers, (n,) or (n, outputs), for a `y` that scikit-learn has checked."""

    @abstractmethod
    def _held_out_targets(self, y: Any) -> Array:
        """Return the targets of `validation_data` as numbers, (n, outputs), checked against the targets of the fit."""

    @abstractmethod
    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        """Return the weights of rows with these targets; None if all weights are 1."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return the name of the output layer's activation, which is `out_activation_` after a fit."""

    # --- a fit ----------------------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: MaybeArray = None, *, validation_data: HeldOut | None = None) -> Self:
        """Fit the network to rows and their targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite numbers. A `float32` array trains in `float32`, any other in `float64`. A sparse matrix is made
            dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes for a classifier, or one column of zeros and ones for each label, which may be sparse. Numbers for a
            regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, finite and at least 0. None gives all rows the weight 1.
        validation_data : (X, y) or (X, y, sample_weight), default=None
            Not in scikit-learn. Held-out rows. `validation_loss_curve_` gets their loss after each epoch. With
            `early_stopping`, these rows are scored, and the fit trains on all rows of `X`. Solvers "sgd" and "adam".

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is not as described, if `validation_data` or `dropout` is combined with
            "lbfgs", if `warm_start` continues a model of another shape or with other classes, or if a loss or a
            parameter is not finite.
        """
        return self._fit(X, y, sample_weight, incremental=False, validation_data=validation_data)

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation_data: Any = None) -> Self:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        is_stochastic = self.solver in STOCHASTIC_SOLVERS
        if not is_stochastic and (validation_data is not None or self.dropout > 0):
            raise ValueError("validation_data and dropout are for the solvers 'sgd' and 'adam'")
        is_new = not self._has_learned or (not self.warm_start and not incremental)
        X, y = self._checked(X, y, is_new)
        y = self._targets(y, incremental)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        if not is_new:
            self._check_shape([X.shape[1], *hidden, y.shape[1]])
        self.n_outputs_ = y.shape[1]
        sample_weight = self._class_weighted(y, sample_weight)
        if sample_weight is not None and not (np.isfinite(sample_weight).all() and sample_weight.min() >= 0):
            raise ValueError("the rows' weights must be finite and not negative")
        held_out = None if validation_data is None else self._checked_validation_data(validation_data, X.dtype)
        order = None if is_new or not incremental else self._order_of_only_epoch(len(X))
        if order is None:
            self._random_state = check_random_state(self.random_state)
        if is_new:
            self._initialize([X.shape[1], *hidden, self.n_outputs_], X.dtype)
        elif is_stochastic and not hasattr(self, "loss_curve_"):  # the fit before was by "lbfgs"
            self._forget_epochs()
        try:
            if is_stochastic:
                self._fit_stochastic(CheckedRows(X, y, sample_weight), incremental, held_out, order)
            else:
                self._fit_lbfgs(X, y, sample_weight)
        except DivergenceError as error:
            raise ValueError(NON_FINITE) from error
        return self

    def _check_shape(self, sizes: list[int]) -> None:
        """Raise unless a fit of a network with these layer sizes can start from the present parameters."""
        fitted = self._current().parameters.sizes.tolist()
        if sizes[-1] != fitted[-1]:
            raise ValueError(f"y has {sizes[-1]} outputs, and the model was fitted with {fitted[-1]}")
        if sizes != fitted:
            raise ValueError(f"hidden_layer_sizes is {sizes[1:-1]}, and the model was fitted with {fitted[1:-1]}")
        if self._output_activation() != self.out_activation_:
            raise ValueError(f"loss={self.loss!r} does not go on from a model fitted with another link")

    def _checked_validation_data(self, data: Any, dtype: npt.DTypeLike) -> CheckedRows:
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
        X = self._validated(data[0], dtype)
        y = self._held_out_targets(data[1])
        check_consistent_length(X, y)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"validation_data has {y.shape[1]} outputs, y has {self.n_outputs_}")
        weight = check_sample_weight(data[2], X) if len(data) == 3 and data[2] is not None else None
        return CheckedRows(X, y, weight)

    def _initialize(self, sizes: list[int], dtype: npt.DTypeLike) -> None:
        """Draw initial parameters layer by layer, uniformly as in Glorot and Bengio (2010), and forget earlier fits."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output_activation()
        self._best_coefs, self._best_intercepts = [], []
        for inputs, size in pairwise(sizes):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (inputs + size))
            self._best_coefs.append(np.asarray(self._random_state.uniform(-bound, bound, (inputs, size)), dtype))
            self._best_intercepts.append(np.asarray(self._random_state.uniform(-bound, bound, size), dtype))
        self._take_over(parameters_of(self._best_coefs, self._best_intercepts))
        if self.solver in STOCHASTIC_SOLVERS:
            self._forget_epochs()

    def _fit_lbfgs(self, X: Array, y: Array, sample_weight: Array | None) -> None:
        loss_of = self._full_batch_loss(X, y, sample_weight)
        start = lbfgs.vector_of(self.coefs_, self.intercepts_)
        self.n_iter_ = 0
        callback = None if self.callback is None else self._after_iteration
        found = lbfgs.minimize(loss_of, start, self.max_iter, self.max_fun, self.tol, self.verbose, callback)
        self.n_iter_, self.loss_ = found.n_iter, np.float64(found.loss)
        self._take_vector(found.vector)
        if not np.isfinite(found.vector).all():
            raise ValueError(NON_FINITE)
        self._take_over(parameters_of(self.coefs_, self.intercepts_))

    def _full_batch_loss(self, X: Array, y: Array, sample_weight: Array | None) -> lbfgs.FullBatchLoss:
        sizes = layer_sizes(self.coefs_)
        self._coef_indptr, self._intercept_indptr = lbfgs.places(sizes)
        objective = self._objective(np.float64)
        activation = activations.resolve_layers(self.activation, len(sizes) - 2)
        return lbfgs.FullBatchLoss(sizes, activation, objective, X, y, sample_weight, self.alpha)

    def _after_iteration(self, vector: Array, loss: float) -> bool:
        """Update the estimator after an iteration of L-BFGS and call the callback; return whether to end the fit."""
        self._take_vector(vector)
        self.loss_ = np.float64(loss)
        self.n_iter_ += 1
        return self._is_stopped_by_callback()

    def _take_vector(self, vector: Array) -> None:
        """Set the coefficients and intercepts to views of one vector."""
        self.coefs_, self.intercepts_ = lbfgs.arrays_in(vector, self._coef_indptr, self._intercept_indptr)

    def _loss_grad_lbfgs(
        self, vector: Array, X: Array, y: Array, sample_weight: Array | None, *_buffers: Any
    ) -> tuple[float, Array]:
        """Return the loss and its gradient at one vector of parameters. Only scikit-learn's own tests call this."""
        self._take_vector(vector)
        return self._full_batch_loss(X, y, sample_weight)(vector)

    # --- after a fit ----------------------------------------------------------------------------------------

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _outputs(self, X: Any) -> Array:
        """Check rows and return the outputs of the network for them, with the activation of the output layer."""
        if not (self._is_plain(X) and self._has_learned):
            check_is_fitted(self)
            X = self._validated(X)
        packed = self._current()
        is_single = np.result_type(X.dtype, packed.parameters.data.dtype) == SINGLE
        try:
            f = packed.predict(X, SINGLE if is_single else DOUBLE)
        except ValueError:  # a number is not finite
            self._validated(X)  # raises the error in scikit-learn's words
            raise
        return losses.inverse_link(self.out_activation_, f)

    def to_sklearn(self) -> Any:
        """Convert the fitted model to scikit-learn's own class. Not in scikit-learn.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            An independent copy with the same parameters, history and state of the optimizer. `partial_fit` can continue
            the training. Parameters that scikit-learn does not have are left out.

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        ValueError
            If scikit-learn does not have the loss.
        """
        check_is_fitted(self)
        return conversion.to_sklearn(self)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as an ONNX graph. Not in scikit-learn.

        The input is `X`, (n_samples, n_features), in the dtype of `coefs_`. The outputs are `label` and `probabilities`
        of a classifier, and `prediction` of a regressor.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.

        Returns
        -------
        None

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        ImportError
            If onnx is not installed.
        ValueError
            If an activation is a user's function, or the model was fitted with one class.
        """
        write_network(path, *self._exported())

    def to_c(self, path: str | os.PathLike[str], *, prefix: str = "fastbp") -> None:
        """Write the fitted model as one C99 header without allocation. Not in scikit-learn.

        `int fastbp_predict(const float *x, float *out)` takes one row, and gives what `predict_proba` of a classifier
        and `predict` of a regressor gives. The type is double if `coefs_` are of float64.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.
        prefix : str, default "fastbp"
            What all names begin with. Macros begin with its capitals.

        Returns
        -------
        None

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        ValueError
            If `prefix` is no name in C, or as `to_onnx`.
        """
        c_header.write_network(path, *self._exported(), prefix)

    def _exported(self) -> tuple[Layers, Outputs, dict[str, Any]]:
        """Return the network, what it gives to a user, and facts about it."""
        check_is_fitted(self)
        layers = Layers.of([one.T for one in self.coefs_], self.intercepts_, self.activation)
        return layers, self._exported_outputs(), {"out_activation": self.out_activation_}

    def _exported_outputs(self) -> Outputs:
        """Return what the model gives to a user of its ONNX graph or C header."""
        return Outputs(self.out_activation_)

    _doc_link_module = "fastbp"  # subclasses of users get no link

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        """Return the parts of the link in the HTML table of parameters. It leads to scikit-learn's page of the class.

        fastbp has no page of its own on the web, and scikit-learn shows no descriptions without a link.
        """
        return {"estimator_module": "sklearn.neural_network", "estimator_name": type(self).__name__}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
