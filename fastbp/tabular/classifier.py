"""`TabularClassifier`: classification of the rows of a raw table, with scikit-learn's interface.

It knows labels and probabilities. It must not know how a model is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from fastbp._typing import Array, HeldOut, MaybeArray, RandomState, Self
from fastbp.results import Progress
from fastbp.tabular.base import (
    TabularEstimator,
    as_array,
    checked_groups,
    checked_validation,
    checked_weights,
    fit_context,
    training_frame,
)
from fastbp.tabular.encoding.cells import Cells, cells_of
from fastbp.tabular.encoding.frames import has_names
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.model import TableModel
from fastbp.tabular.partitions import by_partitions
from fastbp.tabular.settings import (
    BATCH_SIZE,
    CLASS_METRICS,
    LABEL_SMOOTHING,
    PATIENCE,
    ClassMetric,
)
from fastbp.tabular.training.parts import TrainingData


class TabularClassifier(ClassifierMixin, TabularEstimator):  # type: ignore[misc]
    """Classification of the rows of a raw table by an ensemble of neural networks.

    Columns of numbers, Booleans, texts, categories and dates are encoded, and cells may be missing. Each network
    is validated on rows that are held out from its training. The probabilities of the networks are averaged, and they
    are calibrated on the held-out rows.

    Parameters
    ----------
    n_estimators : int or None, default None
        Number of networks. None means 6, or for more than 20,000 rows 4 to 6, so that all of them take at most 4 times
        `epochs` epochs. One network takes less time and is a little less accurate.
    metric : {"log_loss", "accuracy", "auc"}, default "log_loss"
        Metric on the held-out rows that chooses the best epoch of each network.
    hidden_layer_sizes : tuple of int or None, default None
        Widths of the hidden layers. An empty tuple makes linear models. None means (128, 128, 128), or (256, 256, 256)
        for more than 20,000 rows or at least 10 classes.
    epochs : int or None, default None
        Maximum number of passes over the training rows. None means 256 for up to 20,000 rows, and fewer for more rows:
        256 (20,000 / n)^1.75 for n rows, and at least 6. The networks after the first two ones then take only as many
        epochs as the first ones had at their best.
    batch_size : int, default 256
        Rows per minibatch.
    learning_rate : float or None, default None
        Peak learning rate of the schedule. None means 0.04.
    dropout : float or None, default None
        Dropout rate of the hidden units, in [0, 1). None means 0.15.
    label_smoothing : float, default 0.05
        Share of each label that is distributed equally over all classes, in [0, 1).
    patience : int or None, default 24
        Epochs without improvement on the held-out rows after which the training of a network ends. None trains all
        epochs.
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, as in scikit-learn. They multiply the sample weights of the training rows and of the
        validation rows. The predicted probabilities then follow the weighted class frequencies instead of the
        frequencies in the table.
    time_budget : float or None, default None
        Seconds that the whole fit may take, with the encoding of the table and the scores. It exceeds them by a
        twentieth or two seconds at most, if the encoding leaves time for training. If not all networks and epochs
        fit, the learning-rate schedule is laid over the steps that do, and a notice in `notices_` says what was left
        out. The result then differs from run to run.
    n_jobs : int or None, default -1
        Number of networks that are trained at the same time, in threads. -1 means one per core. None means 1, unless
        a `joblib.parallel_config` context says otherwise. The result is the same to the bit.
    random_state : int, RandomState or None, default 0
        Seed of the held-out rows, the initial weights, the order of the rows and the dropout.
    callback : callable or None, default None
        Called as `callback(progress)` with a `fastbp.tabular.Progress` after each epoch of each network, and once
        more when the training of a network has ended. If it returns True, the whole training ends, and every network
        keeps its best epoch.
    verbose : bool, int or None, default None
        Whether `fit` shows rows that are encoded, networks, epoch, rows, losses and the time that is left: a line on a
        terminal, lines on stderr in a log, and a bar in a notebook. None shows the bar in a notebook, and nothing
        elsewhere.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in ascending order.
    scores_ : dict of str to float
        The `accuracy`, `log_loss` and `auc` of the held-out rows, each predicted by the networks that did not see it.
        No row chose the epoch or the temperature that it is scored with. The scores of new rows are about as good, and
        for a few hundred rows or fewer a little better, because all networks predict them. A score that is not defined
        is None.
    notices_ : tuple of str
        What was left out of the table and why, one sentence each.
    leaderboard_ : list of dict
        The networks, the one with the smallest error on its held-out rows first; see `TableModel.leaderboard`.
        `pandas.DataFrame(model.leaderboard_)` makes a table of it.
    model_ : TableModel
        The networks, and the encodings of the columns and the target.
    n_features_in_ : int
        Number of columns of the training table.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of the training table. Only defined if the table had names.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data", NeurIPS. Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks", ICML.

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
        n_estimators: int | None = None,
        metric: ClassMetric = "log_loss",
        hidden_layer_sizes: tuple[int, ...] | list[int] | None = None,
        epochs: int | None = None,
        batch_size: int = BATCH_SIZE,
        learning_rate: float | None = None,
        dropout: float | None = None,
        label_smoothing: float = LABEL_SMOOTHING,
        patience: int | None = PATIENCE,
        class_weight: dict[Any, Any] | Literal["balanced"] | None = None,
        time_budget: float | None = None,
        n_jobs: int | None = -1,
        random_state: RandomState = 0,
        callback: Callable[[Progress], object] | None = None,
        verbose: bool | int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.metric = metric
        self.hidden_layer_sizes = hidden_layer_sizes
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
        self.callback = callback
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: npt.ArrayLike,
        sample_weight: MaybeArray = None,
        *,
        groups: Any = None,
        validation_data: HeldOut | None = None,
        executor: Executor | None = None,
    ) -> Self:
        """Train on a table and its labels.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, mapping from names to columns, or array-like of shape (n, D)
            Two rows at least.
        y : array-like of shape (n,)
            Labels: texts, numbers or Booleans. No label is missing.
        sample_weight : array-like of shape (n,), default None
            Weights of the rows. Only their ratios matter. A row of weight 0 is not used.
        groups : array-like of shape (n,), default None
            Group of each row. Rows of one group are held out together.
        validation_data : tuple (X, y) or (X, y, sample_weight), default None
            Validation rows. They replace the held-out rows of every network. They have the class weights of the
            training rows too.
        executor : concurrent.futures.Executor, default None
            Trains the networks in place of threads, in other processes or on other machines. `n_jobs` has no effect
            then, and the callback is called once for each network. The result is the same to the bit. Default: the
            backend that `joblib.parallel_config` has chosen, or threads.

        Returns
        -------
        TabularClassifier
            This estimator.

        Raises
        ------
        ValueError
            If no column can be learned from, or an argument is not as described.
        DivergenceError
            If every network diverged.
        """
        started = time.monotonic()
        frame, labels = training_frame(X), _labels(y)
        check_consistent_length(frame, labels)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"This solver needs samples of at least 2 classes in the data, got 1 class: {classes}")
        weights_of_classes = compute_sample_weight(self.class_weight, labels)
        validation = checked_validation(validation_data, _cells)
        if validation is not None and self.class_weight is not None:
            rows, column, weights = validation
            weight_of = dict(zip(labels.tolist(), weights_of_classes.tolist(), strict=True))
            of_rows = np.array([weight_of.get(column.value(row), 1.0) for row in range(len(column))])
            validation = rows, column, of_rows if weights is None else weights * of_rows
        data = TrainingData(
            frame=frame,
            column=cells_of("y", labels),
            target=Classes("y", tuple(classes.tolist())),
            weights=checked_weights(sample_weight, frame) * weights_of_classes,
            groups=checked_groups(groups, frame),
            validation=validation,
        )
        self._train(data, has_names(X), executor, started)
        self.model_.about["settings"]["class_weight"] = _for_json(self.class_weight)
        self.classes_ = classes
        return self

    @by_partitions(lambda self: {label: np.zeros(0) for label in self.classes_.tolist()})
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : frame, mapping or array-like of shape (n, D)
            Has the columns of the training table. A frame or mapping may have them in any order. For a Dask
            frame, the result is a Dask frame with its partitions, and nothing is computed yet.

        Returns
        -------
        ndarray of shape (n, n_classes)
            In the order of `classes_`.

        Raises
        ------
        ValueError
            If a column is missing, or holds another kind of cells than in training.
        """
        frame = self._frame(X)
        return np.asarray(self.model_.answers(frame))

    @by_partitions(lambda self: self.classes_[:0])
    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : frame, mapping or array-like of shape (n, D)
            Has the columns of the training table. A frame or mapping may have them in any order. For a Dask
            frame, the result is a Dask series with its partitions, and nothing is computed yet.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If a column is missing, or holds another kind of cells than in training.
        """
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _set_model(self, model: TableModel) -> None:
        super()._set_model(model)
        assert isinstance(model.target, Classes)
        self.classes_ = np.array(model.target.labels)


def _for_json(class_weight: Any) -> Any:
    """Return class weights as JSON can hold them: a dictionary as pairs, because a key in JSON is always a text."""
    if not isinstance(class_weight, dict):
        return class_weight
    return [[np.asarray(label).item(), float(weight)] for label, weight in class_weight.items()]


def _cells(y: Any) -> Cells:
    """Return labels as cells, none of them missing."""
    return cells_of("y", _labels(y))


def _labels(y: Any) -> Array:
    """Return labels as an array, (n,), none of them missing."""
    labels: Array = column_or_1d(as_array(y), warn=True)
    assert_all_finite(labels, input_name="y")
    if labels.dtype == object:
        if any(label is None for label in labels):
            raise ValueError("y has missing labels: remove the rows without a label")
        kinds = {type(label) for label in labels}
        if kinds <= {bool, np.bool_}:
            labels = labels.astype(bool)
        elif kinds <= {int, np.int64}:
            labels = labels.astype(np.int64)
    check_classification_targets(labels)
    return labels.astype(str) if labels.dtype == object else labels
