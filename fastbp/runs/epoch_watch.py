"""What follows each epoch of a run in compiled code: the loss of held-out rows, the patience, and the best parameters.

This file must not know how many networks are trained.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats
from fastbp.kernels.epochs import COUNT, HAS_BEST, Watch, addresses, train_epochs
from fastbp.kernels.layout import Workspace
from fastbp.kernels.packing import workspace_for
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import Plan, State
from fastbp.machine.barrier import ThreadGroup, new_barrier
from fastbp.runs.evaluation import BLOCK_ROWS
from fastbp.runs.training_rows import no_rows
from fastbp.schedules import Rates

_addresses: dict[np.dtype[Any], tuple[int, int]] = {}  # of the entries that `train_epochs` calls, by dtype


class EpochWatch:
    """The loss of held-out rows after each epoch, the count of epochs without improvement, and the best parameters.

    Parameters
    ----------
    state : State
        The state of the run.
    n_held_out : int
        Number of held-out rows. Without such rows, the training loss is watched.
    patience : int or None
        Number of epochs in a row without improvement that ends the training. With None, no parameters are kept.
    """

    def __init__(self, state: State, n_held_out: int, patience: int | None) -> None:
        data, sizes = state.parameters.data, state.parameters.sizes.tolist()
        self._group = ThreadGroup(0, 1, new_barrier())
        self._buffers = Watch(
            held_out=no_rows(data.dtype),
            workspace=workspace_for(sizes, min(n_held_out, BLOCK_ROWS), data.dtype, backward=False),
            order=np.arange(n_held_out),
            limit=math.inf if patience is None else float(patience),
            best=data[:0].copy() if patience is None else data.copy(),
            progress=np.array([math.inf, 0.0, 0.0]),
            train=0,
            evaluate=0,
        )

    @property
    def has_held_out(self) -> bool:
        """Whether there are held-out rows."""
        return self._buffers.order.size > 0

    @property
    def is_over(self) -> bool:
        """Whether the patience is over."""
        return bool(self._buffers.progress[COUNT] >= self._buffers.limit)

    @property
    def best(self) -> Floats | None:
        """The parameters of the best epoch; None if none are kept."""
        return self._buffers.best if self._buffers.progress[HAS_BEST] else None

    @property
    def changing(self) -> list[npt.NDArray[Any]]:
        """The arrays that an epoch changes."""
        return [self._buffers.progress, self._buffers.best]

    @contextmanager
    def over(self, held_out: TrainingRows | None) -> Iterator[None]:
        """Return a context in which these are the held-out rows. Afterwards, their memory is free."""
        nothing = self._buffers.held_out
        self._buffers = self._buffers._replace(held_out=nothing if held_out is None else held_out)
        try:
            yield
        finally:
            self._buffers = self._buffers._replace(held_out=nothing)

    def train(
        self, rows: TrainingRows, plan: Plan, state: State, workspace: Workspace, rates: Rates, losses: Rates
    ) -> int:
        """Make one step per learning rate in this thread, and return their number.

        Parameters
        ----------
        rows, plan, state, workspace
            The run.
        rates : ndarray of shape (n,)
            Learning rates.
        losses : ndarray of shape (2, n_epochs)
            Written: the training loss and the loss of the held-out rows of each epoch that ends here.
        """
        dtype = state.parameters.data.dtype
        if dtype not in _addresses:
            _addresses[dtype] = addresses(rows, plan, state, workspace, self._group)
        train, evaluate = _addresses[dtype]
        watch = self._buffers._replace(train=train, evaluate=evaluate)
        made: int = train_epochs(rows, plan, state, workspace, rates, losses[0], self._group, watch, losses[1])
        return made
