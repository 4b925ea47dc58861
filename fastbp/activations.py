"""The activations that one may ask for: what stands between the layers of a network.

`kernels/activations.py` holds what an activation computes. This file holds what every caller has to know of an
activation. It must not know Numba.
"""

from dataclasses import dataclass
from typing import Any

from fastbp import checks

__all__ = ["NAMES", "Activation", "resolve"]


@dataclass(frozen=True)
class Activation:
    """An activation h = a(f).

    Attributes
    ----------
    name : str
        What users call it.
    code : int
        The number by which kernels know it.
    gain : float
        First weights are drawn from N(0, gain / D_i), where D_i is the layer's number of inputs.
    has_kink : bool
        Whether the slope jumps at f = 0.
    """

    name: str
    code: int
    gain: float = 1.0
    has_kink: bool = False


relu = Activation("relu", 0, gain=2.0, has_kink=True)  # He et al. (2015), "Delving deep into rectifiers", ICCV
identity = Activation("identity", 1)
tanh = Activation("tanh", 2)
logistic = Activation("logistic", 3)

_BY_CODE = (relu, identity, tanh, logistic)
NAMES = tuple(activation.name for activation in _BY_CODE)


def resolve(name: Any) -> Activation:
    """Return the activation of this name.

    Raises
    ------
    TypeError, ValueError
        If there is none.
    """
    return _BY_CODE[checks.choice("activation", name, NAMES)]


def of_code(code: int) -> Activation:
    """Return the activation that kernels know by this number."""
    return _BY_CODE[code]


def __dir__() -> list[str]:
    return sorted(__all__)
