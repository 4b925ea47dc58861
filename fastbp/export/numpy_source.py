"""One network as the source of a short NumPy program, to read and to check. It must not know how a network trains."""

from __future__ import annotations

import numpy as np

from fastbp._typing import Array
from fastbp._version import __version__
from fastbp.export.parts import Layers

# What an activation of f is, with a parameter p where it has one. Each is stable for all f: logaddexp(0, f) is
# log(1 + exp(f)), which cannot overflow.
_FORMULAS = {
    "relu": "np.maximum(f, 0)",
    "tanh": "np.tanh(f)",
    "logistic": "np.exp(-np.logaddexp(0, -f))",
    "leaky_relu": "np.where(f > 0, f, p * f)",
    "elu": "np.where(f > 0, f, p * np.expm1(np.minimum(f, 0)))",
    "selu": "1.0507009873554805 * np.where(f > 0, f, 1.6732632423543772 * np.expm1(np.minimum(f, 0)))",
    "gelu": "0.5 * f * np.vectorize(math.erfc, otypes=[f.dtype])(-math.sqrt(0.5) * f)",
    "gelu_tanh": "0.5 * f * (1 + np.tanh(math.sqrt(2 / math.pi) * f * (1 + 0.044715 * f * f)))",
    "silu": "f * np.exp(-np.logaddexp(0, -f))",
    "mish": "f * np.tanh(np.logaddexp(0, f))",
    "softplus": "np.logaddexp(0, f)",
    "hard_tanh": "np.clip(f, -1, 1)",
}


def source_of(layers: Layers) -> str:
    """Return Python source with `WEIGHTS`, `BIASES`, the activations and `predict(X)`.

    Parameters
    ----------
    layers : Layers

    Raises
    ------
    ValueError
        If an activation is a user's function.
    """
    for one in layers.between:
        if one.is_custom:
            raise ValueError(f"the activation {one.name} is a user's function, which cannot be converted to NumPy")
    used = {one.name: one for one in layers.between if one.name != "identity"}
    functions = []
    for name, one in used.items():
        arguments = "f, p" if one.parameter_name else "f"
        functions += ["", "", f"def {name}({arguments}):", f"    return {_FORMULAS[name]}"]
    sizes = [layers.weights[0].shape[1], *map(len, layers.biases)]
    lines = [
        f'"""A network with layers {"-".join(map(str, sizes))} in {layers.dtype}, written by fastbp {__version__}."""',
        "",
        *(["import math", ""] if any("math." in line for line in functions) else []),
        "import numpy as np",
        "",
        "WEIGHTS = [",
        *(f"    {_literal(matrix)}," for matrix in layers.weights),
        "]",
        "BIASES = [",
        *(f"    {_literal(vector)}," for vector in layers.biases),
        "]",
        *functions,
        "",
        "",
        "def predict(X):",
        f"    h = np.asarray(X, dtype=np.{layers.dtype})",
    ]
    for i, one in enumerate(layers.between):
        f = f"h @ WEIGHTS[{i}].T + BIASES[{i}]"
        parameter = f", {one.parameter!r}" if one.parameter_name else ""
        lines.append(f"    h = {f if one.name == 'identity' else f'{one.name}({f}{parameter})'}")
    last = len(layers.between)
    lines.append(f"    return h @ WEIGHTS[{last}].T + BIASES[{last}]")
    return "\n".join(lines) + "\n"


def _literal(values: Array) -> str:
    """Return an array as an expression, with the shortest numbers that give the same array."""
    rows = ["[" + ", ".join(map(str, row)) + "]" for row in np.atleast_2d(values)]
    shown = rows[0] if values.ndim == 1 else "[\n        " + ",\n        ".join(rows) + ",\n    ]"
    return f"np.array({shown}, dtype=np.{values.dtype})"
