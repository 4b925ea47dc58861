"""`MLPRegressor`: losses of numbers, R². This file must not know how a fit proceeds."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from fastbp.losses import Loss
from fastbp.sklearn.base import BaseMLP
from fastbp.sklearn.descent import Array, Objective


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multilayer perceptron regressor: scikit-learn's, trained by fastbp.

    With the same `random_state` it is the same model as `sklearn.neural_network.MLPRegressor`, to rounding. Where
    that documents a parameter, an attribute or an error, it holds here.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "huber", "absolute_error", "quantile"}, default="squared_error"
        With "poisson" the model predicts exp(ŷ). The last three are not in scikit-learn's.
    hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
    alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose
        As for `MLPClassifier`.
    warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon
        As for `MLPClassifier`.
    n_iter_no_change, max_fun
        As for `MLPClassifier`.
    delta : float, default=1.0
        Not in scikit-learn's. δ of "huber", in the unit of y: ½ r² where |r| ≤ δ, and δ (|r| − ½ δ) beyond.
    quantile : float, default=0.5
        Not in scikit-learn's. Which quantile "quantile" learns, in (0, 1).
    scoring, dropout, callback
        As for `MLPClassifier`; `scoring=None` is R².

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_
        As for `MLPClassifier`.
    validation_scores_, best_validation_score_, validation_loss_curve_
        As for `MLPClassifier`; scores are R².
    n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, t_, out_activation_
        As for `MLPClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastbp.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(solver="lbfgs", alpha=1, max_iter=2000, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "huber", "absolute_error", "quantile"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        delta: float = 1.0,
        quantile: float = 0.5,
        scoring: Any = None,
        dropout: float = 0.0,
        callback: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.delta = delta
        self.quantile = quantile
        self.scoring = scoring
        self.dropout = dropout
        self.callback = callback

    def predict(self, X: Any) -> Array:
        """Predict the targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        y = self._outputs(X)
        return y.ravel() if y.shape[1] == 1 else y

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Make one epoch over the rows, from where the model stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:  # noqa: ARG002
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _held_out_targets(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, dtype=np.float64)
        return np.reshape(y, (-1, 1)) if y.ndim == 1 else np.asarray(y)

    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:  # noqa: ARG002
        return sample_weight

    def _labels(self, y: Array) -> Array:
        return y.ravel() if y.shape[1] == 1 else y

    def _output_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _objective(self, dtype: npt.DTypeLike) -> Objective:  # noqa: ARG002
        parameter = {"huber": self.delta, "quantile": self.quantile}.get(self.loss, 0.0)
        return Objective(Loss(self.loss, float(parameter)), mean_over_outputs=self.loss != "poisson")

    def _activated(self, f: Array) -> Array:
        return np.exp(f) if self.out_activation_ == "exp" else f

    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return R², the mean over outputs."""
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        spread = weights @ (y - np.average(y, axis=0, weights=weights)) ** 2

        def score(f: Array) -> float:
            errors = weights @ (y - self._activated(f)) ** 2
            unexplained = np.divide(errors, spread, out=(errors > 0).astype(np.float64), where=spread > 0)
            return float(np.mean(1 - unexplained))

        return score

    def _stratify(self, y: Array) -> Array | None:  # noqa: ARG002
        return None
