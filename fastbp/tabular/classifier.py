"""`TabularClassifier`: classes told apart from the columns of a raw table, behind scikit-learn's interface.

It knows labels and probabilities. It must not know how a model is made.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from fastbp.tabular.base import TabularEstimator, plain, rows_of, weights_of
from fastbp.tabular.encoding.cells import cells_of
from fastbp.tabular.encoding.frames import frame_of, has_names
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.model import TableModel
from fastbp.tabular.settings import BATCH_SIZE, CLASS_METRICS, EPOCHS, HIDDEN, LABEL_SMOOTHING, N_ENSEMBLE, PATIENCE
from fastbp.tabular.training.pool import Progress

Array = npt.NDArray[Any]


class TabularClassifier(ClassifierMixin, TabularEstimator):  # type: ignore[misc]
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
        Accuracy, log loss and AUC on the rows held out, each row by networks that were not trained on it. These rows
        chose the epochs and the temperature, so new ones will see a little less of it, on a hundred rows noticeably.
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
        **TabularEstimator._parameter_constraints,
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
        frame, labels = rows_of(X), _labels(y)
        check_consistent_length(frame, labels)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"This solver needs samples of at least 2 classes in the data, got 1 class: {classes}")
        target = Classes("y", tuple(classes.tolist()))
        column = cells_of("y", labels)
        weights = weights_of(sample_weight, frame) * compute_sample_weight(self.class_weight, labels)
        held_out = None
        if eval_set is not None:
            held_out = frame_of(eval_set[0], "eval_set[0]"), cells_of("y", _labels(eval_set[1]))
            check_consistent_length(*held_out)
        self._build(frame, has_names(X), column, target, weights, groups, held_out)
        self.model_.about["settings"]["class_weight"] = _pairs(self.class_weight)
        self.classes_ = classes
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

    def _keep(self, model: TableModel) -> None:
        super()._keep(model)
        assert isinstance(model.target, Classes)
        self.classes_ = np.array(model.target.labels)


def _pairs(class_weight: Any) -> Any:
    """Return class weights as JSON holds them, whose dictionaries have no keys but texts."""
    if not isinstance(class_weight, dict):
        return class_weight
    return [[np.asarray(label).item(), float(weight)] for label, weight in class_weight.items()]


def _labels(y: Any) -> Array:
    """Return classes as an array, (n,), none of them missing."""
    labels: Array = column_or_1d(plain(y), warn=True)
    assert_all_finite(labels, input_name="y")
    if labels.dtype == object:
        if any(label is None for label in labels):
            raise ValueError("y has missing labels; leave their rows out")
        kinds = {type(label) for label in labels}
        if kinds <= {bool, np.bool_}:
            labels = labels.astype(bool)
        elif kinds <= {int, np.int64}:
            labels = labels.astype(np.int64)
    check_classification_targets(labels)
    return labels.astype(str) if labels.dtype == object else labels
