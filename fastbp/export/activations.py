"""The activations in operators of ONNX. This file must not know how a graph is built, nor other layers.

ONNX Runtime has Elu, Erf, LeakyRelu, Selu and Softplus in float32 alone. In float64, other operators replace them.
"""

import math
from collections.abc import Callable
from typing import Any

from fastbp.activations import Activation

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_SAME = {"identity": "Identity", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}

# erfc(z) = t exp(−z² + P(2t − 1)) with t = 2 / (2 + z), for z ≥ 0; the ansatz of Press et al., "Numerical recipes",
# section 6.2. P interpolates the exact function at the 20 Chebyshev nodes of [−1, 1], with an error below 1e-12.
_ERFC = (
    *(-0.6717940840570014, 0.6726432239779253, 0.047343306903682596, -0.04689561028495417, -0.009872691399980671),
    *(0.008824940341344964, 0.0017589594588031758, -0.002345835570882037, -0.00014641376988948324),
    *(0.0006738311249404821, -9.312118250987278e-05, -0.00017488485991715226, 7.004355495978403e-05),
    *(3.31123851484925e-05, -2.83815148387416e-05, -1.8816869421910296e-06, 7.22287949102357e-06),
    *(-1.0977145573937414e-06, -9.026153502504481e-07, 2.6403042778749207e-07),
)


def activated(activation: Activation, f: Any, is_double: bool, add: Callable[..., Any]) -> Any:
    """Return h = a(f).

    Parameters
    ----------
    activation : Activation
    f : value of a graph
    is_double : bool
        Whether `f` is of float64.
    add : callable
        Called as `add(operator, *operands, **attributes)`. Adds a node of an operator of ONNX, and returns its value.
        An operand is a value, or a Python float for a constant of the dtype of `f`.

    Raises
    ------
    ValueError
        If the activation is a user's function.
    """
    if activation.is_custom:
        raise ValueError(f"the activation {activation.name} is a user's function, which cannot be converted to ONNX")
    name = activation.name
    if name in _SAME:
        return add(_SAME[name], f)
    if name == "hard_tanh":
        return add("Min", add("Max", f, -1.0), 1.0)
    if name == "silu":
        return add("Mul", f, add("Sigmoid", f))
    if name == "gelu_tanh":
        cube = add("Mul", add("Mul", add("Mul", f, f), f), 0.044715)
        u = add("Tanh", add("Mul", add("Add", f, cube), math.sqrt(2 / math.pi)))
        return add("Mul", add("Mul", f, 0.5), add("Add", u, 1.0))
    if name == "gelu":
        return add("Mul", f, _normal_distribution(f, is_double, add))
    if name == "softplus":
        return _softplus(f, is_double, add)
    if name == "mish":
        return add("Mul", f, add("Tanh", _softplus(f, is_double, add)))
    return _two_sided(activation, f, is_double, add)


def _two_sided(activation: Activation, f: Any, is_double: bool, add: Callable[..., Any]) -> Any:
    """Return leaky ReLU, ELU or SELU, which are linear for f > 0."""
    if not is_double:
        own = {} if activation.name == "selu" else {"alpha": activation.parameter}
        return add({"leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu"}[activation.name], f, **own)
    above, below = add("Relu", f), add("Min", f, 0.0)
    if activation.name == "leaky_relu":
        return add("Add", above, add("Mul", below, activation.parameter))
    α, scale = (_SELU_ALPHA, _SELU_SCALE) if activation.name == "selu" else (activation.parameter, 1.0)
    elu = add("Add", above, add("Mul", add("Sub", add("Exp", below), 1.0), α))
    return add("Mul", elu, scale) if activation.name == "selu" else elu


def _softplus(f: Any, is_double: bool, add: Callable[..., Any]) -> Any:
    """Return log(1 + exp(f)), in float64 as max(0, f) + log(1 + exp(−|f|)), which cannot overflow."""
    if not is_double:
        return add("Softplus", f)
    e = add("Exp", add("Neg", add("Abs", f)))
    return add("Add", add("Relu", f), add("Log", add("Add", e, 1.0)))


def _normal_distribution(f: Any, is_double: bool, add: Callable[..., Any]) -> Any:
    """Return Φ(f) = (1 + erf(f / √2)) / 2, in float64 by erfc(|f| / √2)."""
    if not is_double:
        return add("Mul", add("Add", add("Erf", add("Mul", f, math.sqrt(0.5))), 1.0), 0.5)
    z = add("Mul", add("Abs", f), math.sqrt(0.5))
    t = add("Reciprocal", add("Add", add("Mul", z, 0.5), 1.0))
    u = add("Sub", add("Mul", t, 2.0), 1.0)
    polynomial: Any = _ERFC[-1]
    for coefficient in reversed(_ERFC[:-1]):
        polynomial = add("Add", add("Mul", u, polynomial), coefficient)
    tail = add("Mul", add("Mul", t, 0.5), add("Exp", add("Sub", polynomial, add("Mul", z, z))))
    is_above = add("Relu", add("Sign", f))  # 1 above 0: Φ(f) = 1 − tail; 0 below: Φ(f) = tail
    return add("Add", is_above, add("Mul", tail, add("Sub", 1.0, add("Mul", is_above, 2.0))))
