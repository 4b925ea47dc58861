"""`MLPClassifier`: labels as numbers and back, probabilities, accuracy. This file must not know how a fit proceeds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from fastbp.losses import Loss
from fastbp.sklearn.base import BaseMLP
from fastbp.sklearn.descent import Array, Objective


def _binarizer_of(y: Array) -> LabelBinarizer:
    """Return a binarizer of checked labels."""
    binarizer = LabelBinarizer()
    if y.ndim > 1 or y.dtype.kind not in "biuU":
        return binarizer.fit(y)
    # What `fit` would find out by checking them four times more, which took a tenth of a short fit.
    binarizer.classes_, binarizer.sparse_input_ = np.unique(y), False
    binarizer.y_type_ = "multiclass" if len(binarizer.classes_) > 2 else "binary"
    return binarizer


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """Multilayer perceptron classifier: scikit-learn's, trained by fastbp.

    With the same `random_state` it is the same model as `sklearn.neural_network.MLPClassifier`, to rounding. Where
    that documents a parameter, an attribute or an error, it holds here.

    Parameters
    ----------
    hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
    alpha : float, default=0.0001
        α of the penalty α ‖W‖² / 2, over the sum of a batch's sample weights.
    batch_size : int, default="auto"
        "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Of "sgd". "invscaling" divides by (samples seen)^power_t after each epoch; "adaptive" divides by 5 when
        nothing improves.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
    max_iter : int, default=200
        Epochs, or iterations of "lbfgs".
    shuffle : bool, default=True
    random_state : int, RandomState instance, default=None
    tol : float, default=1e-4
    verbose : bool, default=False
    warm_start : bool, default=False
        Start from where the last fit ended.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Hold out rows and stop when their score stands still; the best epoch's parameters are kept.
    validation_fraction : float, default=0.1
    beta_1, beta_2 : float, default=0.9, 0.999
    epsilon : float, default=1e-8
    n_iter_no_change : int, default=10
    max_fun : int, default=15000
    class_weight : dict, list of dict or "balanced", default=None
        Not in scikit-learn's. What each row's weight is multiplied by, as in other classifiers.
    scoring : str or callable, default=None
        Not in scikit-learn's. What early stopping scores held-out rows by, as in `cross_val_score`; None is accuracy.
    dropout : float, default=0.0
        Not in scikit-learn's. The share of hidden units that each step leaves out, in [0, 1).
    callback : callable, default=None
        Not in scikit-learn's. Called with the estimator after each epoch (each iteration of "lbfgs"), whose
        `coefs_`, `n_iter_` and histories are then up to date; the fit ends if it returns True.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray of shape (n_classes,)
    coefs_ : list of ndarray, each (inputs, outputs)
    intercepts_ : list of ndarray
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The mean loss of each epoch, penalty included.
    validation_scores_ : list of float
    best_validation_score_ : float
    validation_loss_curve_ : list of float
        Not in scikit-learn's. The loss of the rows held out after each epoch, without penalty; None without such.
    n_features_in_, n_iter_, n_layers_, n_outputs_, t_ : int
    feature_names_in_ : ndarray
    out_activation_ : str

    References
    ----------
    scikit-learn's user guide, "Neural network models (supervised)".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    loss = "log_loss"

    def __init__(
        self,
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
        class_weight: Any = None,
        scoring: Any = None,
        dropout: float = 0.0,
        callback: Any = None,
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
        self.dropout = dropout
        self.callback = callback

    def predict(self, X: Any) -> Array:
        """Predict the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_classes) of indicators, sparse where those of the fit were
        """
        p = self._outputs(X)
        labels: Array = self._label_binarizer.inverse_transform(p.ravel() if self.n_outputs_ == 1 else p)
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        p = self._outputs(X)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of each class's probability.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        p = self.predict_proba(X)
        return np.asarray(np.log(p, out=p))

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Make one epoch over the rows, from where the model stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes that will come; needed in the first call.

        Returns
        -------
        self
        """
        if self.class_weight is not None and not isinstance(self.class_weight, dict | list):
            raise ValueError(
                "partial_fit sees only some rows, so class_weight='balanced' cannot be known: pass "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y) as a dict"
            )
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = _binarizer_of(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        return X, self._indicators(y)

    def _indicators(self, y: Array) -> Array:
        """Return checked labels as columns of truths: one for two classes, else one for each."""
        if issparse(y) or y.ndim == 2 or self._label_binarizer.y_type_.startswith("multilabel"):
            return np.asarray(self._label_binarizer.transform(y)).astype(bool)
        places = np.searchsorted(self.classes_, y)  # the binarizer checks labels once more, longer than a short fit
        wanted = np.arange(len(self.classes_)) if len(self.classes_) > 2 else np.ones(1)
        return np.equal(places[:, None], wanted)

    def _held_out_targets(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, dtype=None, accept_sparse="csr")
        has_labels = self._label_binarizer.y_type_.startswith("multilabel")
        if (y.ndim == 2 and y.shape[1] > 1) != has_labels:
            kinds = ("classes", "columns of labels")
            raise ValueError(f"validation_data has {kinds[not has_labels]}, y has {kinds[has_labels]}")
        if not has_labels:
            y = column_or_1d(y)
            unknown = np.setdiff1d(y, self.classes_)
            if len(unknown):
                raise ValueError(f"validation_data has classes that are not in y: {unknown}; y has {self.classes_}")
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(f"validation_data has {y.shape[1]} labels, y has {self.n_outputs_}")
        return self._indicators(y)

    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        weight = compute_sample_weight(self.class_weight, self._labels(y))
        return np.asarray(weight) if sample_weight is None else np.asarray(weight * sample_weight, sample_weight.dtype)

    def _labels(self, y: Array) -> Array:
        labels = self._label_binarizer.inverse_transform(y.astype(int))
        return np.asarray(labels.toarray() if issparse(labels) else labels)

    def _check_classes(self, classes: Array) -> None:
        """Raise unless the classes are those of the fits before."""
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _objective(self, dtype: npt.DTypeLike) -> Objective:
        most = float(-np.log(np.finfo(dtype).eps))  # probabilities are clipped at ε
        name = "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy"
        return Objective(Loss(name, most))

    def _activated(self, f: Array) -> Array:
        if self.out_activation_ == "softmax":
            e = np.exp(f - f.max(axis=1, keepdims=True))
            return np.asarray(e / e.sum(axis=1, keepdims=True))
        e = np.exp(-np.abs(f))
        return np.asarray(np.where(f > 0, 1, e) / (1 + e))

    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return the accuracy; of indicators, the share of rows that have all right."""
        if len(self.classes_) == 1 and not self._label_binarizer.y_type_.startswith("multilabel"):
            return lambda _: 1.0
        total = len(y) if sample_weight is None else sample_weight.sum()
        labels = y.argmax(axis=1) if self.out_activation_ == "softmax" else y

        def score(f: Array) -> float:
            p = self._activated(f)
            right = p.argmax(axis=1) == labels if self.out_activation_ == "softmax" else ((p > 0.5) == y).all(axis=1)
            return float((right if sample_weight is None else right * sample_weight).sum() / total)

        return score

    def _stratify(self, y: Array) -> Array | None:
        """Return the classes, but of several labels none, nor of three classes and more that are too rare to share."""
        if self.n_outputs_ == 1 or self.out_activation_ != "softmax":
            return y if self.n_outputs_ == 1 else None
        held_out = int(np.ceil(self.validation_fraction * len(y)))
        has_room = y.sum(axis=0).min() >= 2 and min(held_out, len(y) - held_out) >= y.shape[1]
        return np.asarray(y.argmax(axis=1)) if has_room else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
