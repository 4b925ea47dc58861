"""The part of `Network` that computes nothing: its shape, its parameters, and its model files.

This file must not know how a network predicts or trains.
"""

import os
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks
from fastbp._typing import Floats, Self
from fastbp.activations import Activation, ActivationLike, ActivationName
from fastbp.export.model import write_network
from fastbp.export.parts import Layers, Outputs
from fastbp.files import model_file
from fastbp.kernels import packing
from fastbp.kernels.activations import LayerActivations
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss
from fastbp.runs.activation_check import check_custom_activations
from fastbp.runs.checkpoint import Checkpoint, Tensors
from fastbp.runs.evaluation import evaluator
from fastbp.runs.portable import plain, portable
from fastbp.runs.prediction import Predictor


class _OnlyFit:
    """A context that only one fit can enter. Two fits would mix their steps in the same parameters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "this network is being fitted, in another thread or in the fit that called this callback: "
                "wait for the end of that fit, or fit a copy.deepcopy of the network"
            )

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._lock.release()


class NetworkState:
    """The properties and the model files of a network.

    Parameters
    ----------
    held : Checkpoint
        The state of the network.
    """

    def __init__(self, held: Checkpoint) -> None:
        self._checkpoint = held
        self._sizes, self._dtype = held.sizes, held.dtype
        self._predictor = Predictor(self._sizes, self._dtype, held.activation)
        self._only_fit = _OnlyFit()

    def __repr__(self) -> str:
        activation = "" if self.activation == "relu" else f", activation={self.activation!r}"
        return f"Network({list(self._sizes)}, dtype={self._dtype.name!r}{activation})"

    def __reduce__(self) -> tuple[Any, ...]:
        held = self._checkpoint
        return type(self)._from_state, (*self.to_tensors(), portable(held.loss), portable(held.activation))

    @classmethod
    def _from_state(cls, tensors: Tensors, metadata: dict[str, Any], loss: Any, activation: Any) -> Self:
        """Return the network that `to_tensors` described, with users' functions if they are known here."""
        held = Checkpoint.from_tensors(tensors, metadata)
        held.loss, held.activation = plain(loss), plain(activation)
        return cls.from_checkpoint(held)

    @property
    def _between(self) -> LayerActivations:
        """The activations of the hidden layers, for kernels."""
        return layer_activations(self._checkpoint.activation, self.K, self._dtype)

    def _evaluator(self, rows: TrainingRows, loss: Loss) -> Callable[[], float]:
        """Return a function that returns the loss of rows for the present parameters."""
        return evaluator(rows, self._checkpoint.parameters, self._checkpoint.activation, loss)

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def K(self) -> int:  # noqa: N802 (the slides' name)
        """Number of hidden layers."""
        return len(self._sizes) - 2

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(D_0, D_1, …, D_{K+1}): numbers of inputs, hidden units and outputs."""
        return self._sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters: float32 or float64."""
        return self._dtype

    @property
    def activation(self) -> ActivationName | Activation | list[ActivationName | Activation]:
        """The activation of the hidden layers, or a list with one for each: the name, or an `Activation`."""
        label: ActivationName | Activation | list[ActivationName | Activation]
        label = activations.label_of(self._checkpoint.activation)
        return label

    @property
    def trained_loss(self) -> Loss | None:
        """The loss of the last fit; None before the first fit, or if fastbp 0.1.0 wrote the model file."""
        return self._checkpoint.loss

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self._sizes))

    @property
    def weights(self) -> tuple[Floats, ...]:
        """Copies of Ω_0, …, Ω_K, each (D_{i+1}, D_i)."""
        return packing.weight_matrices(self._checkpoint.parameters)

    @property
    def biases(self) -> tuple[Floats, ...]:
        """Copies of β_0, …, β_K, each (D_{i+1},)."""
        return packing.bias_vectors(self._checkpoint.parameters)

    def set_parameters(self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]) -> None:
        """Set all weights and biases, in the form in which `weights` and `biases` return them.

        Parameters
        ----------
        weights : sequence of array-like
            Ω_0, …, Ω_K, each (D_{i+1}, D_i).
        biases : sequence of array-like
            β_0, …, β_K, each (D_{i+1},).

        Raises
        ------
        TypeError, ValueError
            If there are not K + 1 arrays of each, or an array has a wrong shape or a number that is not finite. The
            network is then unchanged.
        """
        shapes = list(zip(self._sizes[1:], self._sizes[:-1], strict=True))
        matrices = checks.arrays("weights", weights, shapes, self._dtype)
        vectors = checks.arrays("biases", biases, [shape[:1] for shape in shapes], self._dtype)
        packing.write_parameters(self._checkpoint.parameters, matrices, vectors)

    # --- how it is kept -------------------------------------------------------------------------------------

    def to_tensors(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the complete state of the network: arrays by name, and the other data as JSON can hold it."""
        return self._checkpoint.to_tensors()

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: dict[str, Any]) -> Self:
        """Return the network that `to_tensors` described, to the bit.

        Raises
        ------
        ValueError
            If the data are invalid or incomplete.
        """
        return cls.from_checkpoint(Checkpoint.from_tensors(tensors, metadata))

    @classmethod
    def from_checkpoint(cls, held: Checkpoint) -> Self:
        """Return a network with the state of a checkpoint, without a copy."""
        network = cls.__new__(cls)
        NetworkState.__init__(network, held)
        return network

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a model file: parameters, the optimizer's state and the random state.

        Parameters
        ----------
        path : path-like
            File to write. An existing file is replaced completely or not at all.

        Raises
        ------
        TypeError
            If `path` is not a path.
        ValueError
            If `path` exists and is not a regular file, such as a device.
        OSError
            If the file cannot be written.
        """
        tensors, metadata = self.to_tensors()
        model_file.write(checks.path(path), tensors, {"network": metadata})

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
        loss = self.trained_loss
        is_probability = loss is not None and loss.is_of_probabilities
        link = loss.link if loss is not None and is_probability else "identity"
        is_multilabel = link == "logistic" and self._sizes[-1] > 1
        outputs = Outputs(link, raw=True, is_probability=is_probability, is_multilabel=is_multilabel)
        layers = Layers.of(self.weights, self.biases, self.activation)
        write_network(checks.path(path), layers, outputs, {"layer_sizes": list(self._sizes)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], activation: ActivationLike | None = None) -> Self:
        """Return the network in a model file, to the bit. It can predict, and `fit` can continue the training.

        Parameters
        ----------
        path : path-like
            A file that `save` wrote.
        activation : str, Activation or list of these, optional
            The activation of the network. Needed if it is a user's function, which a model file does not hold.

        Returns
        -------
        Network

        Raises
        ------
        TypeError
            If `path` is not a path.
        ValueError
            If the file is truncated, changed, or not the model file of a network, or if the network has another
            activation. The message gives the reason.
        OSError
            If the file cannot be read.
        """
        tensors, metadata = model_file.read(checks.path(path))
        try:
            held = Checkpoint.from_tensors(tensors, metadata.get("network", {}))
        except ValueError as error:
            raise ValueError(f"the model file {os.fspath(path)!r} holds no network: {error}") from None
        if activation is not None:
            given = activations.resolve_layers(activation, len(held.sizes) - 2)
            check_custom_activations(given, len(held.sizes) - 2)
            held.activation = activations.with_functions(held.activation, given)
        return cls.from_checkpoint(held)
