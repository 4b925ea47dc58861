"""An estimator's coefficients and intercepts in the packed form that kernels take.

Coefficients have the shape (inputs, outputs), as in scikit-learn: they are the transposes of Ω_i. This file must not
know estimators.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array
from fastbp.activations import OneOrMore
from fastbp.kernels import packing
from fastbp.kernels.layout import Parameters
from fastbp.runs.prediction import Predictor

Arrays = list[Array]


def layer_sizes(coefs: Sequence[Array]) -> list[int]:
    """Return the widths of all layers, from the inputs to the outputs."""
    return [coefs[0].shape[0], *(matrix.shape[1] for matrix in coefs)]


def parameters_of(
    coefs: Sequence[Array], intercepts: Sequence[Array], dtype: npt.DTypeLike | None = None
) -> Parameters:
    """Return coefficients and intercepts packed in a dtype, which is by default the dtype of the first coefficients."""
    parameters = packing.zero_parameters(layer_sizes(coefs), coefs[0].dtype if dtype is None else dtype)
    packing.write_parameters(parameters, [matrix.T for matrix in coefs], intercepts)
    return parameters


def arrays_of(parameters: Parameters) -> tuple[Arrays, Arrays]:
    """Return copies of packed parameters as coefficients and intercepts."""
    weights, biases = packing.weight_matrices(parameters), packing.bias_vectors(parameters)
    return [np.ascontiguousarray(matrix.T) for matrix in weights], list(biases)


class Packed:
    """Packed parameters, and what predictions need besides them.

    Parameters
    ----------
    parameters : Parameters
    activation : Activation or tuple of Activation
        Activation of all hidden layers, or one for each.
    last : Packed, optional
        The packed parameters before these. The new ones take over the predictor if they have the same shape, dtype
        and activation: making its workspaces takes longer than predicting one row.

    Attributes
    ----------
    parameters : Parameters
    activation : Activation or tuple of Activation
    unpacked : list of ndarray or None
        Copies of the coefficients and then the intercepts, as they were when the user got them; None if the user did
        not get any.
    """

    def __init__(self, parameters: Parameters, activation: OneOrMore, last: "Packed | None" = None) -> None:
        self.parameters, self.activation = parameters, activation
        self.unpacked: Arrays | None = None
        self._wider: Packed | None = None  # the same parameters in another dtype
        self._shape = parameters.sizes.tolist(), parameters.data.dtype, activation
        is_alike = last is not None and last._shape == self._shape
        self._predictor: Predictor = last._predictor if last is not None and is_alike else Predictor(*self._shape)

    def is_from(self, arrays: Arrays) -> bool:
        """Tell whether packing these arrays would give the same parameters."""
        return (
            self.unpacked is not None
            and len(arrays) == len(self.unpacked)
            and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(arrays, self.unpacked, strict=True))
        )

    def predict(self, X: Array, dtype: np.dtype[Any]) -> Array:
        """Return ŷ, computed in a dtype, before any activation of the output layer."""
        if dtype == self.parameters.data.dtype:
            return self._predictor.predict(self.parameters, X, None)
        if self._wider is None:
            self._wider = Packed(parameters_of(*arrays_of(self.parameters), dtype), self.activation)
        return self._wider.predict(X, dtype)
