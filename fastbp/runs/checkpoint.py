"""Everything a network is: parameters, the optimizer's moments and step, and the random state; all but the face.

It turns into named arrays and back, which is how networks are saved. This file must not know how any of it is used.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks
from fastbp.kernels import layout
from fastbp.kernels.entries import State
from fastbp.kernels.input_factors import no_scaling
from fastbp.kernels.layout import Floats, Parameters
from fastbp.kernels.rows import RandomState, random_state
from fastbp.optimizers import SGD, Adam, describe, moments_of

Tensors = dict[str, npt.NDArray[Any]]


@dataclass
class Memory:
    """What one network keeps from one call to the next."""

    parameters: Parameters
    random: RandomState
    optimizer: Any  # `describe` of the one whose state follows, or None before the first
    step: int  # how many it has made
    mean: Floats  # Adam's m, or the velocity; empty where it keeps none
    square: Floats  # Adam's v; empty where it keeps none

    @property
    def sizes(self) -> tuple[int, ...]:
        """(D_0, …, D_{K+1})."""
        return tuple(self.parameters.sizes.tolist())

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.parameters.data.dtype

    @property
    def activation(self) -> str:
        """The name of what stands between the layers."""
        return activations.NAMES[self.parameters.activation]

    def begun(self, optimizer: SGD | Adam, seed: int | None) -> "Memory":
        """Return what a fit is to work with, which takes this one's place with the first step that it makes.

        An optimizer equal to the last one goes on with its moments and step count; another starts with none. A seed
        restarts the random stream. The parameters are shared.
        """
        begun = replace(self, random=self.random.copy() if seed is None else random_state(seed))
        if describe(optimizer) != self.optimizer:
            begun.optimizer, begun.step = describe(optimizer), 0
            sizes = [self.parameters.data.size if optimizer.rule.n_moments > i else 0 for i in range(2)]
            begun.mean, begun.square = (layout.aligned_zeros(size, self.dtype) for size in sizes)
        return begun

    def state(self, rows: int) -> State:
        """Return the memory as a run over so many rows takes it."""
        gradients = layout.aligned_zeros(self.mean.size, self.dtype)
        position = np.array([self.step, 0, 0, 0]), np.array([0, 0, np.inf])
        moments, alike = (self.mean, self.square), np.ones(2 * self.parameters.n_layers)
        random, scaling = self.random, no_scaling(self.dtype)
        return State(self.parameters, gradients, *moments, np.arange(rows), random, *position, alike, scaling)

    def to_tensors(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the arrays by name, and the rest as JSON can hold it."""
        tensors: Tensors = {"random": self.random.copy()}
        for prefix, data in (("", self.parameters.data), ("mean.", self.mean), ("square.", self.square)):
            if data.size:
                held = self.parameters._replace(data=data)
                pairs = zip(layout.weight_matrices(held), layout.bias_vectors(held), strict=True)
                for i, (weights, biases) in enumerate(pairs):
                    tensors |= {f"{prefix}weights.{i}": weights, f"{prefix}biases.{i}": biases}
        metadata = {"layer_sizes": list(self.sizes), "dtype": self.dtype.name, "activation": self.activation}
        return tensors, {**metadata, "optimizer": self.optimizer, "step": self.step}

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: dict[str, Any]) -> "Memory":
        """Return what `to_tensors` described, to the bit; raise ValueError where it is not whole."""
        try:
            sizes = checks.layer_sizes(metadata["layer_sizes"])
            dtype = checks.float_dtype(metadata["dtype"])
            step = checks.whole_number("step", metadata["step"], 0)
            activation = checks.choice("activation", metadata.get("activation", "relu"), activations.NAMES)
            held = [_parameters(tensors, prefix, sizes, dtype, activation) for prefix in ("", "mean.", "square.")]
            random = tensors["random"].copy()
            if random.shape != (4,) or random.dtype != np.uint64 or not random.any():
                found = f"{random.dtype} of shape {random.shape}"
                raise ValueError(f"random must be 4 numbers of uint64, not all 0; got {found}")
            kept, found_moments = moments_of(metadata["optimizer"]), sum(bool(moment.data.size) for moment in held[1:])
            if kept != found_moments:
                raise ValueError(
                    f"this is not the description of a network: its optimizer keeps {kept} moments of each parameter, "
                    f"and there are {found_moments}"
                )
            mean, square = (parameters.data for parameters in held[1:])
            return cls(held[0], random, metadata["optimizer"], step, mean, square)
        except KeyError as error:
            raise ValueError(f"this is not the description of a network: {error} is missing") from None
        except TypeError as error:
            raise ValueError(f"this is not the description of a network: {error}") from None


def initial(
    sizes: tuple[int, ...], dtype: npt.DTypeLike, seed: int | None, activation: int = activations.RELU
) -> Memory:
    """Return a new network's memory: weights from N(0, 2 / D_i), or N(0, 1 / D_i) where it is not ReLU; biases 0."""
    generator = np.random.default_rng(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    gain = 2 if activation == activations.RELU else 1
    weights = [generator.standard_normal(shape) * np.sqrt(gain / shape[1]) for shape in shapes]
    parameters = layout.zero_parameters(sizes, dtype, activation)
    layout.write_parameters(parameters, weights, [np.zeros(size) for size in sizes[1:]])
    nothing = layout.aligned_zeros(0, dtype)
    return Memory(parameters, random_state(seed), None, 0, nothing, nothing)


def _parameters(
    tensors: Tensors, prefix: str, sizes: tuple[int, ...], dtype: np.dtype[Any], activation: int
) -> Parameters:
    """Return parameters or moments from their tensors; without any, where moments are not kept, an empty buffer."""
    if prefix and f"{prefix}weights.0" not in tensors:
        return layout.zero_parameters(sizes, dtype, activation)._replace(data=layout.aligned_zeros(0, dtype))
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [tensors[f"{prefix}weights.{i}"] for i in range(len(shapes))]
    biases = [tensors[f"{prefix}biases.{i}"] for i in range(len(shapes))]
    found = {array.dtype for array in (*weights, *biases)}
    if found != {dtype}:
        raise ValueError(f"{prefix}weights and biases must be {dtype}, got {', '.join(map(str, found))}")
    parameters = layout.zero_parameters(sizes, dtype, activation)
    layout.write_parameters(
        parameters,
        checks.arrays(f"{prefix}weights", weights, shapes, dtype),
        checks.arrays(f"{prefix}biases", biases, [shape[:1] for shape in shapes], dtype),
    )
    return parameters
