"""The loss of rows without training on them, such as held-out rows.

This file must not know what the rows are.
"""

from collections.abc import Callable

import numpy as np

from fastbp.activations import OneOrMore
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.entries import evaluate
from fastbp.kernels.layout import Parameters
from fastbp.kernels.packing import workspace_for
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss

BLOCK_ROWS = 240  # rows per forward pass; with this number, `layout.pitch` adds no padding


def evaluator(rows: TrainingRows, parameters: Parameters, activation: OneOrMore, loss: Loss) -> Callable[[], float]:
    """Return a function without arguments that returns the weighted mean loss of the rows.

    Each call uses the current values of the parameters.
    """
    sizes, dtype = parameters.sizes.tolist(), parameters.data.dtype
    workspace = workspace_for(sizes, min(rows.rows, BLOCK_ROWS), dtype, backward=False)
    order, address = np.arange(rows.rows), loss_address(loss, dtype)
    between = layer_activations(activation, parameters.n_layers - 1, dtype)
    return lambda: evaluate(rows, parameters, between, workspace, order, address, loss.parameter)
