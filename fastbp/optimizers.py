"""The optimizers and their parameters.

`kernels/steps.py` computes their steps. This file must not know Numba, layers or the order of rows.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import checks, schedules
from fastbp.schedules import LearningRate

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]

PLAIN_SGD, MOMENTUM, ADAM, RMSPROP, ADAGRAD, LION = range(6)  # codes of the kinds of steps, for kernels
_ADDED_LATER = {"decay_biases": True, "max_gradient_norm": None}  # parameters that fastbp 0.1.0 does not know


def _check_norm(name: str, value: Any) -> None:
    if value is not None:
        checks.positive(name, value)


_CHECKS: dict[str, Callable[[str, Any], object]] = {
    "learning_rate": schedules.check_learning_rate,
    "decay_biases": checks.flag,
    "max_gradient_norm": _check_norm,
    "weight_decay": checks.not_negative,
    "momentum": checks.fraction,
    "nesterov": checks.flag,
    "beta_1": checks.fraction,
    "beta_2": checks.fraction,
    "alpha": checks.fraction,
    "epsilon": checks.positive,
    "initial_accumulator_value": checks.not_negative,
}


class Rule(NamedTuple):
    """The parameters of an optimizer for kernels, without the learning rate, which differs from step to step."""

    kind: int  # PLAIN_SGD, MOMENTUM, …
    weight_decay: float = 0.0  # λ for weights; decoupled for Adam and Lion
    bias_decay: float = 0.0  # λ for biases
    penalty: float = 0.0  # α of the penalty α/2 Σ_i ‖Ω_i‖² that is added to L
    is_penalty_shared: bool = False  # whether a batch's penalty is divided by its Σ w, as in scikit-learn
    momentum: float = 0.0  # μ
    nesterov: bool = False
    is_rate_in_velocity: bool = False  # v ← μ v + η g, φ ← φ − v, as in scikit-learn; a change of η does not rescale v
    beta_1: float = 0.0
    beta_2: float = 0.0  # or RMSprop's α
    epsilon: float = 0.0
    is_epsilon_scaled: bool = False  # whether ε is added to √v, as in scikit-learn and the paper's section 2, not to √v̂
    initial_square: float = 0.0  # the number that `square` begins with
    max_gradient_norm: float = np.inf  # infinity: gradients are not clipped. Plain SGD cannot clip them

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the buffers of moments that the step needs: "mean", "square", both or none."""
        has_mean = self.kind in (MOMENTUM, ADAM, LION) or (self.kind == RMSPROP and self.momentum > 0)
        return has_mean * ("mean",) + (self.kind in (ADAM, RMSPROP, ADAGRAD)) * ("square",)


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """The base class of optimizers: frozen dataclasses, which share these parameters and these errors.

    Parameters
    ----------
    learning_rate : float or callable
        η ≥ 0: a number, a schedule of `fastbp.schedules`, or a function from the step number (from 0) to a number.
    decay_biases : bool, default True
        Whether `weight_decay` applies to weights and biases. False means weights alone.
    max_gradient_norm : float, optional
        Largest norm c > 0 of the gradient g of all parameters together, L2 penalty included. g is multiplied by
        min(1, c / (‖g‖ + 1e-6)), as by PyTorch's `clip_grad_norm_`, before weight decay. Default: no limit.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, or is out of its range.

    References
    ----------
    Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", ICML (clipping).
    """

    learning_rate: LearningRate
    decay_biases: bool = True
    max_gradient_norm: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _CHECKS[name](name, value)

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The parameters for kernels."""

    def _rule(self, kind: int, weight_decay: float, **numbers: Any) -> Rule:
        """Return the rule with the parameters that all optimizers have, and these."""
        decay = float(weight_decay)
        bias_decay = decay if self.decay_biases else 0.0
        most = np.inf if self.max_gradient_norm is None else float(self.max_gradient_norm)
        return Rule(kind, decay, bias_decay, max_gradient_norm=most, **numbers)

    def describe(self) -> dict[str, Any]:
        """Return the optimizer as a dictionary for JSON."""
        return self._description.copy()

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        numbers = {name: _python_number(value) for name, value in vars(self).items()}
        # Without the defaults of later parameters, the description equals that in an old model file.
        known = {name: value for name, value in numbers.items() if _ADDED_LATER.get(name, ...) != value}
        return {"optimizer": type(self).__name__, **known, "learning_rate": schedules.describe(self.learning_rate)}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, as in PyTorch: v ← μ v + g, φ ← φ − η v, with g = ∂L/∂φ + λ φ.

    Parameters
    ----------
    learning_rate, decay_biases, max_gradient_norm
        As in `Optimizer`.
    momentum : float, default 0.0
        μ in [0, 1).
    nesterov : bool, default False
        Whether the step uses g + μ v in place of v (Nesterov's momentum). Needs `momentum` > 0.
    weight_decay : float, default 0.0
        λ ≥ 0.

    References
    ----------
    Sutskever, Martens, Dahl and Hinton (2013), "On the importance of initialization and momentum in deep
    learning", ICML.
    """

    learning_rate: LearningRate
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum greater than 0")

    @property
    def rule(self) -> Rule:
        """The parameters for kernels. Clipping needs gradients in memory: a step of momentum with μ = 0."""
        kind = PLAIN_SGD if self.momentum == 0 and self.max_gradient_norm is None else MOMENTUM
        return self._rule(kind, self.weight_decay, momentum=float(self.momentum), nesterov=bool(self.nesterov))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with decoupled weight decay (AdamW): φ ← φ − η λ φ − η m̂ / (√v̂ + ε).

    m̂ and v̂ are the moving averages of g = ∂L/∂φ and of g², with bias correction.

    Parameters
    ----------
    learning_rate, decay_biases, max_gradient_norm
        As in `Optimizer`; η is 1e-3 by default.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay rates of the moving averages of g and of g², in [0, 1).
    epsilon : float, default 1e-8
        ε > 0. It must not round to 0 in the dtype of the network.
    weight_decay : float, default 0.0
        λ ≥ 0.

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", ICLR; Loshchilov and Hutter (2019),
    "Decoupled weight decay regularization", ICLR.
    """

    learning_rate: LearningRate = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def rule(self) -> Rule:
        """The parameters for kernels."""
        β_1, β_2, ε = float(self.beta_1), float(self.beta_2), float(self.epsilon)
        return self._rule(ADAM, self.weight_decay, beta_1=β_1, beta_2=β_2, epsilon=ε)


@dataclass(frozen=True)
class AdamW(Adam):
    """`Adam` with the name and the weight decay that PyTorch's AdamW has: λ = 0.01 by default."""

    weight_decay: float = 0.01


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop, as in PyTorch: v ← α v + (1 − α) g², φ ← φ − η g / (√v + ε), with g = ∂L/∂φ + λ φ.

    With momentum, b ← μ b + g / (√v + ε) and φ ← φ − η b. There is no centred form, whose third moment no other
    optimizer has.

    Parameters
    ----------
    learning_rate, decay_biases, max_gradient_norm
        As in `Optimizer`; η is 0.01 by default.
    alpha : float, default 0.99
        α in [0, 1).
    epsilon : float, default 1e-8
        ε > 0. It must not round to 0 in the dtype of the network.
    weight_decay : float, default 0.0
        λ ≥ 0.
    momentum : float, default 0.0
        μ in [0, 1).

    References
    ----------
    Tieleman and Hinton (2012), "Lecture 6.5: RMSprop", Neural networks for machine learning, Coursera.
    """

    learning_rate: LearningRate = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0

    @property
    def rule(self) -> Rule:
        """The parameters for kernels."""
        α, ε, μ = float(self.alpha), float(self.epsilon), float(self.momentum)
        return self._rule(RMSPROP, self.weight_decay, beta_2=α, epsilon=ε, momentum=μ)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad, as in PyTorch: s ← s + g², φ ← φ − η g / (√s + ε), with g = ∂L/∂φ + λ φ.

    PyTorch's `lr_decay=d` is the learning rate `lambda step: η / (1 + d * step)` here.

    Parameters
    ----------
    learning_rate, decay_biases, max_gradient_norm
        As in `Optimizer`; η is 0.01 by default.
    weight_decay : float, default 0.0
        λ ≥ 0.
    initial_accumulator_value : float, default 0.0
        The number ≥ 0 that each s begins with.
    epsilon : float, default 1e-10
        ε > 0. It must not round to 0 in the dtype of the network.

    References
    ----------
    Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12.
    """

    learning_rate: LearningRate = 0.01
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    epsilon: float = 1e-10

    @property
    def rule(self) -> Rule:
        """The parameters for kernels."""
        ε, first = float(self.epsilon), float(self.initial_accumulator_value)
        return self._rule(ADAGRAD, self.weight_decay, epsilon=ε, initial_square=first)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion with decoupled weight decay: φ ← φ − η λ φ − η sign(β₁ m + (1 − β₁) g), and then m ← β₂ m + (1 − β₂) g.

    g is ∂L/∂φ. Every parameter moves by η, so η is 3 to 10 times smaller than Adam's, and λ as many times larger.

    Parameters
    ----------
    learning_rate, decay_biases, max_gradient_norm
        As in `Optimizer`; η is 1e-4 by default.
    beta_1, beta_2 : float, default 0.9 and 0.99
        The shares of m in the step and in the new m, in [0, 1).
    weight_decay : float, default 0.0
        λ ≥ 0.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms", NeurIPS, algorithm 2.
    """

    learning_rate: LearningRate = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    @property
    def rule(self) -> Rule:
        """The parameters for kernels."""
        return self._rule(LION, self.weight_decay, beta_1=float(self.beta_1), beta_2=float(self.beta_2))


def _python_number(value: Any) -> Any:
    """Return a number of NumPy as Python's; return anything else unchanged. `item` of a longdouble is a longdouble."""
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


KINDS: tuple[type[Optimizer], ...] = (SGD, Adam, AdamW, RMSprop, Adagrad, Lion)


def checked(optimizer: Any, dtype: np.dtype[Any]) -> Optimizer:
    """Return an optimizer; raise unless it is one, and `dtype` rounds none of its numbers to 0 or to infinity."""
    found: Optimizer = checks.instance("optimizer", optimizer, KINDS)
    numbers, limits = vars(found), np.finfo(dtype)
    if (epsilon := float(numbers.get("epsilon", 1.0))) < float(limits.tiny):
        raise ValueError(f"optimizer's epsilon {epsilon} is too small for {dtype.name}: epsilon would count as 0")
    if (first := float(numbers.get("initial_accumulator_value", 0.0))) > float(limits.max):
        raise ValueError(f"optimizer's initial_accumulator_value {first} is too large for {dtype.name}")
    return found


def moments_of(description: Any) -> tuple[str, ...]:
    """Return the names of the moments of a described optimizer; none for None, before the first fit."""
    if description is None:
        return ()
    by_name = {kind.__name__: kind for kind in KINDS}
    if not isinstance(description, dict) or description.get("optimizer") not in by_name:
        raise ValueError(f"optimizer must be the description of one, got {checks.shown(description)}")
    numbers = {name: value for name, value in description.items() if name != "optimizer"}
    return by_name[description["optimizer"]](**numbers | {"learning_rate": 0.0}).rule.moments


def __dir__() -> list[str]:
    return sorted(__all__)
