"""The layers of networks in C99: weights, activations and link functions. It must not know columns or labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastbp._typing import Array
from fastbp.activations import Activation
from fastbp.export import c_text
from fastbp.export.parts import Layers

# The bodies of functions of f, and of a parameter p where the activation has one. $ is the suffix of the type: f or
# nothing. Each is stable for all f: no difference of near numbers, and no overflow but to the right limit.
_SELU_ALPHA, _SELU_SCALE = "1.6732632423543772$", "1.0507009873554805$"
_BODIES = {
    "relu": "return f > 0 ? f : 0;",
    "tanh": "return tanh$(f);",
    "logistic": "return 1 / (1 + exp$(-f));",
    "leaky_relu": "return f > 0 ? f : f * p;",
    "elu": "return f > 0 ? f : p * expm1$(f);",
    "selu": f"return {_SELU_SCALE} * (f > 0 ? f : {_SELU_ALPHA} * expm1$(f));",
    "gelu": f"return f * 0.5$ * erfc$(f * -{math.sqrt(0.5)!r}$);",
    "gelu_tanh": f"return 0.5$ * f * (1 + tanh$({math.sqrt(2 / math.pi)!r}$ * f * (1 + 0.044715$ * f * f)));",
    "silu": "return f / (1 + exp$(-f));",
    "mish": "T e = exp$(f < 20 ? f : 20), n = e * (e + 2);\n  return f * (n / (n + 2));",
    "softplus": "return (f > 0 ? f : 0) + log1p$(exp$(-fabs$(f)));",
    "hard_tanh": "return f < -1 ? -1 : f > 1 ? 1 : f;",
}

_DENSE = """
/* f = biases + weights x. Each input has the weights of all outputs in a row, so that compilers use vectors. */
static inline void P_dense(const T *weights, const T *biases, int n_inputs, int n_outputs, const T *x, T *f) {
  int i, j;
  for (i = 0; i < n_outputs; i++) f[i] = biases[i];
  for (j = 0; j < n_inputs; j++)
    for (i = 0; i < n_outputs; i++) f[i] += *weights++ * x[j];
}
"""

_DENSE_INT8 = """
/* f = biases + scales * (weights x), with the order of weights in which compilers use vectors. */
static inline void P_dense(
    const int8_t *weights, const T *scales, const T *biases, int n_inputs, int n_outputs, const T *x, T *f) {
  int i, j;
  for (i = 0; i < n_outputs; i++) f[i] = 0;
  for (j = 0; j < n_inputs; j++)
    for (i = 0; i < n_outputs; i++) f[i] += (T)*weights++ * x[j];
  for (i = 0; i < n_outputs; i++) f[i] = biases[i] + scales[i] * f[i];
}
"""

_SOFTMAX = """
static inline void P_softmax(T *f, int n) {
  T largest = f[0], sum = 0;
  int i;
  for (i = 1; i < n; i++) largest = f[i] > largest ? f[i] : largest;
  for (i = 0; i < n; i++) sum += f[i] = exp$(f[i] - largest);
  for (i = 0; i < n; i++) f[i] /= sum;
}
"""


def in_c(template: str, prefix: str, dtype: Any) -> str:
    """Return code of a template: P is the prefix, T the type, and $ the suffix of its functions and constants."""
    kept_in = np.dtype(dtype)
    standing = {"P_": f"{prefix}_", "T": c_text.type_of(kept_in), "$": c_text.suffix_of(kept_in)}
    return re.sub(r"\bP_|\bT\b|\$", lambda found: standing[found[0]], template)


def softmax(prefix: str, dtype: Any) -> str:
    """Return a function that replaces n logits with probabilities."""
    return in_c(_SOFTMAX, prefix, dtype)


def activation(name: str, prefix: str, dtype: Any) -> str:
    """Return the function of an activation."""
    parameter = ", T p" if " p" in _BODIES[name] else ""
    return in_c(f"\nstatic inline T P_{name}(T f{parameter}) {{\n  {_BODIES[name]}\n}}\n", prefix, dtype)


def rounded_to_int8(weights: Array) -> tuple[Array, Array]:
    """Return whole numbers from −127 to 127, (D_{i+1}, D_i), and what they are to be multiplied by, (D_{i+1},)."""
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(weights.dtype)
    return np.rint(weights / scales[:, np.newaxis]).astype(np.int8), scales


def networks(prefix: str, of_all: list[Layers], also: Iterable[str] = (), is_int8: bool = False) -> str:
    """Return functions `PREFIX_network_0(x, f)`, … of networks of one dtype, with their weights.

    Parameters
    ----------
    prefix : str
    of_all : list of Layers
    also : iterable of str
        Names of activations whose functions are needed besides those of the networks.
    is_int8 : bool, default False
        Whether weights are rounded to 8 bits.

    Raises
    ------
    ValueError
        If an activation is a user's function.
    """
    dtype = of_all[0].dtype
    between = [one for layers in of_all for one in layers.between]
    for one in between:
        if one.is_custom:
            raise ValueError(f"the activation {one.name} is a user's function, which cannot be converted to C")
    used = sorted({*also, *(one.name for one in between)} - {"identity"})
    code = [
        in_c(_DENSE_INT8 if is_int8 else _DENSE, prefix, dtype),
        *(activation(name, prefix, dtype) for name in used),
    ]
    for k, layers in enumerate(of_all):
        code += [_network(prefix, k, layers, is_int8)]
    return "".join(code)


def _network(prefix: str, k: int, layers: Layers, is_int8: bool) -> str:
    kept, steps, source = ["\n"], [], "x"
    type_name = c_text.type_of(layers.dtype)
    n_hidden = len(layers.between)
    for i, (weights, biases) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        arrays: dict[str, Array] = {"weights": weights.T, "biases": biases}
        if is_int8:
            whole, scales = rounded_to_int8(weights)
            arrays = {"weights": whole.T, "scales": scales, "biases": biases}
        own = [f"{prefix}_{what}_{k}_{i}" for what in arrays]
        for name, values in zip(own, arrays.values(), strict=True):
            kept.append(c_text.array(name, values, "int8_t" if values.dtype == np.int8 else type_name))
        f = "f" if i == n_hidden else "ab"[i % 2]
        n_outputs, n_inputs = weights.shape
        steps.append(f"  {prefix}_dense({', '.join(own)}, {n_inputs}, {n_outputs}, {source}, {f});")
        if i < n_hidden and layers.between[i].name != "identity":
            applied = _applied(prefix, layers.between[i], f, layers.dtype)
            steps.append(f"  for (i = 0; i < {n_outputs}; i++) {f}[i] = {applied};")
        source = f
    rooms = [max(len(biases) for biases in layers.biases[first:n_hidden:2]) for first in range(min(n_hidden, 2))]
    variables = [f"  {type_name} {name}[{room}];" for name, room in zip("ab", rooms, strict=False)]
    if any("for" in step for step in steps):
        variables.append("  int i;")
    begun = f"\nstatic inline void {prefix}_network_{k}(const {type_name} *x, {type_name} *f) {{"
    return "".join(kept) + "\n".join([begun, *variables, *steps, "}\n"])


def _applied(prefix: str, one: Activation, f: str, dtype: Any) -> str:
    parameter = f", {c_text.number(one.parameter, dtype)}" if one.parameter_name else ""
    return f"{prefix}_{one.name}({f}[i]{parameter})"
