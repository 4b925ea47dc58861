"""`MLPRegressor`: its parameters, its losses and its score. This file must not know how a fit proceeds."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from fastbp import activations, checks, losses
from fastbp._typing import Array, BatchSize, LayerSizes, MaybeArray, RandomState, Scoring, Self
from fastbp.losses import NumberLossName
from fastbp.runs.loss_check import check_custom_loss
from fastbp.sklearn._compat import Interval, StrOptions, available_if, fit_context
from fastbp.sklearn.base import BaseMLP
from fastbp.sklearn.descent import Objective
from fastbp.sklearn.stochastic import Callback, RateSchedule, Solver


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multilayer perceptron regressor with scikit-learn's interface, trained by fastbp.

    With the same parameters and `random_state`, the model equals that of `sklearn.neural_network.MLPRegressor` up to
    rounding.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "huber", "absolute_error", "quantile"} or Loss, default="squared_error"
        Loss of a row, with r = y − ŷ: ½ r² for "squared_error", |r| for "absolute_error". "poisson" is half the Poisson
        deviance of the prediction exp(ŷ), for y ≥ 0. "huber" and "quantile" are explained at `delta` and `quantile`.
        "huber", "absolute_error" and "quantile" are not in scikit-learn. With several outputs, the reported loss of a
        row is the mean over the outputs, for "poisson" the sum. `fastbp.losses.custom` makes a loss of your own.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer, at least 1 each. `()` makes a linear model.
    activation : str, Activation or list of these, default="relu"
        Function of the hidden units. "identity", "logistic", "tanh" and "relu" are f, 1 / (1 + exp(−f)), tanh(f) and
        max(0, f). The other names and functions of `fastbp.activations` are additions to scikit-learn. A list has one
        for each hidden layer.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
        Method that minimises the loss. "sgd" (gradient descent with momentum) and "adam" take minibatches of rows.
        "lbfgs" (SciPy's L-BFGS-B) takes all rows at once, and often needs less time for up to some thousand rows.
    alpha : float, default=0.0001
        Strength α ≥ 0 of the L2 penalty. The loss of a batch gains α ‖W‖² / 2, divided by the number of its rows, or by
        the sum of their sample weights. W are all coefficients, without the intercepts.
    batch_size : int or "auto", default="auto"
        Rows of a minibatch, at least 1. "auto" means min(200, n_samples). A larger number than n_samples means
        n_samples and is a warning. Solvers "sgd" and "adam".
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Schedule of the learning rate. Solver "sgd". "constant" keeps `learning_rate_init`. "invscaling" uses
        learning_rate_init / (t_ + 1)^power_t after each epoch. "adaptive" divides the rate by 5 when more than
        `n_iter_no_change` epochs in a row bring no improvement, and ends the fit when the rate is at most 1e-6.
    learning_rate_init : float, default=0.001
        Learning rate of the first epoch, greater than 0. Solvers "sgd" and "adam".
    power_t : float, default=0.5
        Exponent of "invscaling", at least 0. Solver "sgd".
    max_iter : int, default=200
        Maximum number of epochs ("sgd" and "adam") or iterations ("lbfgs"), at least 1. An epoch is one pass over the
        rows. A fit that makes all of them warns with `ConvergenceWarning`.
    shuffle : bool, default=True
        Whether the rows are shuffled before each epoch. Solvers "sgd" and "adam".
    random_state : int, RandomState instance or None, default=None
        Source of the random numbers for initial parameters, held-out rows, shuffling and dropout. An integer makes
        every fit reproducible. None takes NumPy's global `RandomState`.
    tol : float, default=1e-4
        Smallest improvement that counts, at least 0. An epoch improves if its training loss is at least `tol` below the
        best earlier one; with `early_stopping`, if its score is at least `tol` above the best earlier one. "lbfgs" ends
        when no component of the gradient is larger than `tol`, or when the loss hardly falls.
    verbose : bool or int, default=False
        Whether each epoch prints its loss, and its score with `early_stopping`. An epoch of more than five seconds
        also writes its rows to stderr. With "lbfgs", only SciPy before 1.15 prints.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the fit before. `y` must then have as many columns as before, and
        `hidden_layer_sizes` must be unchanged. The moments of "sgd" and "adam" start from 0 again. False draws new
        parameters in every fit.
    momentum : float, default=0.9
        Momentum μ in [0, 1]. For the gradient g and the learning rate η, the velocity is v ← μ v − η g, and a step adds
        v to the parameters. Solver "sgd".
    nesterovs_momentum : bool, default=True
        Whether a step adds μ v − η g in place of v, which is Nesterov's momentum. Solver "sgd" with `momentum` > 0.
    early_stopping : bool, default=False
        Whether the score of held-out rows, in place of the training loss, decides when a fit ends. The fit then keeps
        the parameters of the best epoch. Solvers "sgd" and "adam", but not `partial_fit`.
    validation_fraction : float, default=0.1
        Fraction of the rows that `early_stopping` holds out, in [0, 1), if `fit` gets no `validation_data`. It must
        make at least 2 rows.
    beta_1 : float, default=0.9
        Decay rate of Adam's moving average m of the gradients, in [0, 1). Solver "adam".
    beta_2 : float, default=0.999
        Decay rate of Adam's moving average v of the squared gradients, in [0, 1). Solver "adam".
    epsilon : float, default=1e-8
        Number ε > 0 in the divisor √v + ε of Adam's step. Solver "adam".
    n_iter_no_change : int or inf, default=10
        A fit ends when more than this number of epochs in a row bring no improvement. Solvers "sgd" and "adam".
    max_fun : int, default=15000
        Maximum number of times that the loss is computed, at least 1. Solver "lbfgs".
    delta : float, default=1.0
        Not in scikit-learn. δ > 0 of the loss "huber", in the unit of y: the loss is ½ r² where |r| ≤ δ, and
        δ (|r| − ½ δ) elsewhere.
    quantile : float, default=0.5
        Not in scikit-learn. Quantile q in (0, 1) that the loss "quantile" learns: the loss is q r where r ≥ 0, and
        (q − 1) r elsewhere.
    scoring : str, callable or None, default=None
        Not in scikit-learn. Score of the held-out rows for `early_stopping`: a scorer's name, as in `cross_val_score`,
        or a callable `scoring(estimator, X, y)`. Higher is better. None means R².
    dropout : float, default=0.0
        Not in scikit-learn. Probability in [0, 1) with which a step sets a hidden unit to 0, separately for each row.
        The other units are divided by 1 − dropout. Predictions use all units. Solvers "sgd" and "adam".
    callback : callable or None, default=None
        Not in scikit-learn. Called as `callback(progress)` after each epoch, or iteration of "lbfgs", with a
        `fastbp.results.Progress`. Its `model` is this estimator, with the parameters and the history up to that epoch.
        The fit ends if the callback returns True.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of each layer, each of shape (inputs, outputs). The list has n_layers_ − 1 matrices.
    intercepts_ : list of ndarray
        Biases of each layer, each of shape (outputs,).
    loss_ : float
        Training loss of the last epoch or iteration, with the penalty.
    best_loss_ : float or None
        Lowest value of `loss_curve_`; None with `early_stopping`. Solvers "sgd" and "adam".
    loss_curve_ : list of float
        Training loss of each epoch: the mean over its minibatches, each taken before its own step, with the penalty.
        `partial_fit` and fits with `warm_start` append to the list. Solvers "sgd" and "adam".
    validation_scores_ : list of float or None
        Score of the held-out rows after each epoch; None without `early_stopping`. Solvers "sgd" and "adam".
    best_validation_score_ : float or None
        Highest value of `validation_scores_`; None without `early_stopping`. Solvers "sgd" and "adam".
    validation_loss_curve_ : list of float or None
        Not in scikit-learn. Loss of the held-out rows after each epoch, without the penalty; None without held-out
        rows. Solvers "sgd" and "adam".
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X. Defined only if all of them are strings.
    n_iter_ : int
        Number of epochs or iterations of the last call of `fit` or `partial_fit`.
    n_layers_ : int
        Number of layers, with the layer of inputs and the output layer.
    n_outputs_ : int
        Number of columns of `y`.
    t_ : int
        Number of rows trained on; each epoch counts its rows again. "lbfgs" counts none.
    out_activation_ : {"identity", "exp"}
        Function of the output layer: "exp" for the loss "poisson".

    See Also
    --------
    MLPClassifier : The same network for classes.
    fastbp.sklearn.from_sklearn : Converts a fitted model of scikit-learn.

    References
    ----------
    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", AISTATS, for
    the initial parameters. Kingma and Ba (2015), "Adam: A method for stochastic optimization", ICLR. Srivastava et al.
    (2014), "Dropout", JMLR 15. Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical
    Statistics 35(1). Koenker and Bassett (1978), "Regression quantiles", Econometrica 46(1). scikit-learn's user guide,
    "Neural network models (supervised)".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastbp.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(learning_rate_init=0.1, max_iter=1000, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    >>> model.predict(X[:2]).shape
    (2,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(get_args(NumberLossName))), losses.Loss],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    _plain_kinds = "iuf"

    def __init__(
        self,
        loss: NumberLossName | losses.Loss = "squared_error",
        hidden_layer_sizes: int | LayerSizes = (100,),
        activation: activations.ActivationLike = "relu",
        *,
        solver: Solver = "adam",
        alpha: float = 0.0001,
        batch_size: BatchSize = "auto",
        learning_rate: RateSchedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: RandomState = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
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
        scoring: Scoring = None,
        dropout: float = 0.0,
        callback: Callback = None,
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
        """Predict the target of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            A vector if `y` of the fit had one column.

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        ValueError
            If X has another number of columns than in the fit, or a value that is not a finite number.
        """
        y = self._outputs(X)
        return y.ravel() if y.shape[1] == 1 else y

    @available_if(lambda estimator: estimator._check_solver())
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: MaybeArray = None) -> Self:
        """Train for one epoch, starting from the present parameters. The first call draws the initial parameters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, at least 0. None gives all rows the weight 1.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            If `solver` is "lbfgs".
        ValueError
            If an argument or a parameter is not as described, if `y` has another number of columns than before, if
            `early_stopping` is True, or if a loss or a parameter is not finite.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _targets(self, y: Array, incremental: bool) -> Array:  # noqa: ARG002
        y = checks.numbers("y", y)
        loss = losses.resolve(self.loss)
        if loss.is_of_probabilities and not loss.is_custom:
            raise ValueError(f"{loss.name} is a loss of classes: use MLPClassifier")
        check_custom_loss(loss, y.reshape(len(y), -1))
        return y

    def _held_out_targets(self, y: Any) -> Array:
        y = check_array(checks.numbers("validation_data's y", y), ensure_2d=False, dtype=np.float64)
        return np.reshape(y, (-1, 1)) if y.ndim == 1 else np.asarray(y)

    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:  # noqa: ARG002
        return sample_weight

    def _labels(self, y: Array) -> Array:
        return y.ravel() if y.shape[1] == 1 else y

    def _output_activation(self) -> str:
        return losses.resolve(self.loss).link

    def _objective(self, dtype: npt.DTypeLike) -> Objective:  # noqa: ARG002
        loss = losses.resolve(self.loss)
        if loss.parameter_name and isinstance(self.loss, str):
            loss = loss.with_parameter({"delta": self.delta, "q": self.quantile}[loss.parameter_name])
        return Objective(loss, is_mean_over_outputs=loss.link == "identity" and not loss.sees_rows)

    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return a function from ŷ to R², the mean over the outputs."""
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        total = weights @ (y - np.average(y, axis=0, weights=weights)) ** 2

        def score(f: Array) -> float:
            errors = weights @ (y - losses.inverse_link(self.out_activation_, f)) ** 2
            unexplained = np.divide(errors, total, out=(errors > 0).astype(np.float64), where=total > 0)
            return float(np.mean(1 - unexplained))

        return score

    def _stratify(self, y: Array) -> Array | None:  # noqa: ARG002
        return None
