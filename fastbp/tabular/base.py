"""What the classifier and the regressor share: parameters, checks, training, prediction by name, and one file.

It knows scikit-learn's conventions and Python's frames. It must not know how a model is made.
"""

from __future__ import annotations

import os
import warnings
from numbers import Integral, Real
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from fastbp.tabular.encoding.cells import Cells, Frame
from fastbp.tabular.encoding.frames import column_of, frame_of, has_names
from fastbp.tabular.encoding.target import Target
from fastbp.tabular.model import TableModel
from fastbp.tabular.settings import Settings
from fastbp.tabular.training.build import build

Array = npt.NDArray[Any]

_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")


class TabularEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
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
        frame: Frame,
        is_named: bool,
        y: Cells,
        target: Target,
        weights: Array,
        groups: Any,
        eval_set: tuple[Frame, Cells] | None,
    ) -> None:
        """Train, and set what a fitted estimator has."""
        if groups is not None:
            _, groups = column_of(groups, "groups").distinct()
            check_consistent_length(y, groups)
        built = build(frame, y, target, self._settings(), weights, groups, eval_set, self.progress)
        if built.is_interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        built.model.about["has_names"] = is_named
        self._keep(built.model)

    def _settings(self) -> Settings:
        cores = None if self.n_jobs is None or self.n_jobs < 0 else max(1, int(self.n_jobs))
        given = self.random_state
        is_seed = isinstance(given, Integral)
        return Settings(
            n_ensemble=int(self.n_ensemble),
            metric=self.metric,
            quantile=float(getattr(self, "quantile", 0.5)),
            hidden=tuple(self.hidden),
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

    def _keep(self, model: TableModel) -> None:
        names = list(model.encoding.names)
        self.model_ = model
        self.n_features_in_ = len(names)
        if model.about.get("has_names", True):
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._columns = names
        self.notices_ = tuple(model.about["notices"])
        self.scores_ = {score["measure"]: score["value"] for score in model.about["scores"]}

    # --- prediction -----------------------------------------------------------------------------------------

    def _frame(self, X: Any) -> Frame:
        """Return rows to predict as a frame with the columns of the training table."""
        check_is_fitted(self)
        frame, names = frame_of(X), self._columns
        if has_names(X) and hasattr(self, "feature_names_in_"):
            self.model_.encoding.check_columns(frame.names)
            for notice in self.model_.unknown_columns(frame):
                warnings.warn(f"{notice}; passed over", stacklevel=3)
            return frame
        if (width := len(frame.names)) != self.n_features_in_:
            wanted = f"{type(self).__name__} is expecting {self.n_features_in_} features as input"
            raise ValueError(f"X has {width} features, but {wanted}")
        if hasattr(self, "feature_names_in_"):
            warnings.warn(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names",
                stacklevel=3,
            )
        return frame.renamed(names)

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

        It predicts the same to the bit. Its parameters are those of the training, but for `random_state`, which is the
        seed that was drawn from it.

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
        if isinstance(known.get("class_weight"), list):
            known["class_weight"] = dict(known["class_weight"])
        estimator = cls(**{name: known[name] for name in cls._get_param_names() if name in known})
        estimator._keep(model)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def rows_of(X: Any) -> Frame:
    """Return a table to train on."""
    frame = frame_of(X)
    if len(frame) < 2:
        raise ValueError(f"X has n_samples = {len(frame)}, and 2 at least are needed to hold one out")
    return frame


def plain(y: Any) -> Any:
    """Return a series of any library as an array; anything else as it is."""
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")
    series = nw.from_native(y, series_only=True, pass_through=True)
    y = series.to_numpy() if isinstance(series, nw.Series) else y
    if getattr(np.asarray(y), "dtype", None) is not None and np.asarray(y).dtype.kind in "mM":
        raise ValueError("y holds dates or times: make numbers or texts of them")
    return y


def weights_of(sample_weight: Any, frame: Frame) -> Array:
    """Return the rows' weights, (n,), all 1 where none are given."""
    return np.asarray(_check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True))
