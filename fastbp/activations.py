"""The activations of hidden layers: their names, parameters and properties.

An activation is given by name, such as `"gelu"`, or as an object of this module, such as
`fastbp.activations.leaky_relu(0.2)`. A list gives each hidden layer its own. For a pre-activation f, h is

- `relu`: max(0, f)
- `identity`: f
- `tanh`: tanh f
- `logistic`: σ(f) = 1 / (1 + exp(−f))
- `leaky_relu(negative_slope)`: f if f > 0, and negative_slope · f otherwise
- `elu(alpha)`: f if f > 0, and alpha · (exp(f) − 1) otherwise
- `selu`: 1.0507 · elu(1.6733), so that units keep mean 0 and variance 1
- `gelu`: f Φ(f), with the distribution function Φ of the standard normal distribution
- `gelu_tanh`: ½ f (1 + tanh(√(2/π) (f + 0.044715 f³))), an approximation of `gelu`
- `silu`: f σ(f), also known as swish
- `mish`: f tanh(log(1 + exp(f)))
- `softplus`: log(1 + exp(f))
- `hard_tanh`: f, clipped to [−1, 1]
- `custom(function)`: a function of your own, see there

`kernels/activations.py` computes activations. This file must not know Numba.

References
----------
Maas, Hannun and Ng (2013), "Rectifier nonlinearities improve neural network acoustic models", ICML workshop. Clevert,
Unterthiner and Hochreiter (2016), "Fast and accurate deep network learning by exponential linear units", ICLR.
Klambauer, Unterthiner, Mayr and Hochreiter (2017), "Self-normalizing neural networks", NIPS. Hendrycks and Gimpel
(2016), "Gaussian error linear units", arXiv:1606.08415. Elfwing, Uchibe and Doya (2018), "Sigmoid-weighted linear
units", Neural Networks 107. Misra (2020), "Mish: a self regularized non-monotonic activation function", BMVC.
"""

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastbp import checks

__all__ = [
    "NAMES",
    "Activation",
    "custom",
    "elu",
    "gelu",
    "gelu_tanh",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "logistic",
    "mish",
    "relu",
    "resolve",
    "selu",
    "silu",
    "softplus",
    "tanh",
]

ActivationName = Literal[  # for annotations; `NAMES` holds the same
    "relu",
    "identity",
    "tanh",
    "logistic",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "hard_tanh",
]


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation h = a(f) with its parameter and properties. Use the names in `fastbp.activations`.

    Attributes
    ----------
    name : str
        Name for users.
    gain : float, default 1.0
        The initial weights of a layer with D_i inputs are drawn from N(0, gain / D_i).
    kinks : tuple of float, default ()
        Numbers f at which the derivative jumps.
    parameter : float, default 0.0
        The slope of `leaky_relu` for f < 0, or α of `elu`. 0 if the activation has no parameter.
    parameter_name : str, default ""
        Name of the parameter; empty if the activation has no parameter.
    is_custom : bool, default False
        Whether the activation is a user's function.
    function : callable or None, default None
        The user's function. None for other activations, and for a network that was loaded from a model file.
    """

    name: str
    gain: float = 1.0
    kinks: tuple[float, ...] = ()
    parameter: float = 0.0
    parameter_name: str = ""
    is_custom: bool = False
    function: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        if self.is_custom:
            return f"custom({self.name})"
        return f"{self.name}({self.parameter_name}={self.parameter})" if self.parameter_name else self.name

    @property
    def label(self) -> Any:
        """The name alone, if the name is enough to make the same activation; otherwise the activation itself."""
        return self.name if self == _DEFAULTS.get(self.name) else self

    def describe(self) -> Any:
        """Return the activation for JSON: its name, or a dictionary. `from_description` is the inverse."""
        if self.label == self.name:
            return self.name
        described: dict[str, Any] = {"name": self.name, "parameter": self.parameter}
        return described | {"is_custom": True, "gain": self.gain} if self.is_custom else described


_HE = 2.0  # He et al. (2015), "Delving deep into rectifiers", ICCV: for activations that halve the variance
relu = Activation("relu", gain=_HE, kinks=(0.0,))
identity = Activation("identity")
tanh = Activation("tanh")
logistic = Activation("logistic")
selu = Activation("selu", kinks=(0.0,))
gelu = Activation("gelu", gain=_HE)
gelu_tanh = Activation("gelu_tanh", gain=_HE)
silu = Activation("silu", gain=_HE)
mish = Activation("mish", gain=_HE)
softplus = Activation("softplus")
hard_tanh = Activation("hard_tanh", kinks=(-1.0, 1.0))


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    """Return the leaky ReLU: f if f > 0, and negative_slope · f otherwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        At least 0.

    Returns
    -------
    Activation
        A value for the argument `activation` of `Network`.

    Raises
    ------
    TypeError, ValueError
        If `negative_slope` is not a finite number of at least 0.
    """
    slope = checks.not_negative("negative_slope", negative_slope)
    return Activation("leaky_relu", _HE / (1 + slope**2), (0.0,), slope, "negative_slope")


def elu(alpha: float = 1.0) -> Activation:
    """Return the exponential linear unit: f if f > 0, and alpha · (exp(f) − 1) otherwise.

    Parameters
    ----------
    alpha : float, default 1.0
        At least 0.

    Returns
    -------
    Activation
        A value for the argument `activation` of `Network`.

    Raises
    ------
    TypeError, ValueError
        If `alpha` is not a finite number of at least 0.
    """
    α = checks.not_negative("alpha", alpha)
    return Activation("elu", _HE, () if α == 1 else (0.0,), α, "alpha")


def custom(function: Callable[[Any], tuple[Any, Any]], gain: float = 1.0) -> Activation:
    """Return an activation of your own.

    Numba compiles the function, so it may use numbers, `math`, NumPy's functions of numbers and other compiled
    functions. Before the first use, its derivative is compared with central differences.

    Parameters
    ----------
    function : callable
        Takes a pre-activation f, a number. Returns h and the derivative of h with respect to f.
    gain : float, default 1.0
        Positive. The initial weights of a layer with D_i inputs are drawn from N(0, gain / D_i).

    Returns
    -------
    Activation
        A value for the argument `activation` of `Network`. A model file holds the name of the function and not the
        function, so `Network.load` must be told the activation before the network can predict.

    Raises
    ------
    TypeError
        If `function` is not a function of one argument. The first network with the activation also raises a TypeError
        if Numba cannot compile the function.
    ValueError
        If `gain` is not positive. The first network with the activation also raises a ValueError if the derivative is
        wrong.

    Examples
    --------
    >>> import fastbp
    >>> def square(f):
    ...     return f * f, 2 * f
    >>> fastbp.Network([4, 8, 1], activation=fastbp.activations.custom(square), seed=0)
    Network([4, 8, 1], dtype='float32', activation=custom(square))
    """
    function = getattr(function, "py_func", function)  # of a function that Numba has compiled
    if not isinstance(function, types.FunctionType):  # Numba compiles no others
        raise TypeError(f"function must be a function of f, got {checks.shown(function)}")
    try:
        inspect.signature(function).bind(0.0)
    except (TypeError, ValueError) as error:
        raise TypeError(f"function must take f, and {function.__name__} does not: {error}") from error
    return Activation(function.__name__, checks.positive("gain", gain), is_custom=True, function=function)


_DEFAULTS = {
    activation.name: activation
    for activation in (
        *(relu, identity, tanh, logistic, leaky_relu(), elu(), selu),
        *(gelu, gelu_tanh, silu, mish, softplus, hard_tanh),
    )
}
NAMES = tuple(_DEFAULTS)

OneOrMore = Activation | tuple[Activation, ...]  # of all hidden layers, or one for each of them
ActivationLike = ActivationName | Activation | Sequence[ActivationName | Activation]


def resolve(activation: Any) -> Activation:
    """Return the activation with a name (and its default parameter), or return an `Activation` unchanged.

    Raises
    ------
    TypeError, ValueError
        If `activation` is neither the name of an activation nor an `Activation`.
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        made_by = next((made for made in (leaky_relu, elu, custom) if made is activation), None)
        hint = f": call it, as in activations.{made_by.__name__}()" if made_by else ""
        if made_by is None and callable(activation):
            hint = ": activations.custom(function) makes an activation of a function"
        raise TypeError(f"activation must be a name or one of fastbp.activations, got {checks.shown(activation)}{hint}")
    if activation not in _DEFAULTS:
        raise ValueError(f"activation must be one of {', '.join(NAMES)}; got {activation!r}")
    return _DEFAULTS[activation]


def resolve_layers(activation: Any, n_hidden: int) -> OneOrMore:
    """Return the activation of all hidden layers, or a tuple with one for each of them if a list is given.

    Raises
    ------
    TypeError, ValueError
        If an activation is invalid, or a list does not have one for each of the `n_hidden` hidden layers.
    """
    if not isinstance(activation, list | tuple):
        return resolve(activation)
    if len(activation) != n_hidden:
        raise ValueError(
            f"activation must be one for all hidden layers or a list with one for each of the {n_hidden}, got a list "
            f"of {len(activation)}"
        )
    return tuple(resolve(one) for one in activation) if n_hidden else relu


def of_layers(activation: OneOrMore, n_hidden: int) -> tuple[Activation, ...]:
    """Return the activation of each hidden layer."""
    return (activation,) * n_hidden if isinstance(activation, Activation) else activation


def label_of(activation: OneOrMore) -> Any:
    """Return what a user would write: names where names are enough."""
    return activation.label if isinstance(activation, Activation) else [one.label for one in activation]


def describe(activation: OneOrMore) -> Any:
    """Return the activation of all hidden layers, or of each of them, for JSON."""
    return activation.describe() if isinstance(activation, Activation) else [one.describe() for one in activation]


def from_description(description: Any, n_hidden: int) -> OneOrMore:
    """Return what `describe` described; raise TypeError or ValueError if the description is invalid."""
    if isinstance(description, list):
        return resolve_layers([_of_one_description(one) for one in description], n_hidden)
    return _of_one_description(description)


def _of_one_description(description: Any) -> Activation:
    if not isinstance(description, dict):
        return resolve(description)
    parameter = checks.not_negative("activation.parameter", description.get("parameter"))
    if set(description) == {"name", "parameter", "is_custom", "gain"} and description["is_custom"] is True:
        if not isinstance(description["name"], str) or parameter != 0:
            raise ValueError(f"activation must be the description of one, got {checks.shown(description)}")
        return Activation(description["name"], checks.positive("activation.gain", description["gain"]), is_custom=True)
    made_by = {"leaky_relu": leaky_relu, "elu": elu}.get(str(description.get("name")))
    if set(description) != {"name", "parameter"} or made_by is None:
        raise ValueError(f"activation must be the description of one, got {checks.shown(description)}")
    return made_by(parameter)


def with_functions(activation: OneOrMore, given: OneOrMore) -> OneOrMore:
    """Return the activation of a loaded network, with users' functions from the given activations of the same names.

    Raises
    ------
    ValueError
        If the given activations are not those of the network.
    """
    if isinstance(activation, Activation) and isinstance(given, Activation):
        return _with_function(activation, given)
    if isinstance(activation, Activation) or isinstance(given, Activation) or len(activation) != len(given):
        raise ValueError(f"the network has the activation {label_of(activation)}, got {label_of(given)}")
    return tuple(_with_function(one, other) for one, other in zip(activation, given, strict=True))


def _with_function(activation: Activation, given: Activation) -> Activation:
    found = replace(activation, function=given.function) if activation.is_custom else activation
    if found != given:
        raise ValueError(f"the network has the activation {activation}, got {given}")
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
