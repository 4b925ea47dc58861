"""`MLPClassifier`: its parameters and what it predicts. This file must not know how a fit proceeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import type_of_target

from fastbp import activations
from fastbp._typing import Array, BatchSize, LayerSizes, MaybeArray, RandomState, Scoring, Self
from fastbp.sklearn._compat import StrOptions, available_if, check_partial_fit_first_call, fit_context
from fastbp.sklearn.base import BaseMLP
from fastbp.sklearn.labels import PLAIN_KINDS, ClassWeight, LabelTargets
from fastbp.sklearn.stochastic import Callback, RateSchedule, Solver


class MLPClassifier(ClassifierMixin, LabelTargets, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multilayer perceptron classifier with scikit-learn's interface, trained by fastbp.

    With the same parameters and `random_state`, the model equals that of `sklearn.neural_network.MLPClassifier` up to
    rounding. The loss is the log loss: the cross-entropy of softmax for three and more classes, and the binary
    cross-entropy of the logistic function for two classes and for each label of a multilabel `y`.

    Parameters
    ----------
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
        Whether `fit` starts from the parameters of the fit before. `y` must then have the same classes, and
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
    class_weight : dict, list of dict, "balanced" or None, default=None
        Not in scikit-learn. Factors of the sample weights: a dict from class to factor, for a multilabel `y` a list of
        one dict per label. "balanced" gives every class the same total weight.
    scoring : str, callable or None, default=None
        Not in scikit-learn. Score of the held-out rows for `early_stopping`: a scorer's name, as in `cross_val_score`,
        or a callable `scoring(estimator, X, y)`. Higher is better. None means the accuracy.
    stratify : bool, default=False
        Not in scikit-learn. Whether `early_stopping` holds out the same fraction of each class, if there are three or
        more classes. Two classes always have equal fractions, and the labels of a multilabel `y` never.
    dropout : float, default=0.0
        Not in scikit-learn. Probability in [0, 1) with which a step sets a hidden unit to 0, separately for each row.
        The other units are divided by 1 − dropout. Predictions use all units. Solvers "sgd" and "adam".
    callback : callable or None, default=None
        Not in scikit-learn. Called as `callback(progress)` after each epoch, or iteration of "lbfgs", with a
        `fastbp.results.Progress`. Its `model` is this estimator, with the parameters and the history up to that epoch.
        The fit ends if the callback returns True.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order; for a multilabel `y`, the numbers of its columns.
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
        Number of units of the output layer; 1 for two classes.
    t_ : int
        Number of rows trained on; each epoch counts its rows again. "lbfgs" counts none.
    out_activation_ : {"softmax", "logistic"}
        Function of the output layer.

    See Also
    --------
    MLPRegressor : The same network for numbers.
    fastbp.sklearn.from_sklearn : Converts a fitted model of scikit-learn.

    References
    ----------
    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", AISTATS, for
    the initial parameters. Kingma and Ba (2015), "Adam: A method for stochastic optimization", ICLR. Srivastava et al.
    (2014), "Dropout", JMLR 15. scikit-learn's user guide, "Neural network models (supervised)".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "stratify": ["boolean"],
    }

    loss = "log_loss"
    _plain_kinds = PLAIN_KINDS

    def __init__(
        self,
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
        class_weight: ClassWeight = None,
        scoring: Scoring = None,
        stratify: bool = False,
        dropout: float = 0.0,
        callback: Callback = None,
    ) -> None:
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
        self.class_weight = class_weight
        self.scoring = scoring
        self.stratify = stratify
        self.dropout = dropout
        self.callback = callback

    def predict(self, X: Any) -> Array:
        """Predict the class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or {ndarray, sparse matrix} of shape (n_samples, n_classes)
            The most probable class. For a multilabel `y`, 1 for each label with a probability above 0.5 and 0 for each
            other label, sparse if `y` was sparse.

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        ValueError
            If X has another number of columns than in the fit, or a value that is not a finite number.
        """
        return self._classes_of(self._outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            One column for each class, in the order of `classes_`. Rows add up to 1, except for a multilabel `y`.

        Raises
        ------
        NotFittedError, ValueError
            See `predict`.
        """
        p = self._outputs(X)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the natural logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            One column for each class, in the order of `classes_`. The logarithm of 0 is −inf.

        Raises
        ------
        NotFittedError, ValueError
            See `predict`.
        """
        p = self.predict_proba(X)
        return np.asarray(np.log(p, out=p))

    @available_if(lambda estimator: estimator._check_solver())
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: MaybeArray = None, classes: MaybeArray = None) -> Self:
        """Train for one epoch, starting from the present parameters. The first call draws the initial parameters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_classes)
            Classes, or one column of zeros and ones for each label.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, at least 0. None gives all rows the weight 1.
        classes : array-like of shape (n_classes,), default=None
            All classes of this call and of later ones. The first call needs them; later calls may leave them out.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            If `solver` is "lbfgs".
        ValueError
            If an argument or a parameter is not as described, if `y` has a class that is not in `classes`, if
            `early_stopping` is True, if `class_weight` is "balanced", or if a loss or a parameter is not finite.
        """
        if self.class_weight is not None and not isinstance(self.class_weight, dict | list):
            raise ValueError(
                "partial_fit sees only some rows, so class_weight='balanced' cannot be known: pass "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y) as a dict"
            )
        if not self._is_known(classes) and check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
