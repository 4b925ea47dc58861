"""`TabularRegressor`: prediction of a number for each row of a raw table, with scikit-learn's interface.

It knows numbers and intervals. It must not know how a model is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length

from fastbp._typing import Array, HeldOut, MaybeArray, RandomState, Self
from fastbp.losses import Loss
from fastbp.results import Progress
from fastbp.tabular import own_loss
from fastbp.tabular.base import (
    TabularEstimator,
    checked_groups,
    checked_validation,
    checked_weights,
    finite_numbers,
    fit_context,
    training_frame,
)
from fastbp.tabular.encoding.cells import Cells, cells_of
from fastbp.tabular.encoding.frames import has_names
from fastbp.tabular.encoding.target import Quantity
from fastbp.tabular.partitions import by_partitions
from fastbp.tabular.settings import (
    BATCH_SIZE,
    NUMBER_METRICS,
    PATIENCE,
    NumberMetric,
    Settings,
)
from fastbp.tabular.training.parts import TrainingData


class TabularRegressor(RegressorMixin, TabularEstimator):  # type: ignore[misc]
    """Prediction of a number for each row of a raw table by an ensemble of neural networks.

    Columns of numbers, Booleans, texts, categories and dates are encoded, and cells may be missing. Each network
    is validated on rows that are held out from its training. The predictions of the networks are averaged. No
    prediction leaves the range of the training targets.

    Parameters
    ----------
    n_estimators : int or None, default None
        Number of networks. None means 6, or for more than 20,000 rows 4 to 6, so that all of them take at most 4 times
        `epochs` epochs. One network takes less time and is a little less accurate.
    metric : {"rmse", "mae", "quantile"} or Loss, default "rmse"
        Loss that is trained, and metric on the held-out rows that chooses the best epoch of each network. "rmse"
        predicts the mean, "mae" the median and "quantile" a quantile. `fastbp.losses.huber(delta)` and
        `fastbp.losses.custom(function)` measure y in its own unit. Losses of classes, of rows and of counts (`poisson`)
        are refused.
    quantile : float, default 0.5
        Quantile to predict, in (0, 1). Only the metric "quantile" uses it.
    hidden_layer_sizes : tuple of int or None, default None
        Widths of the hidden layers. An empty tuple makes linear models. None means (128, 128, 128), or (256, 256, 256)
        for more than 20,000 rows.
    epochs : int or None, default None
        Maximum number of passes over the training rows. None means 256 for up to 20,000 rows, and fewer for more rows:
        256 (20,000 / n)^1.75 for n rows, and at least 6. The networks after the first two ones then take only as many
        epochs as the first ones had at their best.
    batch_size : int, default 256
        Rows per minibatch.
    learning_rate : float or None, default None
        Peak learning rate of the schedule. None means 0.07.
    dropout : float or None, default None
        Dropout rate of the hidden units, in [0, 1). None means 0.
    patience : int or None, default 24
        Epochs without improvement on the held-out rows after which the training of a network ends. None trains all
        epochs.
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
    scores_ : dict of str to float
        The `r2`, `rmse` and `mae` of the held-out rows, each predicted by the networks that did not see it. For the
        metric "quantile", the `quantile_loss` and `share_below`: the share of rows with a number at or below the
        prediction, which should be close to `quantile`. For a loss of your own, also the mean loss, under the name of
        the function. RMSE, MAE and quantile loss are in the unit of y. No row chose
        the epoch that it is scored after. The scores of new rows are about as good, and for a few hundred rows or fewer
        a little better, because all networks predict them. A score that is not defined is None.
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
    data", NeurIPS. Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018), "Distribution-free predictive inference for
    regression", JASA.

    Examples
    --------
    >>> from fastbp.tabular import TabularRegressor
    >>> frame = {"colour": ["red", "blue", None, "red"] * 9, "size": [1.5, None, 2.5, 3.0] * 9}
    >>> model = TabularRegressor(epochs=8).fit(frame, [10.5, 20.0, 30.5, 10.0] * 9)
    >>> model.predict({"colour": ["red"], "size": [1.5]}).shape
    (1,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **TabularEstimator._parameter_constraints,
        "metric": [StrOptions(set(NUMBER_METRICS)), Loss],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }
    _task = Quantity.task

    def __init__(
        self,
        *,
        n_estimators: int | None = None,
        metric: NumberMetric | Loss = "rmse",
        quantile: float = 0.5,
        hidden_layer_sizes: tuple[int, ...] | list[int] | None = None,
        epochs: int | None = None,
        batch_size: int = BATCH_SIZE,
        learning_rate: float | None = None,
        dropout: float | None = None,
        patience: int | None = PATIENCE,
        time_budget: float | None = None,
        n_jobs: int | None = -1,
        random_state: RandomState = 0,
        callback: Callable[[Progress], object] | None = None,
        verbose: bool | int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.metric = metric
        self.quantile = quantile
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.patience = patience
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
        """Train on a table and its numbers.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, mapping from names to columns, or array-like of shape (n, D)
            Two rows at least.
        y : array-like of shape (n,)
            Finite numbers.
        sample_weight : array-like of shape (n,), default None
            Weights of the rows. Only their ratios matter. A row of weight 0 is not used.
        groups : array-like of shape (n,), default None
            Group of each row. Rows of one group are held out together.
        validation_data : tuple (X, y) or (X, y, sample_weight), default None
            Validation rows. They replace the held-out rows of every network.
        executor : concurrent.futures.Executor, default None
            Trains the networks in place of threads, in other processes or on other machines. `n_jobs` has no effect
            then, and the callback is called once for each network. The result is the same to the bit. Default: the
            backend that `joblib.parallel_config` has chosen, or threads.

        Returns
        -------
        TabularRegressor
            This estimator.

        Raises
        ------
        TypeError, ValueError
            If no column can be learned from, or an argument is not as described, or a loss of your own fails, has a
            wrong derivative, cannot be compiled, or cannot be sent to the processes of `executor`.
        DivergenceError
            If every network diverged.
        """
        started = time.monotonic()
        frame, column = training_frame(X), _cells(y)
        check_consistent_length(frame, column)
        data = TrainingData(
            frame=frame,
            column=column,
            target=Quantity.learn(column),
            weights=checked_weights(sample_weight, frame),
            groups=checked_groups(groups, frame),
            validation=checked_validation(validation_data, _cells),
        )
        self._train(data, has_names(X), executor, started)
        return self

    def _settings(self) -> Settings:
        settings = super()._settings()
        if not isinstance(self.metric, Loss):
            return settings
        metric, quantile = own_loss.as_metric(self.metric, settings.quantile)
        return replace(settings, metric=metric, quantile=quantile)

    @by_partitions(lambda self: np.zeros(0))  # noqa: ARG005 (`by_partitions` passes the estimator)
    def predict(self, X: Any) -> Array:
        """Return the predicted number of each row.

        Parameters
        ----------
        X : frame, mapping or array-like of shape (n, D)
            Has the columns of the training table. A frame or mapping may have them in any order. For a Dask
            frame, the result is a Dask series with its partitions, and nothing is computed yet.

        Returns
        -------
        ndarray of shape (n,)
            In the unit of y.

        Raises
        ------
        ValueError
            If a column is missing, or holds another kind of cells than in training.
        """
        frame = self._frame(X)
        return np.asarray(self.model_.answers(frame))

    @by_partitions(lambda self: {"lower": np.zeros(0), "upper": np.zeros(0)})  # noqa: ARG005 (likewise)
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return an interval for each row that covers the true number with probability about `coverage`.

        The prediction is the centre of the interval. The half-width is the same for all rows: a share `coverage` of the
        held-out rows lies no further from its prediction; see `TableModel.margin`. The held-out rows also chose the
        epochs of the networks, so the coverage of new rows is a little smaller, mostly for a few hundred rows or fewer.

        Parameters
        ----------
        X : frame, mapping or array-like of shape (n, D)
            Has the columns of the training table. A frame or mapping may have them in any order. For a Dask
            frame, the result is a Dask frame with its partitions, and nothing is computed yet.
        coverage : float, default 0.9
            Wanted probability, in (0, 1).

        Returns
        -------
        ndarray of shape (n, 2)
            Lower and upper bounds, in the unit of y.

        Raises
        ------
        ValueError
            If `coverage` is out of range or larger than the held-out rows can give, if a column is missing, or if it
            holds another kind of cells than in training.
        """
        values = self.predict(X)
        margin = self.model_.margin(coverage)
        return np.column_stack([values - margin, values + margin])


def _cells(y: Any) -> Cells:
    """Return numbers as cells, none of them missing."""
    return cells_of("y", finite_numbers(y))
