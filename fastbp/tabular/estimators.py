"""`TabularClassifier` and `TabularRegressor`: a raw table in, a strong model out, behind scikit-learn's interface.

It knows scikit-learn's conventions and Python's frames. It must not know how a model is made.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from fastbp.tabular.building import build
from fastbp.tabular.ensemble import Progress
from fastbp.tabular.frames import column_of, default_names, frame_of, has_names
from fastbp.tabular.model import TableModel
from fastbp.tabular.settings import (
    BATCH_SIZE,
    CLASS_METRICS,
    EPOCHS,
    HIDDEN,
    LABEL_SMOOTHING,
    N_ENSEMBLE,
    NUMBER_METRICS,
    PATIENCE,
    Settings,
)
from fastbp.tabular.target import Classes, Quantity, Target

Array = npt.NDArray[Any]

_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")


class _TabularEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the classifier and the regressor share."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        "n_ensemble": [_COUNT],
        "hidden": [tuple, list],
        "epochs": [_COUNT],
        "batch_size": [_COUNT],
        "learning_rate": [_POSITIVE, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "patience": [_COUNT, None],
        "time_budget": [_POSITIVE, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "progress": [callable, None],
    }

    _task: str

    # --- training -------------------------------------------------------------------------------------------

    def _build(
        self,
        frame: pl.DataFrame,
        is_named: bool,
        y: pl.Series,
        target: Target,
        weights: Array,
        groups: Any,
        eval_set: tuple[pl.DataFrame, pl.Series] | None,
    ) -> None:
        """Train, and set what a fitted estimator has."""
        groups = None if groups is None else column_or_1d(groups)
        if groups is not None:
            check_consistent_length(y, groups)
        built = build(frame, y, target, self._settings(), weights, groups, eval_set, self.progress)
        if built.is_interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        self._keep(built.model, is_named, list(frame.columns))
        self.notices_ = built.notices
        self.built_ = built

    def _settings(self) -> Settings:
        cores = None if self.n_jobs is None or self.n_jobs < 0 else max(1, int(self.n_jobs))
        given = self.random_state
        is_seed = isinstance(given, Integral)
        return Settings(
            n_ensemble=int(self.n_ensemble),
            metric=self.metric,
            quantile=float(getattr(self, "quantile", 0.5)),
            hidden=tuple(int(width) for width in self.hidden),
            epochs=int(self.epochs),
            batch_size=int(self.batch_size),
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            label_smoothing=float(getattr(self, "label_smoothing", 0.0)),
            patience=self.patience,
            time_budget=self.time_budget,
            n_threads=cores,
            seed=int(given) if is_seed else int(check_random_state(given).randint(2**31 - 1)),
        )

    def _keep(self, model: TableModel, is_named: bool, names: list[str]) -> None:
        self.model_ = model
        self.n_features_in_ = len(names)
        if is_named:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._columns = names
        self.scores_ = {score["measure"]: score["value"] for score in model.about["scores"]}

    # --- prediction -----------------------------------------------------------------------------------------

    def _frame(self, X: Any) -> pl.DataFrame:
        """Return rows to predict as a typed frame with the columns of the training table."""
        check_is_fitted(self)
        frame, names = frame_of(X), self._columns
        if has_names(X) and hasattr(self, "feature_names_in_"):
            self.model_.encoding.check_columns(frame.columns)
            for notice in self.model_.unknown_columns(frame):
                warnings.warn(f"{notice}; passed over", stacklevel=3)
            return frame
        if frame.width != self.n_features_in_:
            raise ValueError(
                f"X has {frame.width} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input"
            )
        if hasattr(self, "feature_names_in_"):
            warnings.warn(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names",
                stacklevel=3,
            )
        return frame.rename(dict(zip(frame.columns, names, strict=True)))

    # --- keeping --------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, which `load` and the command `fastbp` read; no pickle.

        Parameters
        ----------
        path : path-like
            Replaced whole or not at all if it is there.
        """
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Return a fitted estimator from a file that `save`, or the command `fastbp train`, wrote.

        It predicts the same to the bit. Its parameters are those of the training.

        Raises
        ------
        ValueError
            If the file is damaged, or holds a model of the other task.
        """
        model = TableModel.load(path)
        if model.target.task != cls._task:
            raise ValueError(f"{os.fspath(path)} holds a model for {model.target.task}, not for {cls._task}")
        stored = model.about["settings"]
        known = {
            **stored,
            "random_state": stored["seed"],
            "n_jobs": stored["n_threads"],
            "hidden": tuple(stored["hidden"]),
        }
        estimator = cls(**{name: known[name] for name in cls._get_param_names() if name in known})
        names = list(model.encoding.names)
        estimator._keep(model, names != default_names(len(names)), names)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class TabularClassifier(ClassifierMixin, _TabularEstimator):  # type: ignore[misc]
    """Networks that tell classes apart from the columns of a raw table.

    Numbers, truth values, texts, categories and dates are encoded, missing cells included. Several networks are
    trained, each with other rows held out, and their probabilities averaged and calibrated on those rows.

    Parameters
    ----------
    n_ensemble : int, default 6
        Number of networks. One takes a sixth of the time, and is a little worse.
    metric : {"log_loss", "accuracy", "auc"}, default "log_loss"
        By which each network's best epoch is chosen, on the rows that it does not see.
    hidden : tuple of int, default (256, 256, 256)
        Widths of the hidden layers.
    epochs : int, default 256
        Passes over the rows, at most.
    batch_size : int, default 256
    learning_rate : float, default None
        The highest of the schedule's; None means 0.04.
    dropout : float, default None
        The share of hidden units that each step leaves out; None means 0.15.
    label_smoothing : float, default 0.05
        The share of each label that is spread over all classes.
    patience : int or None, default 24
        Epochs without improvement after which a network's training ends; None trains through all epochs.
    class_weight : dict, "balanced" or None, default None
        As scikit-learn's. The probabilities are then those of classes so weighted.
    time_budget : float or None, default None
        Seconds after which training ends with the best so far.
    n_jobs : int or None, default None
        Networks trained at once; None or -1 means as many as there are cores. The result is the same to the bit.
    random_state : int, RandomState or None, default 0
    progress : callable or None, default None
        Called after each epoch with a `fastbp.tabular.Progress`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    scores_ : dict of str to float
        Accuracy, log loss and AUC on the rows held out, each row by networks that had not seen it.
    notices_ : tuple of str
        What was left out of the table, and why.
    model_ : TableModel
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where the table had names.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data", NeurIPS.

    Examples
    --------
    >>> from fastbp.tabular import TabularClassifier
    >>> frame = {"colour": ["red", "blue", None, "red"] * 9, "size": [1.5, None, 2.5, 3.0] * 9}
    >>> model = TabularClassifier(epochs=8).fit(frame, ["small", "large", "large", "small"] * 9)
    >>> model.predict({"colour": ["red"], "size": [1.5]})
    array(['small'], dtype='<U5')
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **_TabularEstimator._parameter_constraints,
        "metric": [StrOptions(set(CLASS_METRICS))],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _task = Classes.task

    def __init__(
        self,
        *,
        n_ensemble: int = N_ENSEMBLE,
        metric: str = "log_loss",
        hidden: tuple[int, ...] = HIDDEN,
        epochs: int = EPOCHS,
        batch_size: int = BATCH_SIZE,
        learning_rate: float | None = None,
        dropout: float | None = None,
        label_smoothing: float = LABEL_SMOOTHING,
        patience: int | None = PATIENCE,
        class_weight: Any = None,
        time_budget: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        self.n_ensemble = n_ensemble
        self.metric = metric
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.class_weight = class_weight
        self.time_budget = time_budget
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.progress = progress

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, eval_set: Any = None
    ) -> TabularClassifier:
        """Train on a table and its classes.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, mapping from names to columns, or array-like of shape (n, D)
        y : array-like of shape (n,)
            Labels: texts, numbers or truth values.
        sample_weight : array-like of shape (n,), default None
        groups : array-like of shape (n,), default None
            Rows of a group are held out together.
        eval_set : (X, y), default None
            Rows to hold out, instead of some of the others.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no column is of use, or an argument is not as described.
        """
        frame, labels = _rows(X), _labels(y)
        check_consistent_length(frame, labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"This solver needs samples of at least 2 classes in the data, got 1 class: {self.classes_}"
            )
        target = Classes("y", tuple(self.classes_.tolist()))
        column = pl.Series("y", self.classes_[codes].tolist())
        weights = _weights(sample_weight, frame) * compute_sample_weight(self.class_weight, labels)
        held_out = None
        if eval_set is not None:
            held_out = frame_of(eval_set[0], "eval_set[0]"), pl.Series("y", _labels(eval_set[1]).tolist())
        self._build(frame, has_names(X), column, target, weights, groups, held_out)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return each class's probability.

        Parameters
        ----------
        X : frame, mapping or array-like
            With the columns of the training table; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n, n_classes)
            In the order of `classes_`.

        Raises
        ------
        ValueError
            If a column is missing, or holds something else than in training.
        """
        frame = self._frame(X)
        return np.asarray(self.model_.probabilities(frame))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row, (n,); X as for `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _keep(self, model: TableModel, is_named: bool, names: list[str]) -> None:
        super()._keep(model, is_named, names)
        assert isinstance(model.target, Classes)
        self.classes_ = np.array(model.target.labels)


class TabularRegressor(RegressorMixin, _TabularEstimator):  # type: ignore[misc]
    """Networks that predict a number from the columns of a raw table.

    Parameters
    ----------
    n_ensemble : int, default 6
        Number of networks, each with other rows held out, whose values are averaged.
    metric : {"rmse", "mae", "quantile"}, default "rmse"
        What is to be small: squared errors, for the mean; absolute ones, for the median; or the quantile loss.
    quantile : float, default 0.5
        Which quantile to predict, where that is the metric.
    hidden, epochs, batch_size : as of `TabularClassifier`
    learning_rate : float, default None
        The highest of the schedule's; None means 0.07.
    dropout : float, default None
        None means 0.
    patience, time_budget, n_jobs, random_state, progress : as of `TabularClassifier`

    Attributes
    ----------
    scores_ : dict of str to float
        R², RMSE and MAE on the rows held out, each row by networks that had not seen it.
    notices_, model_, n_features_in_, feature_names_in_ : as of `TabularClassifier`
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **_TabularEstimator._parameter_constraints,
        "metric": [StrOptions(set(NUMBER_METRICS))],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }
    _task = Quantity.task

    def __init__(
        self,
        *,
        n_ensemble: int = N_ENSEMBLE,
        metric: str = "rmse",
        quantile: float = 0.5,
        hidden: tuple[int, ...] = HIDDEN,
        epochs: int = EPOCHS,
        batch_size: int = BATCH_SIZE,
        learning_rate: float | None = None,
        dropout: float | None = None,
        patience: int | None = PATIENCE,
        time_budget: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        self.n_ensemble = n_ensemble
        self.metric = metric
        self.quantile = quantile
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.patience = patience
        self.time_budget = time_budget
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.progress = progress

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, eval_set: Any = None
    ) -> TabularRegressor:
        """Train on a table and its numbers.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, mapping from names to columns, or array-like of shape (n, D)
        y : array-like of shape (n,)
        sample_weight, groups, eval_set : as for `TabularClassifier.fit`

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no column is of use, or an argument is not as described.
        """
        frame, column = _rows(X), _numbers(y)
        check_consistent_length(frame, column)
        weights = _weights(sample_weight, frame)
        held_out = None
        if eval_set is not None:
            held_out = frame_of(eval_set[0], "eval_set[0]"), _numbers(eval_set[1])
        self._build(frame, has_names(X), column, Quantity.learn(column), weights, groups, held_out)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted number of each row.

        Parameters
        ----------
        X : frame, mapping or array-like
            With the columns of the training table; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If a column is missing, or holds something else than in training.
        """
        frame = self._frame(X)
        return np.asarray(self.model_.values(frame))

    def predict_interval(self, X: Any, alpha: float = 0.1) -> Array:
        """Return for each row a lower and an upper bound, between which its number lies in a share 1 − alpha of cases.

        They lie as far from the prediction as all but a share alpha of the rows did that a network had not seen.

        Parameters
        ----------
        X : as for `predict`
        alpha : float, default 0.1
            Between 0 and 1.

        Returns
        -------
        ndarray of shape (n, 2)

        Raises
        ------
        ValueError
            If alpha is less than so many rows can tell.
        """
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
        values = self.predict(X)
        margin = self.model_.margin(alpha)
        return np.column_stack([values - margin, values + margin])


def _rows(X: Any) -> pl.DataFrame:
    """Return a table to train on."""
    frame = frame_of(X)
    if frame.height < 2:
        raise ValueError(f"X has n_samples = {frame.height}, and 2 at least are needed to hold one out")
    return frame


def _labels(y: Any) -> Array:
    """Return classes as an array, (n,), none of them missing."""
    labels: Array = column_or_1d(_plain(y), warn=True)
    assert_all_finite(labels, input_name="y")
    if labels.dtype == object and any(label is None for label in labels):
        raise ValueError("y has missing labels; leave their rows out")
    check_classification_targets(labels)
    if labels.dtype == object:
        kinds = {bool: bool, int: np.int64}
        dtype = kinds.get(type(labels[0])) if len({type(label) for label in labels}) == 1 else None
        labels = labels.astype(dtype or str)
    return labels


def _numbers(y: Any) -> pl.Series:
    """Return numbers as a column, none of them missing."""
    numbers = column_or_1d(_plain(y), warn=True)
    assert_all_finite(numbers, input_name="y")
    return pl.Series("y", numbers.astype(np.float64))


def _plain(y: Any) -> Any:
    """Return a series of any library as an array; anything else as it is."""
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")
    series = nw.from_native(y, series_only=True, pass_through=True)
    return column_of(y, "y").to_numpy() if isinstance(series, nw.Series) else y


def _weights(sample_weight: Any, frame: pl.DataFrame) -> Array:
    """Return the rows' weights, (n,), all 1 where none are given."""
    return np.asarray(_check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True))
