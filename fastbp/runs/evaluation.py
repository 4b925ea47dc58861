"""The loss of rows that a run does not learn from: the one place where it is computed.

This file must not know who holds these rows out, or why.
"""

from collections.abc import Callable

import numpy as np

from fastbp.kernels.entries import evaluate
from fastbp.kernels.layout import Parameters
from fastbp.kernels.packing import workspace_for
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss

_BLOCK_ROWS = 240  # rows that go through the network at once; `layout.pitch` has nothing to add to them


def evaluator(rows: TrainingRows, parameters: Parameters, loss: Loss) -> Callable[[], float]:
    """Return a function without arguments that gives the weighted mean loss of the rows.

    Each call takes the parameters as they are at that moment.
    """
    sizes, dtype = parameters.sizes.tolist(), parameters.data.dtype
    workspace = workspace_for(sizes, min(rows.rows, _BLOCK_ROWS), dtype, backward=False)
    order = np.arange(rows.rows)
    return lambda: evaluate(rows, parameters, workspace, order, loss.code, loss.parameter)
