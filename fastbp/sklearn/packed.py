"""An estimator's coefficients and intercepts in the packed form that kernels take.

Coefficients have the shape (inputs, outputs), as in scikit-learn: they are the transposes of Ω_i. This file must not
know estimators.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp import activations
from fastbp._typing import Array
from fastbp.kernels import packing
from fastbp.kernels.layout import Parameters
from fastbp.runs.prediction import Predictor

Arrays = list[Array]


def layer_sizes(coefs: Sequence[Array]) -> list[int]:
    """Return the widths of all layers, from the inputs to the outputs."""
    return [coefs[0].shape[0], *(matrix.shape[1] for matrix in coefs)]


def parameters_of(
    coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, dtype: npt.DTypeLike | None = None
) -> Parameters:
    """Return coefficients and intercepts packed in a dtype, which is by default the dtype of the first coefficients."""
    dtype, code = coefs[0].dtype if dtype is None else dtype, activations.resolve(activation).code
    parameters = packing.zero_parameters(layer_sizes(coefs), dtype, code)
    packing.write_parameters(parameters, [matrix.T for matrix in coefs], intercepts)
    return parameters


def arrays_of(parameters: Parameters) -> tuple[Arrays, Arrays]:
    """Return copies of packed parameters as coefficients and intercepts."""
    weights, biases = packing.weight_matrices(parameters), packing.bias_vectors(parameters)
    return [np.ascontiguousarray(matrix.T) for matrix in weights], list(biases)


def copy_of(parameters: Parameters) -> Parameters:
    """Return a copy of packed parameters."""
    data = packing.aligned_zeros(parameters.data.size, parameters.data.dtype)
    data[:] = parameters.data
    return parameters._replace(data=data)


class Packed(NamedTuple):
    """Packed parameters, with copies of the arrays that they were packed from."""

    parameters: Parameters  # read only
    arrays: Arrays  # the coefficients and then the intercepts
    predictor: Predictor

    def is_from(self, arrays: Arrays, activation: str, dtype: npt.DTypeLike) -> bool:
        """Tell whether packing these arrays in this dtype would give the same parameters."""
        return (
            activations.resolve(activation).code == self.parameters.activation
            and np.dtype(dtype) == self.parameters.data.dtype
            and len(arrays) == len(self.arrays)
            and all(np.array_equal(a, b) for a, b in zip(arrays, self.arrays, strict=True))
        )

    def predict(self, X: Array) -> Array:
        """Return ŷ, before any activation of the output layer."""
        return self.predictor.predict(self.parameters, X, None)


class PackedCache:
    """The packed parameters that an estimator keeps from one prediction to the next.

    The user may replace an estimator's arrays, or write to them, between any two calls. Each prediction therefore
    compares the arrays with copies of what was packed. The comparison takes a small part of the time of packing.
    """

    def __init__(self) -> None:
        self._last: Packed | None = None

    def of(self, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, dtype: npt.DTypeLike) -> Packed:
        """Return these arrays packed in this dtype, without packing if they are what was packed last."""
        last, arrays = self._last, [*coefs, *intercepts]
        if last is not None and last.is_from(arrays, activation, dtype):
            return last
        return self.keep(parameters_of(coefs, intercepts, activation, dtype), arrays)

    def keep(self, parameters: Parameters, arrays: Arrays) -> Packed:
        """Keep and return parameters that were packed from these arrays. The caller must not write to them afterwards.

        Parameters of the same shape use the same predictor: it has workspaces, and making a workspace takes longer
        than predicting one row.
        """
        last, sizes, dtype = self._last, parameters.sizes.tolist(), parameters.data.dtype
        if last is not None and (last.parameters.sizes.tolist(), last.parameters.data.dtype) == (sizes, dtype):
            predictor = last.predictor
        else:
            predictor = Predictor(sizes, dtype)
        self._last = kept = Packed(parameters, [array.copy() for array in arrays], predictor)
        return kept
