"""scikit-learn's minibatch descent as runs of the compiled core.

Coefficients are (inputs, outputs), as in scikit-learn: the transposes of Ω_i. This file must not know estimators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, losses
from fastbp.kernels import entries as training
from fastbp.kernels import layout
from fastbp.kernels.input_factors import no_scaling
from fastbp.kernels.rows import MERSENNE_TWISTER, Table, mersenne_twister
from fastbp.results import History
from fastbp.runs import fitting
from fastbp.runs.prediction import Predictor
from fastbp.schedules import ByEpoch, Schedule
from fastbp.sklearn import solvers as optimizers
from fastbp.sklearn.solvers import Arrays, Optimizer

Array = npt.NDArray[Any]
Rate = float | Schedule

_BLOCK_ROWS = 240  # rows whose loss is taken at once; `layout.pitch` has nothing to add to them


@dataclass
class Stopping:
    """When to stop: once more than `patience` epochs in a row have not bettered the least loss by `tol`."""

    tol: float
    patience: float
    best_loss: float
    count: int

    def note(self, loss: float) -> bool:
        """Take note of an epoch's loss; return whether patience has ended with it."""
        self.count = self.count + 1 if loss > self.best_loss - self.tol else 0
        self.best_loss = min(self.best_loss, loss)
        return self.count > self.patience


@dataclass(frozen=True)
class Objective:
    """A loss as scikit-learn reports it.

    Parameters
    ----------
    loss : Loss
        Of one of fastbp's names.
    mean_over_outputs : bool
        Whether the reported value is a mean over outputs, where the gradient is that of the sum.
    """

    loss: losses.Loss
    mean_over_outputs: bool = False

    def scale(self, outputs: int) -> float:
        """Return what fastbp's value is multiplied by."""
        return 1 / outputs if self.mean_over_outputs else 1.0

    def constants(self, y: Array) -> npt.NDArray[np.float64] | None:
        """Return what each row's value has besides: for Poisson's deviance Σ_o y log y − y, else nothing."""
        if self.loss.name != "poisson":
            return None
        y = y.astype(np.float64)
        logs = np.log(y, out=np.zeros_like(y), where=y > 0)
        return np.asarray((y * logs - y).sum(axis=1))

    def constant(self, y: Array, sample_weight: Array | None) -> float:
        """Return the weighted mean of the constants."""
        constants = self.constants(y)
        return 0.0 if constants is None else float(np.average(constants, weights=sample_weight))


def parameters_of(coefs: Sequence[Array], intercepts: Sequence[Array], activation: str) -> layout.Parameters:
    """Return coefficients and intercepts, of one dtype, as kernels take them."""
    sizes = [coefs[0].shape[0], *(matrix.shape[1] for matrix in coefs)]
    made = layout.zero_parameters(sizes, coefs[0].dtype, activations.NAMES.index(activation))
    layout.write_parameters(made, [matrix.T for matrix in coefs], intercepts)
    return made


def arrays_of(parameters: layout.Parameters) -> tuple[Arrays, Arrays]:
    """Return coefficients and intercepts: copies."""
    weights, biases = layout.weight_matrices(parameters), layout.bias_vectors(parameters)
    return [np.ascontiguousarray(matrix.T) for matrix in weights], list(biases)


def outputs(coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, X: Array) -> Array:
    """Return ŷ, before any activation of the output."""
    parameters = parameters_of(coefs, intercepts, activation)
    return Predictor(parameters.sizes.tolist(), coefs[0].dtype).predict(parameters, X, None)


def table_of(X: Array, y: Array, sample_weight: Array | None, dtype: np.dtype[Any]) -> Table:
    """Return checked rows as kernels take them."""
    weights = np.zeros(0, dtype) if sample_weight is None else sample_weight.astype(dtype)
    x, targets = layout.padded_rows(X, dtype), layout.target_rows(y.astype(dtype, copy=False), dtype)
    return Table(x, targets, np.zeros(0, np.int64), weights, len(X))


class Descent:
    """Minibatch descent over a table, an epoch or many at a time.

    Parameters
    ----------
    coefs, intercepts : list of ndarray
        Where it starts, of one dtype; copied.
    activation : str
        One of `activations.NAMES`.
    objective : Objective
    X, y, sample_weight : ndarray
        Rows (n, D), targets (n, outputs), and weights (n,) or None.
    batch_size : int
    shuffle : bool
    random_state : RandomState
        Whose stream the shuffling takes, to the bit.
    alpha : float
        α: a batch's loss gains α ‖Ω‖² / 2 over its weight.
    optimizer : Optimizer
        Whose moments it starts from.
    dropout : float
        The share of hidden units that each step leaves out.
    """

    def __init__(
        self,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        activation: str,
        objective: Objective,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        batch_size: int,
        shuffle: bool,
        random_state: np.random.RandomState,
        alpha: float,
        optimizer: Optimizer,
        dropout: float = 0.0,
    ) -> None:
        self._optimizer, self._random, self._objective = optimizer, random_state, objective
        parameters = parameters_of(coefs, intercepts, activation)
        dtype, n = parameters.data.dtype, len(X)
        self._table = table_of(X, y, sample_weight, dtype)
        self._steps = -(-n // batch_size)
        constants = objective.constants(y)
        # By rows where all weigh the same, so one number; else it depends on how rows meet in batches.
        self._constant = 0.0 if constants is None else float(constants.mean())
        self._constants = None if sample_weight is None else constants
        self._weights, self._batch_size = sample_weight, batch_size
        twister: Any = random_state.get_state(legacy=False)
        self._is_compiled = twister["bit_generator"] == "MT19937"
        random = np.zeros(4, np.uint64)
        if self._is_compiled:
            random = mersenne_twister(random_state)
        self._is_shuffled_here = shuffle and not self._is_compiled
        self._plan = training.Plan(
            batch_size,
            n,
            shuffle and self._is_compiled,
            objective.loss.code,
            objective.loss.parameter,
            optimizers.rule(optimizer, alpha),
            objective.scale(y.shape[1]),
            True,
            dropout=float(dropout),
        )
        kept = [[array.astype(dtype, copy=False) for array in arrays] for arrays in optimizers.moments(optimizer)]
        moments = [parameters_of(*_halves(arrays), activation).data for arrays in kept]
        empty = np.zeros(0, dtype)
        mean, square = [*moments, empty, empty][:2]
        gradients = layout.aligned_zeros(mean.size, dtype)
        position = np.array([optimizers.steps(optimizer), 0, 0, 0]), np.array([0, 0, np.inf])
        alike, scaling = np.ones(2 * parameters.n_layers), no_scaling(dtype)
        buffers = gradients, mean, square
        self._state = training.State(parameters, *buffers, np.arange(n), random, *position, alike, scaling)
        self._predictor = Predictor(parameters.sizes.tolist(), dtype)
        self._best: Array | None = None
        self.losses: list[float] = []  # of all epochs so far

    def run(self, rates: Sequence[float], stopping: Stopping, after_epoch: Callable[[float], bool] | None) -> None:
        """Make an epoch at each of these learning rates; add their losses to `losses`.

        Parameters
        ----------
        rates : sequence of float
        stopping : Stopping
            Ends the call early; it is brought up to date, even if the call fails.
        after_epoch : callable, optional
            Called with each epoch's loss; ends the call if it returns True. `stopping` is left to it then.

        Raises
        ------
        DivergenceError
            If a loss leaves the finite numbers.
        """
        if after_epoch is None and (self._constants is not None or self._is_shuffled_here):
            after_epoch = stopping.note
        same = len(set(rates)) == 1
        rate = rates[0] if same else ByEpoch(tuple(rates), self._steps, int(self._state.counts[training.STEP]))
        if after_epoch is None:
            self._run_alone(rate, len(rates), stopping)
        else:
            self._run_with(rate, len(rates), after_epoch)

    def _run_alone(self, rate: Rate, epochs: int, stopping: Stopping) -> None:
        """Make epochs with nothing between them, until the compiled run's patience ends."""
        state, history = self._state, History()
        # A count that is over patience already, from a fit before, ends the call after its first epoch, not before.
        excess = int(max(0, stopping.count - stopping.patience))
        state.counts[training.STALE] = stopping.count - excess
        state.sums[training.BEST] = stopping.best_loss - self._constant
        plan = self._plan._replace(tolerance=float(stopping.tol), patience=float(stopping.patience))
        try:
            fitting.run(self._table, plan, state, rate, epochs, None, None, None, history)
        finally:
            self.losses += [loss + self._constant for loss in history.loss]
            stopping.count = int(state.counts[training.STALE])
            if stopping.count > stopping.patience and len(history.loss) == 1:
                stopping.count += excess
            stopping.best_loss = float(state.sums[training.BEST]) + self._constant

    def _run_with(self, rate: Rate, epochs: int, after_epoch: Callable[[float], bool]) -> None:
        """Make epochs with Python between them."""

        def between(epoch: int, history: History) -> bool:
            constant = self._constant if self._constants is None else self._weighted_constant()
            self.losses.append(history.loss[-1] + constant)
            ended = after_epoch(self.losses[-1])
            if epoch < epochs and not ended:
                self._shuffle_here()
            return ended

        self._shuffle_here()
        self._state.counts[training.STALE] = 0
        fitting.run(self._table, self._plan, self._state, rate, epochs, None, between, None)

    def _shuffle_here(self) -> None:
        """Shuffle the rows, if the stream is one that kernels do not know."""
        if self._is_shuffled_here:
            self._state.order[:] = self._state.order[self._random.permutation(len(self._state.order))]

    def _weighted_constant(self) -> float:
        """Return what the constants add to the loss of an epoch in the present order."""
        assert self._constants is not None
        assert self._weights is not None
        constants, weights, total = self._constants[self._state.order], self._weights[self._state.order], 0.0
        for first in range(0, len(constants), self._batch_size):
            batch = slice(first, first + self._batch_size)
            total += float(np.average(constants[batch], weights=weights[batch])) * len(constants[batch])
        return total / len(constants)

    def outputs(self, X: Array) -> Array:
        """Return ŷ with the present parameters, before any activation of the output."""
        return self._predictor.predict(self._state.parameters, X, None)

    def evaluator(self, X: Array, y: Array, sample_weight: Array | None) -> Callable[[], float]:
        """Return what gives the objective of other rows with the present parameters, penalty left out."""
        parameters, loss, scale = self._state.parameters, self._objective.loss, self._objective.scale(y.shape[1])
        table = table_of(X, y, sample_weight, parameters.data.dtype)
        rows = min(len(X), _BLOCK_ROWS)
        workspace = layout.workspace_for(parameters.sizes.tolist(), rows, parameters.data.dtype, backward=False)
        order, constant = np.arange(len(X)), self._objective.constant(y, sample_weight)
        return lambda: (
            training.evaluate(table, parameters, workspace, order, loss.code, loss.parameter) * scale + constant
        )

    def parameters(self) -> tuple[Arrays, Arrays]:
        """Return the present coefficients and intercepts: copies."""
        return arrays_of(self._state.parameters)

    def keep_best(self) -> None:
        """Keep the present parameters as the best."""
        self._best = self._state.parameters.data.copy()

    @property
    def best(self) -> tuple[Arrays, Arrays] | None:
        """The best coefficients and intercepts: copies; None if none were kept."""
        return None if self._best is None else arrays_of(self._state.parameters._replace(data=self._best))

    def finish(self) -> None:
        """Hand moments and the count of steps back to the optimizer, and its state to the random stream."""
        state = self._state
        kept = [state.parameters._replace(data=data) for data in (state.mean, state.square) if data.size]
        halves = [arrays_of(held) for held in kept]
        kept_moments = [coefs + intercepts for coefs, intercepts in halves]
        optimizers.keep(self._optimizer, kept_moments, int(state.counts[training.STEP]))
        if self._is_compiled:
            twister: Any = self._random.get_state(legacy=False)
            words = state.random[:MERSENNE_TWISTER].astype(np.uint32)
            twister["state"] = {"key": words, "pos": int(state.random[MERSENNE_TWISTER])}
            self._random.set_state(twister)


def _halves(arrays: Sequence[Array]) -> tuple[Sequence[Array], Sequence[Array]]:
    """Return coefficients and intercepts of a list of both."""
    return arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]
