"""The base of both estimators: parameters, checks, training, prediction by column names, and model files.

It knows scikit-learn's conventions and other libraries' frames. It must not know how a model is trained.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from fastbp import checks
from fastbp._typing import Floats, Integers, MethodDecorator, Self
from fastbp.runs import portable
from fastbp.runs.display import showing
from fastbp.tabular import own_loss
from fastbp.tabular.encoding.cells import Cells, Frame, is_missing
from fastbp.tabular.encoding.frames import column_of, frame_of, has_names, refuse_dask
from fastbp.tabular.model import TableModel
from fastbp.tabular.settings import Settings
from fastbp.tabular.training.build import build
from fastbp.tabular.training.engines import active_engine
from fastbp.tabular.training.parts import TrainingData
from fastbp.tabular.training.progress import TrainingProgress

_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")

fit_context: MethodDecorator = _fit_context


class TabularEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The common part of `TabularClassifier` and `TabularRegressor`."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        "n_estimators": [_COUNT, None],
        "hidden_layer_sizes": [tuple, list, None],
        "epochs": [_COUNT, None],
        "batch_size": [_COUNT],
        "learning_rate": [_POSITIVE, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "patience": [_COUNT, None],
        "time_budget": [_POSITIVE, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "callback": [callable, None],
        "verbose": ["verbose", None],
    }

    _task: str

    # --- training -------------------------------------------------------------------------------------------

    def _train(self, data: TrainingData, is_named: bool, executor: Executor | None, started: float) -> None:
        """Train, and set the attributes of a fitted estimator. The time budget began at the time `started`."""
        settings = self._settings()
        progress = TrainingProgress(settings, len(data.frame), settings.metric or data.target.default_metric)
        with showing(progress.line, None if self.verbose is None else bool(self.verbose)):
            engine = executor or active_engine(self.n_jobs)
            built = build(data, settings, self.callback, engine, started, progress)
        if built.is_interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        built.model.about["has_names"] = is_named
        self._set_model(built.model)

    def _settings(self) -> Settings:
        given, widths = self.random_state, self.hidden_layer_sizes
        is_seed = isinstance(given, Integral)
        return Settings(
            n_estimators=None if self.n_estimators is None else int(self.n_estimators),
            metric=self.metric,
            quantile=float(getattr(self, "quantile", 0.5)),
            hidden_layer_sizes=None if widths is None else tuple(map(_plain, widths)),
            epochs=None if self.epochs is None else int(self.epochs),
            batch_size=int(self.batch_size),
            learning_rate=_plain(self.learning_rate),
            dropout=_plain(self.dropout),
            label_smoothing=float(getattr(self, "label_smoothing", 0.0)),
            patience=_plain(self.patience),
            time_budget=_plain(self.time_budget),
            n_threads=None if self.n_jobs == -1 else int(effective_n_jobs(self.n_jobs)),
            seed=int(given) if is_seed else int(check_random_state(given).randint(2**31 - 1)),
        )

    def _set_model(self, model: TableModel) -> None:
        """Set the attributes of a fitted estimator."""
        names = list(model.encoding.names)
        self.model_ = model
        self.n_features_in_ = len(names)
        if model.about.get("has_names", True):
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._columns = names
        self.notices_ = tuple(model.about["notices"])
        self.scores_ = {score["metric"]: score["value"] for score in model.about["scores"]}
        self.leaderboard_ = model.leaderboard

    # --- prediction -----------------------------------------------------------------------------------------

    def _frame(self, X: Any) -> Frame:
        """Return rows to predict as a frame with the columns of the training table."""
        check_is_fitted(self)
        frame = self._named_frame(X)
        for notice in self.model_.encoding.unknown_levels(frame):
            warnings.warn(notice, stacklevel=3)
        return frame

    def _named_frame(self, X: Any) -> Frame:
        """Return rows as a frame whose columns have the names of the training table."""
        frame, names = frame_of(X), self._columns
        if has_names(X) and hasattr(self, "feature_names_in_"):
            self.model_.encoding.check_columns(frame.names)
            for notice in self.model_.unknown_columns(frame):
                warnings.warn(f"{notice}; ignored", stacklevel=4)
            return frame
        if (width := len(frame.names)) != self.n_features_in_:
            wanted = f"{type(self).__name__} is expecting {self.n_features_in_} features as input"
            raise ValueError(f"X has {width} features, but {wanted}")
        if hasattr(self, "feature_names_in_"):
            warnings.warn(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names",
                stacklevel=4,
            )
        return frame.renamed(names)

    # --- copies and pickles ---------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return portable.with_portable(state, "metric") if hasattr(self, "model_") else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(portable.with_plain(state, "metric"))

    # --- model files ----------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, which `load` and the command `fastbp` read. The file is no pickle.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.
        """
        check_is_fitted(self)
        self.model_.save(path)

    def to_onnx(self, path: str | os.PathLike[str], coverage: float | None = None) -> None:
        """Write the fitted model as an ONNX graph that takes raw columns; see `TableModel.to_onnx`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.
        coverage : float or None, default None
            Adds the outputs `lower` and `upper` of an interval. Regression only.

        Raises
        ------
        ImportError, ValueError
            As `TableModel.to_onnx` does.
        """
        check_is_fitted(self)
        self.model_.to_onnx(path, coverage)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return a fitted estimator from a file that `save` or the command `fastbp train` wrote.

        The estimator predicts the same to the bit. Its parameters are those of the training. A learning rate, dropout
        rate, number of networks or number of epochs of None is replaced by what was used, `random_state` is the seed,
        and `callback` and `verbose` are None.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        estimator

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
            "n_jobs": -1 if stored["n_threads"] is None else stored["n_threads"],
            "hidden_layer_sizes": tuple(stored["hidden_layer_sizes"]),
            "metric": own_loss.metric_of(stored["metric"]),
        }
        if isinstance(known.get("class_weight"), list):
            known["class_weight"] = dict(known["class_weight"])
        estimator = cls(**{name: known[name] for name in cls._get_param_names() if name in known})
        estimator._set_model(model)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def training_frame(X: Any) -> Frame:
    """Return a table to train on, or raise a `ValueError` if it has fewer than two rows."""
    frame = frame_of(X)
    if len(frame) < 2:
        raise ValueError(f"X has n_samples = {len(frame)}, and at least 2 are needed to hold one out")
    return frame


def as_array(y: Any) -> Any:
    """Return a series of any library as an array; return anything else unchanged."""
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")
    refuse_dask(y, "y")
    series = nw.from_native(y, series_only=True, pass_through=True)
    y = series.to_numpy() if isinstance(series, nw.Series) else y
    if getattr(np.asarray(y), "dtype", None) is not None and np.asarray(y).dtype.kind in "mM":
        raise ValueError("y holds dates or times: convert them to numbers or texts")
    if (array := np.asarray(y)).dtype == object and array.ndim == 1:
        for row, value in enumerate(array.tolist()):
            if is_missing(value):
                raise ValueError(f"y[{row}] is {value!r}: y has missing labels or numbers: remove their rows")
    return y


def finite_numbers(y: Any) -> Floats:
    """Return y as an array of finite numbers, (n,), or raise a `ValueError` that names the first other row."""
    given = column_or_1d(as_array(y), warn=True)
    assert_all_finite(given, input_name="y")
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must hold numbers ({error}); TabularClassifier takes labels") from None
    if not (is_finite := np.isfinite(numbers)).all():
        row = int(is_finite.argmin())
        raise ValueError(f"y[{row}] is {given[row]!r}: y must hold finite numbers: remove the row or mend the cell")
    return np.asarray(numbers)


def _plain(value: Any) -> Any:
    """Return a number of NumPy as Python's; return anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def checked_weights(sample_weight: Any, frame: Frame) -> Floats:
    """Return sample weights, (n,); all weights are 1 if none are given."""
    return np.asarray(_check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True))


def checked_groups(groups: Any, frame: Frame) -> Integers | None:
    """Return the number of each row's group, (n,), or None if there are no groups."""
    if groups is None:
        return None
    _, numbers = column_of(groups, "groups").distinct()
    check_consistent_length(frame, numbers)
    return numbers


def _is_pair(value: Any) -> bool:
    """Return whether a value is (X, y) or (X, y, sample_weight): X has two dimensions, and y has one."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        return False
    X, y = value[:2]
    dimensions = getattr(X, "ndim", len(getattr(X, "shape", ())))
    is_table = dimensions == 2 or isinstance(X, Mapping) or (isinstance(X, list) and X and not np.isscalar(X[0]))
    return bool(is_table) and not np.isscalar(y) and y is not None


def checked_validation(
    validation_data: Any, cells_of_y: Callable[[Any], Cells]
) -> tuple[Frame, Cells, Floats | None] | None:
    """Return validation rows, their target and their weights, or None if there are none.

    Parameters
    ----------
    validation_data : tuple (X, y) or (X, y, sample_weight), or None
    cells_of_y : callable
        Turns y into cells, and raises a `ValueError` if y cannot be a target.
    """
    if validation_data is None:
        return None
    if isinstance(validation_data, list | tuple) and validation_data and all(map(_is_pair, validation_data)):
        advice = "pass the one pair (X, y), or the rows of all pairs as one"
        n = len(validation_data)
        raise ValueError(f"validation_data holds {n} pair{'s' * (n > 1)} such as (X, y) in a list: {advice}")
    X, y, sample_weight = checks.rows_with_targets("validation_data", validation_data)
    frame, column = frame_of(X, "validation_data[0]"), cells_of_y(y)
    check_consistent_length(frame, column)
    if len(frame) == 0:
        raise ValueError("validation_data holds no rows")
    return frame, column, None if sample_weight is None else checked_weights(sample_weight, frame)
