"""Short calls of a small `fastbp.Network`, and the same work in one compiled call.

This file must not know how time is measured.
"""

import numpy as np

import fastbp
from fastbp.activations import relu
from fastbp.kernels.activations import activation_addresses
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.dropout import NO_DROPOUT
from fastbp.kernels.layout import RowRange, activations_of, addresses_of, workspace_addresses
from fastbp.kernels.packing import workspace_for, write_parameters, zero_parameters
from fastbp.kernels.propagation import forward_pass
from fastbp.kernels.rows import load_rows, scatter_outputs
from fastbp.machine.jit import entry

SIZES, BATCH_SIZE = (4, 16, 16, 1), 32
KERNEL_CALLS = 2000  # in one compiled call


@entry
def predict_row_by_row(x, parameters, activations, workspace, out):
    """Do what `entries.predict` does for one row, again for each row of x."""
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    activations, row = activation_addresses(activations), RowRange(0, 1)
    for i in range(x.shape[0]):
        load_rows(x, i, activations_of(workspace, 0, row))
        forward_pass(φ, activations, workspace, row, NO_DROPOUT, False)
        ŷ = activations_of(workspace, workspace.n_layers, row)
        scatter_outputs(ŷ, out[i : i + 1], workspace.narrow_output)


class NetworkCalls:
    """A network with 32 rows, and buffers for the kernels."""

    def __init__(self) -> None:
        self.network = fastbp.Network(SIZES, seed=0)
        self.rows = np.random.default_rng(0).standard_normal((KERNEL_CALLS, SIZES[0])).astype(np.float32)
        self.X = self.rows[:BATCH_SIZE]
        self.y, self.row = self.X[:, 0].copy(), self.X[:1]
        self._parameters = zero_parameters(SIZES, self.rows.dtype)
        write_parameters(self._parameters, self.network.weights, self.network.biases)
        self._activations = layer_activations(relu, len(SIZES) - 2, self.rows.dtype)
        self._workspace = workspace_for(SIZES, 1, self.rows.dtype, backward=False)
        self.out = np.empty((KERNEL_CALLS, SIZES[-1]), self.rows.dtype)

    def fit(self) -> None:
        """Make one step with 32 rows."""
        self.network.fit(self.X, self.y, batch_size=BATCH_SIZE, epochs=1)

    def steps(self) -> None:
        """Make the step of `fit` `KERNEL_CALLS` times."""
        self.network.fit(self.X, self.y, batch_size=BATCH_SIZE, epochs=KERNEL_CALLS)

    def predict(self) -> np.ndarray:
        """Predict one row."""
        return self.network.predict(self.row)

    def predictions(self) -> None:
        """Predict `KERNEL_CALLS` rows by the initial parameters, one at a time; write them to `out`."""
        predict_row_by_row(self.rows, self._parameters, self._activations, self._workspace, self.out)
