"""The state of a network: parameters, moments and step count of the optimizer, random state, and loss.

To save a network, its checkpoint is converted to named arrays. This file must not know how the state is used.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks, losses, schedules
from fastbp._typing import Array, Floats
from fastbp.activations import OneOrMore
from fastbp.kernels import packing
from fastbp.kernels.layout import Parameters
from fastbp.kernels.shuffling import RandomState, random_state
from fastbp.kernels.steps import first_moments
from fastbp.losses import Loss
from fastbp.optimizers import Optimizer, moments_of
from fastbp.runs.activation_check import check_custom_activations

Tensors = dict[str, Array]

_DTYPES = ("float32", "float64")
_MOST_STEPS = 2**62  # a fit can add as many without an overflow of 64 bits


@dataclass
class Checkpoint:
    """The state that a network keeps between calls."""

    parameters: Parameters
    random: RandomState
    optimizer: Any  # description of the last optimizer; None before the first fit
    step: int  # number of steps of this optimizer
    mean: Floats  # m of Adam and Lion, or the velocity; empty if the optimizer has no such moment
    square: Floats  # v of Adam and RMSprop, or Adagrad's s; empty if the optimizer has no such moment
    loss: Loss | None = None  # loss of the last fit; None before the first fit
    activation: OneOrMore = activations.relu  # of all hidden layers, or of each

    @property
    def sizes(self) -> tuple[int, ...]:
        """(D_0, …, D_{K+1})."""
        return tuple(self.parameters.sizes.tolist())

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.parameters.data.dtype

    def for_fit(self, optimizer: Optimizer, loss: Loss, seed: int | None) -> "Checkpoint":
        """Return the checkpoint for a fit. It replaces this checkpoint after the first step of the fit.

        An optimizer that equals the last one continues with its moments and step count. Another optimizer starts with
        its first moments. A seed restarts the random numbers. Both checkpoints share the parameters.
        """
        random = self.random.copy() if seed is None else random_state(seed)
        description = optimizer.describe()
        step, mean, square = self.step, self.mean, self.square
        if description != self.optimizer:
            step, mean, square = 0, *first_moments(optimizer.rule, self.parameters.data.size, self.dtype)
        return Checkpoint(self.parameters, random, description, step, mean, square, loss, self.activation)

    def to_tensors(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the arrays by name, and the other data as JSON can hold it."""
        tensors: Tensors = {"random": self.random.copy()}
        for prefix, data in (("", self.parameters.data), ("mean.", self.mean), ("square.", self.square)):
            if data.size:
                held = self.parameters._replace(data=data)
                pairs = zip(packing.weight_matrices(held), packing.bias_vectors(held), strict=True)
                for i, (weights, biases) in enumerate(pairs):
                    tensors |= {f"{prefix}weights.{i}": weights, f"{prefix}biases.{i}": biases}
        activation = activations.describe(self.activation)
        shape = {"layer_sizes": list(self.sizes), "dtype": self.dtype.name, "activation": activation}
        loss = None if self.loss is None else self.loss.describe()
        return tensors, {**shape, "optimizer": self.optimizer, "step": self.step, "loss": loss}

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: dict[str, Any]) -> "Checkpoint":
        """Return the checkpoint that `to_tensors` described, to the bit; raise ValueError if the data are invalid."""
        try:
            sizes = checks.layer_sizes(metadata["layer_sizes"])
            if metadata["dtype"] not in _DTYPES:
                raise ValueError(f"dtype must be float32 or float64, got {checks.shown(metadata['dtype'])}")
            dtype = np.dtype(metadata["dtype"])
            step = checks.whole_number("step", metadata["step"], 0, _MOST_STEPS)
            activation = activations.from_description(metadata.get("activation", "relu"), len(sizes) - 2)
            described = metadata.get("loss")  # missing in files of fastbp 0.1.0
            loss = None if described is None else losses.from_description(described)
            held = [_parameters(tensors, prefix, sizes, dtype) for prefix in ("", "mean.", "square.")]
            random = tensors["random"].copy()
            if random.shape != (4,) or random.dtype != np.uint64 or not random.any():
                found = f"{random.dtype} of shape {random.shape}"
                raise ValueError(f"random must be 4 numbers of uint64, not all 0; got {found}")
            _check_names(tensors, len(sizes) - 1)
            if (held[2].data < 0).any():
                raise ValueError("square.weights and square.biases are made of squares, and must not be negative")
            moments = zip(("mean", "square"), held[1:], strict=True)
            kept, found_moments = moments_of(metadata["optimizer"]), tuple(n for n, m in moments if m.data.size)
            if kept != found_moments:
                raise ValueError(
                    "this is not the description of a network: its optimizer keeps "
                    f"{' and '.join(kept) or 'no moments'} of each parameter, "
                    f"but there are {' and '.join(found_moments) or 'no moments'}"
                )
            if metadata["optimizer"] is not None:
                _check_rate(metadata["optimizer"].get("learning_rate"))
            mean, square = (parameters.data for parameters in held[1:])
            return cls(held[0], random, metadata["optimizer"], step, mean, square, loss, activation)
        except KeyError as error:
            raise ValueError(f"this is not the description of a network: {error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"this is not the description of a network: {error}") from None


def initial(sizes: tuple[int, ...], dtype: npt.DTypeLike, seed: int | None, activation: OneOrMore) -> Checkpoint:
    """Return the checkpoint of a new network: weights from N(0, gain / D_i), and biases 0.

    The gain is that of the activation that follows. The last layer takes the gain of the last activation. A user's
    activation is checked before.
    """
    check_custom_activations(activation, len(sizes) - 2)
    generator = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    gains = [one.gain for one in activations.of_layers(activation, len(sizes) - 2)]
    gains.append(gains[-1] if gains else activations.of_layers(activation, 1)[0].gain)
    weights = [
        generator.standard_normal(shape) * np.sqrt(gain / shape[1]) for gain, shape in zip(gains, shapes, strict=True)
    ]
    parameters = packing.zero_parameters(sizes, dtype)
    packing.write_parameters(parameters, weights, [np.zeros(size) for size in sizes[1:]])
    return untrained(parameters, seed, activation=activation)


def untrained(
    parameters: Parameters, seed: int | None, loss: Loss | None = None, activation: OneOrMore = activations.relu
) -> Checkpoint:
    """Return a checkpoint with these parameters and without an optimizer."""
    nothing = packing.aligned_zeros(0, parameters.data.dtype)
    return Checkpoint(parameters, random_state(seed), None, 0, nothing, nothing, loss, activation)


def _parameters(tensors: Tensors, prefix: str, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
    """Return parameters or moments from their tensors. Moments without tensors are an empty buffer.

    The shapes are checked before memory is allocated. So a description cannot request much more memory than the tensors
    take.
    """
    if prefix and f"{prefix}weights.0" not in tensors:
        return packing.zero_parameters((1, 1), dtype)._replace(data=packing.aligned_zeros(0, dtype))
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [tensors[f"{prefix}weights.{i}"] for i in range(len(shapes))]
    biases = [tensors[f"{prefix}biases.{i}"] for i in range(len(shapes))]
    found = {array.dtype for array in (*weights, *biases)}
    if found != {dtype}:
        raise ValueError(f"{prefix}weights and biases must be {dtype}, got {', '.join(map(str, found))}")
    matrices = checks.arrays(f"{prefix}weights", weights, shapes, dtype)
    vectors = checks.arrays(f"{prefix}biases", biases, [shape[:1] for shape in shapes], dtype)
    parameters = packing.zero_parameters(sizes, dtype)
    packing.write_parameters(parameters, matrices, vectors)
    return parameters


def _check_names(tensors: Tensors, n_layers: int) -> None:
    """Raise unless every tensor is the random state, or belongs to a layer."""
    places = {str(i) for i in range(n_layers)}
    for name in tensors.keys() - {"random"}:
        kind, _, layer = name.removeprefix("mean.").removeprefix("square.").partition(".")
        if kind not in ("weights", "biases") or layer not in places:
            raise ValueError(f"tensor {checks.shown(name)} belongs to no layer of the network")


def _check_rate(described: Any) -> None:
    """Raise unless this is the description of a learning rate: a number, "custom", or a schedule with its numbers."""
    if isinstance(described, dict):
        if described.get("schedule") not in schedules.__all__:
            raise ValueError(f"learning_rate must be a schedule, got {checks.shown(described)}")
        for name, value in described.items():
            if name != "schedule" and value is not None:
                _check_rate(value)
    elif described != "custom":
        checks.not_negative("learning_rate", described)
