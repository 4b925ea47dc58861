"""`TabularRegressor`: numbers predicted from the columns of a raw table, behind scikit-learn's interface.

It knows numbers and intervals. It must not know how a model is made.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from fastbp.tabular.base import TabularEstimator, plain, rows_of, weights_of
from fastbp.tabular.encoding.cells import Cells, cells_of
from fastbp.tabular.encoding.frames import frame_of, has_names
from fastbp.tabular.encoding.target import Quantity
from fastbp.tabular.settings import BATCH_SIZE, EPOCHS, HIDDEN, N_ENSEMBLE, NUMBER_METRICS, PATIENCE
from fastbp.tabular.training.pool import Progress

Array = npt.NDArray[Any]


class TabularRegressor(RegressorMixin, TabularEstimator):  # type: ignore[misc]
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
        R², RMSE and MAE, or the quantile's loss and the share of rows below it, on the rows held out, each row by
        networks that were not trained on it. These rows chose the epochs, so new ones will see a little less of it.
    notices_, model_, n_features_in_, feature_names_in_ : as of `TabularClassifier`
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's)
        **TabularEstimator._parameter_constraints,
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
        frame, column = rows_of(X), _numbers(y)
        check_consistent_length(frame, column)
        weights = weights_of(sample_weight, frame)
        held_out = None
        if eval_set is not None:
            held_out = frame_of(eval_set[0], "eval_set[0]"), _numbers(eval_set[1])
            check_consistent_length(*held_out)
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

        They lie as far from the prediction as all but a share alpha of the rows that were held out did. Those chose the
        epochs of the networks, so of few rows the share is a little larger than alpha.

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


def _numbers(y: Any) -> Cells:
    """Return numbers as a column, none of them missing."""
    numbers = column_or_1d(plain(y), warn=True)
    assert_all_finite(numbers, input_name="y")
    return cells_of("y", numbers.astype(np.float64))
