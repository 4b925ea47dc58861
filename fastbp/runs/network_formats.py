"""The part of `Network` that converts a network to the formats of other programs, and back.

This file must not know how a network trains, or what a format looks like.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks
from fastbp._typing import Self
from fastbp.export import c_header, c_layers, numpy_source, onnx_layers, torch_layers
from fastbp.export.model import write_network
from fastbp.export.parts import Layers, Outputs
from fastbp.runs import checkpoint
from fastbp.runs.network_state import NetworkState


class NetworkFormats(NetworkState):
    """The methods of a network that convert it."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX graph. Its input is `X`, (n, D_0), in the dtype of the network.

        The output `prediction` is ŷ, as `predict` returns it. The output `probabilities` is added after a training with
        a cross-entropy, as `predict_proba` returns it.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.

        Raises
        ------
        ImportError
            If onnx is not installed.
        ValueError
            If an activation is a user's function.
        """
        write_network(checks.path(path), *self._exported())

    def to_c(
        self, path: str | os.PathLike[str], *, prefix: str = "fastbp", int8_rows: npt.ArrayLike | None = None
    ) -> float:
        """Write the network as one C99 header, which allocates no memory and needs no library but that of C.

        `int fastbp_predict(const float *x, float *out)` computes ŷ of one row, as `predict` does. The type is double
        for a float64 network. `fastbp_predict_proba` is added after a training with a cross-entropy. Both return −1 if
        a number of `x` is not finite, and 0 otherwise.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.
        prefix : str, default "fastbp"
            What all names begin with, so that a program can hold several networks. Macros begin with its capitals.
        int8_rows : array-like of shape (n, D_0), optional
            Rounds each weight to 8 bits, with one scale for the weights of each unit, and measures on these rows what
            this changes. Default: the exact weights.

        Returns
        -------
        float
            The root mean square of the change of ŷ that rounding brings, over all rows and outputs, divided by that of
            ŷ minus its mean. 0 for exact weights.

        Raises
        ------
        TypeError, ValueError
            If `prefix` is no name in C, an activation is a user's function, or `int8_rows` are invalid.
        """
        is_int8 = int8_rows is not None
        lost = self._lost_in_int8(int8_rows) if int8_rows is not None else 0.0
        c_header.write_network(checks.path(path), *self._exported(), prefix, is_int8)
        return lost

    def _lost_in_int8(self, rows: npt.ArrayLike) -> float:
        weights = [whole * scales[:, np.newaxis] for whole, scales in map(c_layers.rounded_to_int8, self.weights)]
        rounded = self._of_layers(self._layers._replace(weights=weights))
        x = checks.matrix("int8_rows", rows, self._sizes[0], self._dtype)
        if not len(x):
            raise ValueError("int8_rows must hold at least one row")
        both = (self, rounded)
        own, other = (one._predictor.predict(one._checkpoint.parameters, x, None) for one in both)
        change, spread = np.sqrt(np.mean((other - own) ** 2)), np.sqrt(np.mean((own - own.mean(axis=0)) ** 2))
        return float(change / spread) if spread > 0 else float(change > 0)

    def _exported(self) -> tuple[Layers, Outputs, dict[str, Any]]:
        """Return the network, what it gives to a user, and facts about it."""
        loss = self.trained_loss
        is_probability = loss is not None and loss.is_of_probabilities
        link = loss.link if loss is not None and is_probability else "identity"
        is_multilabel = link == "logistic" and self._sizes[-1] > 1
        outputs = Outputs(link, raw=True, is_probability=is_probability, is_multilabel=is_multilabel)
        return self._layers, outputs, {"layer_sizes": list(self._sizes)}

    @property
    def _layers(self) -> Layers:
        return Layers.of(self.weights, self.biases, self.activation)

    def to_numpy(self) -> str:
        """Return the source of a short NumPy program, to read and to check.

        Returns
        -------
        str
            Python source with the arrays `WEIGHTS` and `BIASES` and the function `predict(X)`, which answers as
            `Network.predict` does, but for rounding.

        Raises
        ------
        ValueError
            If an activation is a user's function.

        Examples
        --------
        >>> import fastbp
        >>> print(fastbp.Network([2, 1, 1], seed=0).to_numpy().partition("def predict")[2])
        (X):
            h = np.asarray(X, dtype=np.float32)
            h = relu(h @ WEIGHTS[0].T + BIASES[0])
            return h @ WEIGHTS[1].T + BIASES[1]
        <BLANKLINE>
        """
        return numpy_source.source_of(self._layers)

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` of linear layers and activations with copies of the parameters.

        Raises
        ------
        ImportError
            If torch is not installed.
        ValueError
            If an activation is a user's function.
        """
        return torch_layers.sequential_of(self._layers)

    @classmethod
    def from_torch(cls, sequential: Any) -> Self:
        """Return a network with the parameters of a `torch.nn.Sequential`.

        The network is of float64 if a parameter is, and of float32 otherwise.

        Parameters
        ----------
        sequential : torch.nn.Sequential
            Alternates `Linear` and activations that fastbp has, and ends in a `Linear`. `Flatten`, `Identity` and
            dropout are ignored. Several `Linear` without an activation between them get "identity".

        Raises
        ------
        ImportError
            If torch is not installed.
        TypeError
            If `sequential` is not a `torch.nn.Sequential`.
        ValueError
            If a module has no counterpart, or stands where a network has none. The message names the module.
        """
        return cls._of_layers(torch_layers.layers_of(sequential))

    @classmethod
    def from_onnx(cls, path: str | os.PathLike[str]) -> Self:
        """Return the network in an ONNX file: the inverse of `to_onnx`, also for files of other programs.

        The network is of float64 if a weight is, and of float32 otherwise.

        Parameters
        ----------
        path : path-like
            The graph alternates linear layers (`Gemm`, `MatMul`, or `MatMul` and `Add`, with constant weights) and
            activations that fastbp has. It has one input, and the output `prediction` or one output. `Flatten`,
            `Identity` and `Dropout` are ignored.

        Raises
        ------
        ImportError
            If onnx is not installed.
        ValueError
            If the file holds no ONNX graph, or a node has no counterpart. The message names the node.
        OSError
            If the file cannot be read.
        """
        return cls._of_layers(onnx_layers.layers_of(checks.path(path)))

    @classmethod
    def _of_layers(cls, layers: Layers) -> Self:
        sizes = (layers.weights[0].shape[1], *map(len, layers.biases))
        one_for_all = layers.between[0] if len({*layers.between}) == 1 else list(layers.between)
        between = activations.resolve_layers(one_for_all, len(sizes) - 2)
        network = cls.from_checkpoint(checkpoint.initial(sizes, layers.dtype, checks.seed(None), between))
        network.set_parameters(layers.weights, layers.biases)
        return network
