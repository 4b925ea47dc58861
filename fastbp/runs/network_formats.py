"""The part of `Network` that writes a network in the formats of other programs.

This file must not know how a network predicts or trains, or what a format looks like.
"""

import os
from typing import Any

from fastbp import checks
from fastbp.export import c_header
from fastbp.export.model import write_network
from fastbp.export.parts import Layers, Outputs
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

    def to_c(self, path: str | os.PathLike[str], *, prefix: str = "fastbp") -> None:
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

        Raises
        ------
        ValueError
            If `prefix` is no name in C, or an activation is a user's function.
        """
        c_header.write_network(checks.path(path), *self._exported(), prefix)

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
