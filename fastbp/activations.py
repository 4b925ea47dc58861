"""The activations of hidden layers: their names and properties. `NAMES` lists the names.

`kernels/activations.py` computes activations. This file must not know Numba.
"""

from dataclasses import dataclass
from typing import Any, Literal

from fastbp import checks

__all__ = ["NAMES", "Activation", "resolve"]

ActivationName = Literal["relu", "identity", "tanh", "logistic"]  # for annotations; `NAMES` holds the same


@dataclass(frozen=True)
class Activation:
    """An activation h = a(f).

    Attributes
    ----------
    name : {"relu", "identity", "tanh", "logistic"}
        Name for users.
    code : int
        Number for kernels.
    gain : float, default 1.0
        The initial weights of a layer with D_i inputs are drawn from N(0, gain / D_i).
    has_kink : bool, default False
        Whether the derivative jumps at f = 0.
    """

    name: ActivationName
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
    """Return the activation with a name.

    Parameters
    ----------
    name : {"relu", "identity", "tanh", "logistic"}

    Returns
    -------
    Activation

    Raises
    ------
    TypeError, ValueError
        If no activation has this name.
    """
    return _BY_CODE[checks.choice("activation", name, NAMES)]


def of_code(code: int) -> Activation:
    """Return the activation with a code."""
    return _BY_CODE[code]


def __dir__() -> list[str]:
    return sorted(__all__)
