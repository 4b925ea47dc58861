"""One training run: its plan and state are made from keywords, and `Run.fit` trains epoch by epoch.

`Network`, `fastbp.sklearn` and `fastbp.tabular` all train through `Run`, so each of them can offer every option of a
run. This file must not know any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastbp import activations, schedules
from fastbp._typing import Floats, Integers
from fastbp.activations import OneOrMore
from fastbp.kernels.clipping import GRADIENT_SCALE
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.dropout import DROPOUT
from fastbp.kernels.input_factors import input_factors_of, no_input_factors
from fastbp.kernels.layout import Parameters
from fastbp.kernels.packing import aligned_zeros
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import BEST, EPOCH, ROW, STALE, STEP, Plan, State
from fastbp.kernels.shuffling import RandomState, shuffle_address
from fastbp.kernels.steps import first_moments, step_address
from fastbp.losses import Loss
from fastbp.optimizers import PLAIN_SGD, Rule
from fastbp.results import History, Progress
from fastbp.runs import fitting
from fastbp.schedules import LearningRate


@dataclass
class Patience:
    """A counter of the epochs in a row without improvement.

    Attributes
    ----------
    limit : float
        Number of epochs in a row without improvement that ends the training; infinity for no limit.
    tolerance : float, default 0.0
        An epoch improves if its value is at least this much below the best value so far.
    best : float, default infinity
        Lowest value so far.
    count : int, default 0
        Number of epochs without improvement since the last improvement.
    """

    limit: float
    tolerance: float = 0.0
    best: float = np.inf
    count: int = 0

    def improves(self, value: float) -> bool:
        """Count an epoch with this value; return whether the epoch improves. NaN is no improvement."""
        is_better = value <= self.best - self.tolerance
        self.count = 0 if is_better else self.count + 1
        self.best = min(self.best, value)
        return is_better

    @property
    def is_over(self) -> bool:
        """Whether the limit is reached."""
        return self.count >= self.limit


class Run:
    """Minibatch gradient descent over some rows. After each call of `fit`, the training can continue.

    Parameters
    ----------
    parameters : Parameters
        Initial parameters; changed in place.
    rows : TrainingRows
        Rows with targets and weights.
    activation : Activation or tuple of Activation, default ReLU
        Activation of all hidden layers, or one for each.
    loss : Loss
        Loss that is minimised.
    rule : Rule
        Parameters of the optimizer.
    batch_size : int
        Rows per step. A larger number than there are rows means all rows.
    random : ndarray of uint64
        State of the random numbers, of fastbp's generator or of NumPy's; changed in place.
    shuffle : bool, default True
        Whether each epoch takes the rows in a new random order.
    drop_last : bool, default False
        Whether the last batch of an epoch is left out if it has fewer than `batch_size` rows.
    order : ndarray of int64, optional
        Numbers of the rows to train on, in the order of the first epoch. Default: all rows.
    step : int, default 0
        Number of steps that the optimizer has made before.
    mean, square : ndarray, optional
        Moments of the optimizer, in the layout of the parameters; changed in place. Default: those before the
        first step.
    dropout : float, default 0.0
        Probability in [0, 1) with which a step sets a hidden unit of a row to 0.
    rate_factors : ndarray of shape (2 (K + 1),), optional
        Factors of the learning rate for the weights and the biases of each layer. Default: 1.
    input_factor_rate : float, optional
        Factor of the learning rate for learned factors of the inputs. Default: there are no such factors. They need a
        hidden layer and one thread.
    loss_scale : float, default 1.0
        Factor of the loss of an epoch in the history.
    is_mean_of_batches : bool, default False
        Whether the weight of a batch in the loss of an epoch is its number of rows, not the sum of its sample weights.
    """

    def __init__(
        self,
        parameters: Parameters,
        rows: TrainingRows,
        *,
        activation: OneOrMore = activations.relu,
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
        dtype, size = parameters.data.dtype, parameters.data.size
        order = np.arange(rows.rows) if order is None else order.copy()
        batch_size = min(batch_size, order.size)
        if mean is None or square is None:
            first_mean, first_square = first_moments(rule, size, dtype)
            mean, square = first_mean if mean is None else mean, first_square if square is None else square
        self.rows = rows
        self.plan = Plan(
            batch_size=batch_size,
            rows=order.size // batch_size * batch_size if drop_last else order.size,
            shuffle=shuffle_address(random) if shuffle else 0,
            loss=loss_address(loss, dtype),
            loss_parameter=loss.parameter,
            rule=rule,
            step=step_address(rule.kind, dtype),
            loss_scale=loss_scale,
            is_mean_of_batches=is_mean_of_batches,
            tolerance=0.0,
            patience=np.inf,
            dropout=dropout,
            drop=DROPOUT.address(dtype) if dropout > 0 else 0,
            gradient_scale=GRADIENT_SCALE.address(dtype) if rule.max_gradient_norm < np.inf else 0,
        )
        self.state = State(
            parameters=parameters,
            activations=layer_activations(activation, parameters.n_layers - 1, dtype),
            gradients=aligned_zeros(0 if rule.kind == PLAIN_SGD else size, dtype),
            mean=mean,
            square=square,
            order=order,
            random=random,
            counts=np.array([step, 0, 0, 0]),
            sums=np.array([0, 0, np.inf]),
            rate_factors=np.ones(2 * parameters.n_layers) if rate_factors is None else rate_factors,
            input_factors=(
                no_input_factors(dtype)
                if input_factor_rate is None
                else input_factors_of(parameters, input_factor_rate, rule.initial_square)
            ),
        )
        self._best: Floats | None = None

    @property
    def parameters(self) -> Parameters:
        """The current parameters."""
        return self.state.parameters

    @property
    def moments(self) -> tuple[Parameters, ...]:
        """The moments that the optimizer has, in the layout of the parameters."""
        held = (self.state.mean, self.state.square)
        return tuple(self.parameters._replace(data=data) for data in held if data.size)

    @property
    def order(self) -> Integers:
        """Numbers of the rows, in the order of this epoch. The array may be changed between epochs."""
        return self.state.order

    @property
    def random(self) -> RandomState:
        """The state of the random numbers."""
        return self.state.random

    @property
    def step(self) -> int:
        """Number of steps that the optimizer has made."""
        return int(self.state.counts[STEP])

    @property
    def rows_seen(self) -> int:
        """Number of rows in the steps so far, with repetitions. Another thread may ask during a step."""
        return int(self.state.counts[EPOCH]) * self.plan.rows + int(self.state.counts[ROW])

    def rows_in_all(self, epochs: int) -> int:
        """Return the number of rows in the steps of so many epochs; 0 if nobody knows."""
        return epochs * self.plan.rows

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch."""
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
        is_late: Callable[[], bool] | None = None,
    ) -> History:
        """Train until all epochs are made, the patience is over, or the callback returns True.

        Parameters
        ----------
        epochs : int
            Maximum number of epochs.
        learning_rate : float or callable
            A number, or a function of the step number. A schedule that spans a fit spans these epochs.
        validate : callable, optional
            Returns the loss of held-out rows; called after each epoch.
        patience : Patience, optional
            Counts epochs by the loss of the held-out rows, or by the training loss without `validate`. The parameters
            of the best epoch are kept for `restore_best`. Of equally good epochs, the last one is the best.
        callback : callable, optional
            Called with a `Progress` after each epoch.
        n_threads : int, optional
            Number of threads that share each step. Default: the fastest number.
        history : History, optional
            The history to continue. Default: a new history.
        is_late : callable, optional
            Called about every tenth of a second. If it returns True, the training ends, also in the middle of an epoch.
            The part of an epoch is then judged as an epoch is. An error that it raises ends the training at once.

        Returns
        -------
        History

        Raises
        ------
        DivergenceError
            If a loss or a parameter is not finite.
        """
        history = History() if history is None else history
        history.ended_by = "epochs"
        before = len(history.loss)

        def after_epoch(history: History) -> bool:
            if validate is not None:
                history.validation_loss.append(validate())
            held_out = history.validation_loss[-1] if validate is not None else np.nan
            watched = history.loss[-1] if validate is None else held_out
            if patience is not None and (patience.improves(watched) or self._best is None):
                self.keep_best()
            progress = Progress(len(history.loss) - before, history.loss[-1], held_out)
            if patience is not None and patience.is_over:
                history.ended_by = "patience"
            if callback is not None and is_true(callback(progress)):
                history.ended_by = "callback"
            return history.ended_by != "epochs"

        is_watched = validate is not None or patience is not None or callback is not None
        watch = after_epoch if is_watched else None
        ends_inside = self._run(self.plan, learning_rate, epochs, watch, n_threads, history, is_late)
        if ends_inside and watch is not None:
            watch(history)
        return history

    def fit_until_stale(
        self, epochs: int, learning_rate: LearningRate, patience: Patience, offset: float, history: History
    ) -> None:
        """Train as `fit` does, but without Python code between epochs: compiled code counts the patience.

        The values of `patience` are the losses of the epochs plus `offset`. `patience` is updated even if the call
        fails.
        """
        # If the patience was over after an earlier call, this call ends after its first epoch, not before.
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
        is_late: Callable[[], bool] | None = None,
    ) -> bool:
        rate = schedules.over_run(learning_rate, self.step, epochs * self.steps_per_epoch)
        return fitting.fit(self.rows, plan, self.state, rate, epochs, after_epoch, n_threads, history, is_late)

    def keep_best(self) -> None:
        """Keep a copy of the current parameters as the best ones."""
        self._best = self.parameters.data.copy()

    @property
    def best(self) -> Parameters | None:
        """The best parameters that are kept; None if there are none."""
        return None if self._best is None else self.parameters._replace(data=self._best)

    def restore_best(self) -> None:
        """Restore the best parameters, if there are any. The state of the optimizer is unchanged."""
        if self._best is not None:
            self.parameters.data[:] = self._best


def is_true(answer: object) -> bool:
    """Tell whether the answer of a callback is True. Other values do not end a training."""
    return isinstance(answer, bool | np.bool_) and bool(answer)
