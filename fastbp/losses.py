"""The losses that one may ask for, by name or as an object of this module.

`fastbp.losses.huber(2.0)` and `"huber"` both stand for a loss. `kernels/losses.py` holds what a loss computes. This
file holds what every caller has to know of a loss: the range of its targets, whether it takes classes, where its slope
jumps, and what an output ŷ means. It must not know Numba.

References
----------
Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1). Koenker and Bassett
(1978), "Regression quantiles", Econometrica 46(1).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastbp import checks
from fastbp._typing import Array

__all__ = [
    "Loss",
    "absolute_error",
    "binary_cross_entropy",
    "cross_entropy",
    "huber",
    "poisson",
    "quantile",
    "squared_error",
]


@dataclass(frozen=True, repr=False)
class Loss:
    """A loss, its parameter, and the properties that decide how it is used. Make one by the names in `fastbp.losses`.

    Attributes
    ----------
    name : str
        What users call it.
    code : int
        The number by which kernels know it.
    parameter : float
        The one number that some losses take: δ of `huber`, q of `quantile`, the largest −log p that counts of the two
        cross-entropies (0 means that all of it counts). 0 where there is none.
    parameter_name : str
        What users call the parameter; empty where the loss takes none.
    lowest, highest : float
        The range of a target.
    takes_classes : bool
        Whether a target may be class numbers, and otherwise is a row of probabilities that add up to 1.
    link : {"identity", "logistic", "softmax", "exp"}
        The function that turns ŷ into the expected target.
    kink : float or None
        The distance |ŷ − y| at which the slope jumps or bends; None for a smooth loss.
    """

    name: str
    code: int
    parameter: float = 0.0
    parameter_name: str = ""
    lowest: float = -np.inf
    highest: float = np.inf
    takes_classes: bool = False
    link: str = "identity"
    kink: float | None = None

    def __post_init__(self) -> None:
        if self.parameter != 0 and not self.parameter_name:
            raise ValueError(f"the loss {self.name} takes no parameter, got {self.parameter!r}")

    def __repr__(self) -> str:
        return f"{self.name}({self.parameter_name}={self.parameter})" if self.parameter != 0 else self.name

    @property
    def is_of_probabilities(self) -> bool:
        """Whether the expected target is a probability."""
        return self.link in ("logistic", "softmax")

    def with_parameter(self, parameter: float) -> "Loss":
        """Return the same loss with another parameter; raise ValueError if the loss takes none, or not this one."""
        made_by = {"huber": huber, "quantile": quantile}.get(self.name)
        return made_by(parameter) if made_by is not None else replace(self, parameter=float(parameter))

    def expectation(self, f: Array) -> Array:
        """Return the expected target for outputs ŷ: ŷ, σ(ŷ), softmax(ŷ) or exp(ŷ), of shape (n, outputs)."""
        return inverse_link(self.link, f)

    def describe(self) -> dict[str, Any]:
        """Return the loss as JSON can hold it; `from_description` takes it back."""
        return {"name": self.name, "parameter": self.parameter}


squared_error = Loss("squared_error", 0)
binary_cross_entropy = Loss("binary_cross_entropy", 1, parameter_name="bound", lowest=0.0, highest=1.0, link="logistic")
cross_entropy = Loss(
    "cross_entropy", 2, parameter_name="bound", lowest=0.0, highest=1.0, takes_classes=True, link="softmax"
)
poisson = Loss("poisson", 3, lowest=0.0, link="exp")
absolute_error = Loss("absolute_error", 5, kink=0.0)


def huber(delta: float = 1.0) -> Loss:
    """Return Huber's loss: ½ r² where |r| ≤ δ and δ (|r| − ½ δ) beyond, r = ŷ − y.

    Parameters
    ----------
    delta : float, default 1.0
        δ > 0, in the unit of y.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a positive finite number.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1).
    """
    δ = checks.positive("delta", delta)
    return Loss("huber", 4, parameter=δ, parameter_name="delta", kink=δ)


def quantile(q: float = 0.5) -> Loss:
    """Return the pinball loss, least at the q-quantile: q r where r = y − ŷ ≥ 0 and (q − 1) r elsewhere.

    Parameters
    ----------
    q : float, default 0.5
        The quantile, in (0, 1). At 0.5 the loss is half the absolute error.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError, ValueError
        If `q` is not a number within (0, 1).

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles", Econometrica 46(1).
    """
    return Loss("quantile", 6, parameter=checks.between("q", q, 0, 1), parameter_name="q", kink=0.0)


_DEFAULTS = {
    loss.name: loss
    for loss in (squared_error, binary_cross_entropy, cross_entropy, poisson, huber(), absolute_error, quantile())
}
NAMES = tuple(_DEFAULTS)


def resolve(loss: Any) -> Loss:
    """Return a loss given by name (with its default parameter) or as an object.

    Raises
    ------
    TypeError, ValueError
        If it is neither a name of a loss nor a loss of this module.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        made_by = next((made for made in (huber, quantile) if made is loss), None)
        hint = f": call it, as in losses.{made_by.__name__}()" if made_by else ""
        raise TypeError(f"loss must be a name or one of fastbp.losses, got {checks.shown(loss)}{hint}")
    if loss not in _DEFAULTS:
        raise ValueError(f"loss must be one of {', '.join(NAMES)}; got {loss!r}")
    return _DEFAULTS[loss]


def from_description(description: Any) -> Loss:
    """Return the loss that `Loss.describe` described; raise ValueError where it describes none."""
    if not isinstance(description, dict) or set(description) != {"name", "parameter"}:
        raise ValueError(f"loss must be the description of one, got {checks.shown(description)}")
    parameter = checks.not_negative("loss.parameter", description["parameter"])
    return resolve(description["name"]).with_parameter(parameter)


def inverse_link(link: str, f: Array) -> Array:
    """Return what outputs (n, C) stand for behind a link: themselves, σ, softmax or exp of them, in their dtype."""
    if link == "softmax":
        return softmax(f)
    if link == "logistic":
        e = np.exp(-np.abs(f))
        return np.asarray(np.where(f > 0, 1, e) / (1 + e))
    return np.exp(f) if link == "exp" else f


def softmax(f: Array) -> Array:
    """Return exp(ŷ_c) / Σ exp(ŷ) of each row, (n, C), in the dtype of ŷ, without overflow."""
    e = np.exp(f - f.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def __dir__() -> list[str]:
    return sorted(__all__)
