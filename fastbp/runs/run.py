"""One training run: its rows, plan and state made from keywords, and the run gone through epoch by epoch.

`Network`, the drop-in and the estimators for tables all train through `Run`, so what the core can do, each of them can
offer. This file must not know any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastbp import schedules
from fastbp._typing import Floats, Integers
from fastbp.kernels.input_factors import input_factors_of, no_input_factors
from fastbp.kernels.layout import Parameters
from fastbp.kernels.packing import aligned_zeros
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import BEST, STALE, STEP, Plan, State
from fastbp.kernels.shuffling import RandomState
from fastbp.losses import Loss
from fastbp.optimizers import Rule
from fastbp.results import History, Progress
from fastbp.runs import fitting
from fastbp.schedules import LearningRate


@dataclass
class Patience:
    """Counts the epochs in a row that do not improve, and knows when they are too many.

    Attributes
    ----------
    limit : float
        So many epochs in a row without improvement are too many; infinity for no end.
    tolerance : float
        An epoch improves if its value is at least so much below the best value before.
    best : float
        The least value so far.
    count : int
        Epochs in a row, the last one included, that did not improve.
    """

    limit: float
    tolerance: float = 0.0
    best: float = np.inf
    count: int = 0

    def improves(self, value: float) -> bool:
        """Take note of an epoch's value; return whether the epoch improves. NaN never does."""
        is_better = value <= self.best - self.tolerance
        self.count = 0 if is_better else self.count + 1
        self.best = min(self.best, value)
        return is_better

    @property
    def is_over(self) -> bool:
        """Whether too many epochs in a row did not improve."""
        return self.count >= self.limit


class Run:
    """Minibatch gradient descent over some rows, which can be gone on with at any epoch.

    Parameters
    ----------
    parameters : Parameters
        Where the run starts; changed in place.
    rows : TrainingRows
    loss : Loss
    rule : Rule
        The optimizer's.
    batch_size : int
        Rows a step; more than there are rows means all.
    random : ndarray of uint64
        The state of the random stream, of fastbp's generator or of NumPy's; changed in place.
    shuffle : bool
        Whether the rows are permuted anew for each epoch.
    drop_last : bool
        Whether an epoch leaves out its last batch where that is short.
    order : ndarray of int64, optional
        Which of the rows the run takes, in the order of the first epoch; all of them if left out.
    step : int
        How many steps the optimizer has made before.
    mean, square : ndarray, optional
        The optimizer's moments, laid out as the parameters; changed in place. Zeros if left out.
    dropout : float
        The share of hidden units that each step leaves out, in [0, 1).
    rate_factors : ndarray of shape (2 (K + 1),), optional
        What the learning rate of each layer's weights and biases is multiplied by; 1 if left out.
    input_factor_rate : float, optional
        Trains a factor for each input too, at so many times the learning rate. Needs a hidden layer and one thread.
    loss_scale : float
        What an epoch's loss is multiplied by.
    is_mean_of_batches : bool
        Whether a batch counts in an epoch's loss by its number of rows, not by their weights.
    """

    def __init__(
        self,
        parameters: Parameters,
        rows: TrainingRows,
        *,
        loss: Loss,
        rule: Rule,
        batch_size: int,
        random: RandomState,
        shuffle: bool = True,
        drop_last: bool = False,
        order: Integers | None = None,
        step: int = 0,
        mean: Floats | None = None,
        square: Floats | None = None,
        dropout: float = 0.0,
        rate_factors: npt.NDArray[np.float64] | None = None,
        input_factor_rate: float | None = None,
        loss_scale: float = 1.0,
        is_mean_of_batches: bool = False,
    ) -> None:
        dtype = parameters.data.dtype
        order = np.arange(rows.rows) if order is None else order.copy()
        batch_size = min(batch_size, order.size)
        size = parameters.data.size
        moments = [
            aligned_zeros(size if i < rule.n_moments else 0, dtype) if moment is None else moment
            for i, moment in enumerate((mean, square))
        ]
        self.rows = rows
        self.plan = Plan(
            batch_size=batch_size,
            rows=order.size // batch_size * batch_size if drop_last else order.size,
            shuffled=shuffle,
            loss=loss.code,
            loss_parameter=loss.parameter,
            rule=rule,
            loss_scale=loss_scale,
            is_mean_of_batches=is_mean_of_batches,
            tolerance=0.0,
            patience=np.inf,
            dropout=dropout,
        )
        self.state = State(
            parameters=parameters,
            gradients=aligned_zeros(moments[0].size, dtype),
            mean=moments[0],
            square=moments[1],
            order=order,
            random=random,
            counts=np.array([step, 0, 0, 0]),
            sums=np.array([0, 0, np.inf]),
            rate_factors=np.ones(2 * parameters.n_layers) if rate_factors is None else rate_factors,
            input_factors=no_input_factors(dtype) if input_factor_rate is None else input_factors_of(parameters, input_factor_rate),
        )
        self._best: Floats | None = None

    @property
    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        return self.state.parameters

    @property
    def moments(self) -> tuple[Parameters, ...]:
        """The optimizer's moments, as far as it keeps any, laid out as the parameters."""
        held = (self.state.mean, self.state.square)
        return tuple(self.parameters._replace(data=data) for data in held if data.size)

    @property
    def order(self) -> Integers:
        """Which of the rows the run takes, in this epoch's order; may be written to between epochs."""
        return self.state.order

    @property
    def random(self) -> RandomState:
        """The state of the random stream."""
        return self.state.random

    @property
    def step(self) -> int:
        """How many steps the optimizer has made."""
        return int(self.state.counts[STEP])

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has."""
        return -(-self.plan.rows // self.plan.batch_size)

    def fit(
        self,
        epochs: int,
        learning_rate: LearningRate,
        *,
        validate: Callable[[], float] | None = None,
        patience: Patience | None = None,
        callback: Callable[[Progress], object] | None = None,
        n_threads: int | None = None,
        history: History | None = None,
    ) -> History:
        """Train for so many epochs, or until patience ends or the callback returns True.

        Parameters
        ----------
        epochs : int
        learning_rate : float or callable
            A schedule that spans a run spans these epochs.
        validate : callable, optional
            Gives the loss of rows held out; called after each epoch.
        patience : Patience, optional
            Watches the loss of the rows held out, or else the training loss. The best epoch's parameters are kept for
            `restore_best`; of equally good epochs, the last one's.
        callback : callable, optional
            Called with a `Progress` after each epoch.
        n_threads : int, optional
            How many threads make each step; left out, as many as make it fastest.
        history : History, optional
            Is added to.

        Returns
        -------
        History

        Raises
        ------
        DivergenceError
            If a loss or a parameter is not finite.
        """
        history = History() if history is None else history
        before = len(history.loss)

        def after_epoch(history: History) -> bool:
            if validate is not None:
                history.validation_loss.append(validate())
            held_out = history.validation_loss[-1] if validate is not None else np.nan
            watched = history.loss[-1] if validate is None else held_out
            if patience is not None and (patience.improves(watched) or self._best is None):
                self.keep_best()
            progress = Progress(len(history.loss) - before, history.loss[-1], held_out)
            is_ended = callback is not None and is_true(callback(progress))
            return is_ended or (patience is not None and patience.is_over)

        is_watched = validate is not None or patience is not None or callback is not None
        self._run(self.plan, learning_rate, epochs, after_epoch if is_watched else None, n_threads, history)
        return history

    def fit_until_stale(
        self, epochs: int, learning_rate: LearningRate, patience: Patience, offset: float, history: History
    ) -> None:
        """Do the same with nothing between the epochs: patience is counted within the compiled call.

        `offset` is what the patience's values are above the epochs' losses. The patience is brought up to date even if
        the call fails.
        """
        # A patience that is over before, from an earlier call, ends the call after its first epoch, not before.
        most = patience.limit - 1
        excess = int(max(0, patience.count - most))
        counts, sums = self.state.counts, self.state.sums
        counts[STALE] = patience.count - excess
        sums[BEST] = patience.best - offset
        plan = self.plan._replace(tolerance=float(patience.tolerance), patience=float(most))
        before = len(history.loss)
        try:
            self._run(plan, learning_rate, epochs, None, None, history)
        finally:
            patience.count = int(counts[STALE])
            if patience.count > most and len(history.loss) - before == 1:
                patience.count += excess
            patience.best = float(sums[BEST]) + offset
            counts[STALE] = 0

    def _run(
        self,
        plan: Plan,
        learning_rate: LearningRate,
        epochs: int,
        after_epoch: Callable[[History], bool] | None,
        n_threads: int | None,
        history: History,
    ) -> None:
        rate = schedules.over_run(learning_rate, self.step, epochs * self.steps_per_epoch)
        fitting.fit(self.rows, plan, self.state, rate, epochs, after_epoch, n_threads, history)

    def keep_best(self) -> None:
        """Keep the present parameters as the best."""
        self._best = self.parameters.data.copy()

    @property
    def best(self) -> Parameters | None:
        """The parameters that were kept last; None if none were."""
        return None if self._best is None else self.parameters._replace(data=self._best)

    def restore_best(self) -> None:
        """Put the parameters back that were kept last, if any were. The optimizer's state stays."""
        if self._best is not None:
            self.parameters.data[:] = self._best


def is_true(answer: object) -> bool:
    """Tell True from other values that a callback may return by accident."""
    return isinstance(answer, bool | np.bool_) and bool(answer)
