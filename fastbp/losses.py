"""The losses: their names, parameters and properties.

A loss is given by name, such as `"huber"`, or as an object of this module, such as `fastbp.losses.huber(2.0)`. For
outputs ŷ and targets y, the loss of a sample is the sum over its outputs of

- `squared_error`: ½ (ŷ − y)²
- `binary_cross_entropy`: log(1 + exp(ŷ)) − y ŷ, for y in [0, 1]; the probability is σ(ŷ)
- `cross_entropy`: −y log softmax(ŷ), for class numbers or rows of probabilities
- `poisson`: exp(ŷ) − y ŷ, for y ≥ 0; the expected count is exp(ŷ)
- `absolute_error`: |ŷ − y|
- `huber(delta)` and `quantile(q)`, see these functions
- `custom(function)` and `custom_rows(function)`: a function of your own, see there

`kernels/losses.py` computes losses. This file must not know Numba.

References
----------
Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1). Koenker and Bassett
(1978), "Regression quantiles", Econometrica 46(1).
"""

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from fastbp import checks
from fastbp._typing import Array

__all__ = [
    "Loss",
    "absolute_error",
    "binary_cross_entropy",
    "cross_entropy",
    "custom",
    "custom_rows",
    "huber",
    "poisson",
    "quantile",
    "squared_error",
]

ProbabilityLossName = Literal["binary_cross_entropy", "cross_entropy"]
NumberLossName = Literal["squared_error", "poisson", "huber", "absolute_error", "quantile"]
LossName = Literal[ProbabilityLossName, NumberLossName]  # for annotations; `NAMES` holds the same
Link = Literal["identity", "logistic", "softmax", "exp"]


@dataclass(frozen=True, repr=False)
class Loss:
    """A loss with its parameter and properties. Use the names in `fastbp.losses` and do not call this class.

    Attributes
    ----------
    name : str
        Name for users.
    parameter : float, default 0.0
        Parameter of the loss: δ of `huber`, or q of `quantile`. For the two cross-entropies, an upper bound of −log p,
        where 0 means no bound. 0 if the loss has no parameter.
    parameter_name : str, default ""
        Name of the parameter; empty if the loss has no parameter.
    lowest, highest : float, default -inf and inf
        Range of the targets.
    takes_classes : bool, default False
        Whether targets may be class numbers. If so, other targets must be rows of probabilities that add up to 1.
    link : {"identity", "logistic", "softmax", "exp"}, default "identity"
        Inverse link function, which turns ŷ into the expected target.
    kink : float or None, default None
        Distance |ŷ − y| at which the loss or its derivative has a kink; None for a smooth loss.
    is_custom : bool, default False
        Whether the loss is a user's function.
    function : callable or None, default None
        The user's function. None for other losses, and for a network that was loaded from a model file, or from a
        pickle where the function is not found.
    sees_rows : bool, default False
        Whether the user's function takes a row of outputs, not a single one.
    """

    name: str
    parameter: float = 0.0
    parameter_name: str = ""
    lowest: float = -np.inf
    highest: float = np.inf
    takes_classes: bool = False
    link: Link = "identity"
    kink: float | None = None
    is_custom: bool = False
    function: Callable[..., Any] | None = None
    sees_rows: bool = False

    def __post_init__(self) -> None:
        if self.parameter != 0 and not self.parameter_name:
            raise ValueError(f"the loss {self.name} takes no parameter, got {self.parameter!r}")

    def __repr__(self) -> str:
        if self.is_custom:
            return f"custom{'_rows' * self.sees_rows}({self.name})"
        return f"{self.name}({self.parameter_name}={self.parameter})" if self.parameter != 0 else self.name

    @property
    def is_of_probabilities(self) -> bool:
        """Whether expected targets are probabilities."""
        return self.link in ("logistic", "softmax")

    def with_parameter(self, parameter: float) -> "Loss":
        """Return the same loss with another parameter; raise ValueError if the parameter is not allowed."""
        made_by = {"huber": huber, "quantile": quantile}.get(self.name)
        return made_by(parameter) if made_by is not None else replace(self, parameter=float(parameter))

    def expectation(self, f: Array) -> Array:
        """Return the expected targets for outputs ŷ, (n, outputs): ŷ, σ(ŷ), softmax(ŷ) or exp(ŷ)."""
        return inverse_link(self.link, f)

    def describe(self) -> dict[str, Any]:
        """Return the loss as a dictionary for JSON; `from_description` is the inverse."""
        described: dict[str, Any] = {"name": self.name, "parameter": self.parameter}
        if self.is_custom:
            described |= {"is_custom": True, "sees_rows": self.sees_rows, "link": self.link}
        return described


squared_error = Loss("squared_error")
binary_cross_entropy = Loss("binary_cross_entropy", parameter_name="bound", lowest=0.0, highest=1.0, link="logistic")
cross_entropy = Loss(
    "cross_entropy", parameter_name="bound", lowest=0.0, highest=1.0, takes_classes=True, link="softmax"
)
poisson = Loss("poisson", lowest=0.0, link="exp")
absolute_error = Loss("absolute_error", kink=0.0)


def huber(delta: float = 1.0) -> Loss:
    """Return the Huber loss of r = ŷ − y: ½ r² if |r| ≤ δ, and δ (|r| − ½ δ) otherwise.

    Parameters
    ----------
    delta : float, default 1.0
        δ > 0, in the unit of y.

    Returns
    -------
    Loss
        A value for the argument `loss` of `Network` methods.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a positive finite number.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1).
    """
    δ = checks.positive("delta", delta)
    return Loss("huber", parameter=δ, parameter_name="delta", kink=δ)


def quantile(q: float = 0.5) -> Loss:
    """Return the quantile loss (pinball loss) of r = y − ŷ: q r if r ≥ 0, and (q − 1) r otherwise.

    The q-quantile of the targets minimises this loss.

    Parameters
    ----------
    q : float, default 0.5
        Quantile, in (0, 1). For 0.5, the loss is half the absolute error.

    Returns
    -------
    Loss
        A value for the argument `loss` of `Network` methods.

    Raises
    ------
    TypeError, ValueError
        If `q` is not a number in (0, 1).

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles", Econometrica 46(1).
    """
    return Loss("quantile", parameter=checks.between("q", q, 0, 1), parameter_name="q", kink=0.0)


def custom(function: Callable[[Any, Any], tuple[Any, Any]], link: Link = "identity") -> Loss:
    """Return a loss of your own, for each output of each row.

    Numba compiles the function, so it may use numbers, `math`, NumPy's functions of numbers and other compiled
    functions. Before the first step, its derivative is compared with central differences at some targets.

    Parameters
    ----------
    function : callable
        Takes an output ŷ and a target y, both numbers. Returns the loss and its derivative with respect to ŷ.
    link : {"identity", "logistic", "softmax", "exp"}, default "identity"
        Inverse link function, which turns ŷ into the expected target.

    Returns
    -------
    Loss
        A value for the argument `loss` of `Network` methods and of `fastbp.sklearn.MLPRegressor`, and for the `metric`
        of `fastbp.tabular.TabularRegressor`. A model file holds the name of the function and not the function. A loaded
        network predicts without the function.

    Raises
    ------
    TypeError
        If `function` is not a function of two arguments. The first use of the loss also raises a TypeError if Numba
        cannot compile the function.
    ValueError
        If there is no such link. The first use of the loss also raises a ValueError if the derivative is wrong.

    Examples
    --------
    >>> import fastbp
    >>> def asymmetric(f, y):
    ...     r = f - y
    ...     return (r * r, 2 * r) if r > 0 else (4 * r * r, 8 * r)
    >>> fastbp.losses.custom(asymmetric)
    custom(asymmetric)
    """
    return _of_function(function, 2, link)


def custom_rows(function: Callable[[Any, Any, Any], Any], link: Link = "identity") -> Loss:
    """Return a loss of your own that sees all outputs of a row, such as a mean and a variance.

    Parameters
    ----------
    function : callable
        Takes the outputs of a row, its targets, and an array for the derivative, each an array of float64 with one
        number per output. Writes the derivative of the loss with respect to each output, and returns the loss. If y
        has fewer columns than the network has outputs, the other targets are 0.
    link : {"identity", "logistic", "softmax", "exp"}, default "identity"
        As in `custom`.

    Returns
    -------
    Loss
        As in `custom`.

    Raises
    ------
    TypeError, ValueError
        As in `custom`, for a function of three arguments.
    """
    return _of_function(function, 3, link)


def _of_function(function: Any, arguments: int, link: Any) -> Loss:
    """Return the loss of a user's function that takes so many arguments, or raise."""
    function = getattr(function, "py_func", function)  # of a function that Numba has compiled
    wanted = "(ŷ, y)" if arguments == 2 else "(ŷ, y, derivative)"
    if not isinstance(function, types.FunctionType):  # Numba compiles no others
        raise TypeError(f"function must be a function of {wanted}, got {checks.shown(function)}")
    try:
        inspect.signature(function).bind(*range(arguments))
    except (TypeError, ValueError) as error:
        raise TypeError(f"function must take {wanted}, and {function.__name__} does not: {error}") from error
    checks.choice("link", link, get_args(Link))
    return Loss(function.__name__, link=link, is_custom=True, function=function, sees_rows=arguments == 3)


_DEFAULTS = {
    loss.name: loss
    for loss in (squared_error, binary_cross_entropy, cross_entropy, poisson, huber(), absolute_error, quantile())
}
NAMES = tuple(_DEFAULTS)


def resolve(loss: Any) -> Loss:
    """Return the loss with a name (and its default parameter), or return a `Loss` unchanged.

    Raises
    ------
    TypeError, ValueError
        If `loss` is neither the name of a loss nor a `Loss`.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        made_by = next((made for made in (huber, quantile, custom, custom_rows) if made is loss), None)
        hint = f": call it, as in losses.{made_by.__name__}()" if made_by else ""
        if made_by is None and callable(loss):
            hint = ": losses.custom(function) makes a loss of a function"
        raise TypeError(f"loss must be a name or one of fastbp.losses, got {checks.shown(loss)}{hint}")
    if loss not in _DEFAULTS:
        raise ValueError(f"loss must be one of {', '.join(NAMES)}; got {loss!r}")
    return _DEFAULTS[loss]


def resolve_or_trained(loss: Any, trained: Loss | None) -> Loss:
    """Return the loss that is asked for; for None, the loss of the last fit, or `squared_error` before a first fit."""
    return resolve(loss) if loss is not None else trained or squared_error


def from_description(description: Any) -> Loss:
    """Return the loss that `Loss.describe` described; raise ValueError if the description is invalid."""
    if isinstance(description, dict) and "is_custom" in description:
        return _of_custom_description(description)
    if not isinstance(description, dict) or set(description) != {"name", "parameter"}:
        raise ValueError(f"loss must be the description of one, got {checks.shown(description)}")
    parameter = checks.not_negative("loss.parameter", description["parameter"])
    return resolve(description["name"]).with_parameter(parameter)


def _of_custom_description(description: dict[str, Any]) -> Loss:
    """Return the loss of a user's function that is only known by its name."""
    wanted: dict[str, type] = {"name": str, "parameter": float, "is_custom": bool, "sees_rows": bool, "link": str}
    is_right = set(description) == set(wanted) and all(type(description[name]) is wanted[name] for name in wanted)
    if not is_right or description["parameter"] != 0 or description["link"] not in get_args(Link):
        raise ValueError(f"loss must be the description of one, got {checks.shown(description)}")
    link: Any = description["link"]
    return Loss(description["name"], link=link, is_custom=True, sees_rows=description["sees_rows"])


def inverse_link(link: str, f: Array) -> Array:
    """Return ŷ, σ(ŷ), softmax(ŷ) or exp(ŷ) of outputs ŷ, (n, C), in the dtype of ŷ."""
    if link == "softmax":
        return softmax(f)
    if link == "logistic":
        e = np.exp(-np.abs(f))
        return np.asarray(np.where(f > 0, 1, e) / (1 + e))
    return np.exp(f) if link == "exp" else f


def softmax(f: Array) -> Array:
    """Return exp(ŷ_c) / Σ exp(ŷ) for each row of ŷ, (n, C), in the dtype of ŷ, without overflow."""
    e = np.exp(f - f.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def __dir__() -> list[str]:
    return sorted(__all__)
