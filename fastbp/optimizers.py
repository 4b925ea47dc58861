"""The optimizers that one may ask for: what a step does with a gradient, by its numbers.

How a step is computed is in `kernels/steps.py`. This file must not know Numba, layers or how rows are drawn.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import checks, schedules
from fastbp.schedules import LearningRate

__all__ = ["SGD", "Adam", "Optimizer"]

PLAIN_SGD, MOMENTUM, ADAM = range(3)  # the kinds of steps, as kernels know them
_N_MOMENTS = {PLAIN_SGD: 0, MOMENTUM: 1, ADAM: 2}


class Rule(NamedTuple):
    """An optimizer as a kernel takes it. The learning rate comes apart from it, one a step."""

    kind: int  # PLAIN_SGD, MOMENTUM or ADAM
    weight_decay: float = 0.0  # λ, on weights and biases; Adam's is decoupled
    penalty: float = 0.0  # α: L gains α/2 Σ_i ‖Ω_i‖²
    is_penalty_shared: bool = False  # whether a batch's penalty is divided by its Σ w, as in scikit-learn
    momentum: float = 0.0  # μ
    nesterov: bool = False
    is_rate_in_velocity: bool = False  # v ← μ v + η g, φ ← φ − v, as in scikit-learn: a later η does not rescale v
    beta_1: float = 0.0
    beta_2: float = 0.0
    epsilon: float = 0.0
    is_epsilon_scaled: bool = False  # whether ε is added to √v, as in scikit-learn and the paper's section 2, not to √v̂

    @property
    def n_moments(self) -> int:
        """How many numbers the optimizer keeps for each parameter."""
        return _N_MOMENTS[self.kind]


class Optimizer(ABC):
    """How a step uses a gradient. Subclasses are frozen dataclasses of their numbers."""

    learning_rate: LearningRate

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The numbers that a kernel needs."""

    @property
    def smallest_number(self) -> float:
        """The smallest number that must not become 0 in the parameters' dtype; 1 where there is no such number."""
        return 1.0

    def describe(self) -> dict[str, Any]:
        """Return the optimizer as plain numbers and names, which JSON holds."""
        numbers = {name: value.item() if isinstance(value, np.generic) else value for name, value in vars(self).items()}
        rate = schedules.describe(self.learning_rate)
        return {"optimizer": type(self).__name__, **numbers, "learning_rate": rate}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, as in PyTorch: v ← μ v + g, φ ← φ − η v, with g = ∂L/∂φ + λ φ.

    Parameters
    ----------
    learning_rate : float or schedule
        η, a number or a callable from the step's number to one (see `fastbp.schedules`).
    momentum : float, default 0.0
        μ in [0, 1).
    nesterov : bool, default False
        Step along g + μ v instead of v; needs momentum.
    weight_decay : float, default 0.0
        λ, on weights and biases alike.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number, or out of its range.

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
        schedules.check_learning_rate("learning_rate", self.learning_rate)
        checks.fraction("momentum", self.momentum)
        checks.not_negative("weight_decay", self.weight_decay)
        checks.flag("nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum greater than 0")

    @property
    def rule(self) -> Rule:
        """The numbers that a kernel needs."""
        kind = PLAIN_SGD if self.momentum == 0 else MOMENTUM
        decay, momentum, nesterov = float(self.weight_decay), float(self.momentum), bool(self.nesterov)
        return Rule(kind, weight_decay=decay, momentum=momentum, nesterov=nesterov)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with decoupled weight decay (AdamW): φ ← φ − η λ φ − η m̂ / (√v̂ + ε).

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
        η, a number or a callable from the step's number to one (see `fastbp.schedules`).
    beta_1, beta_2 : float, defaults 0.9 and 0.999
        How much of the running means m of g and v of g² is kept at a step, in [0, 1).
    epsilon : float, default 1e-8
        ε > 0.
    weight_decay : float, default 0.0
        λ, on weights and biases alike.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number, or out of its range.

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

    def __post_init__(self) -> None:
        schedules.check_learning_rate("learning_rate", self.learning_rate)
        checks.fraction("beta_1", self.beta_1)
        checks.fraction("beta_2", self.beta_2)
        checks.positive("epsilon", self.epsilon)
        checks.not_negative("weight_decay", self.weight_decay)

    @property
    def rule(self) -> Rule:
        """The numbers that a kernel needs."""
        decay, ε = float(self.weight_decay), float(self.epsilon)
        return Rule(ADAM, weight_decay=decay, beta_1=float(self.beta_1), beta_2=float(self.beta_2), epsilon=ε)

    @property
    def smallest_number(self) -> float:
        """ε."""
        return float(self.epsilon)


KINDS: tuple[type[Optimizer], ...] = (SGD, Adam)


def checked(optimizer: Any, dtype: np.dtype[Any]) -> Optimizer:
    """Return an optimizer, or raise unless it is one whose numbers `dtype` can hold."""
    found: Optimizer = checks.instance("optimizer", optimizer, KINDS)
    if found.smallest_number < np.finfo(dtype).tiny:
        small = f"optimizer's epsilon {found.smallest_number} is too small for {dtype.name}"
        raise ValueError(f"{small}: it would count as 0")
    return found


def moments_of(description: Any) -> int:
    """Return how many numbers a described optimizer keeps for each parameter; None, before a first fit, keeps none."""
    if description is None:
        return 0
    by_name = {kind.__name__: kind for kind in KINDS}
    if not isinstance(description, dict) or description.get("optimizer") not in by_name:
        raise ValueError(f"optimizer must be the description of one, got {checks.shown(description)}")
    numbers = {name: value for name, value in description.items() if name != "optimizer"}
    return by_name[description["optimizer"]](**numbers | {"learning_rate": 0.0}).rule.n_moments


def __dir__() -> list[str]:
    return sorted(__all__)
