"""The optimizers and their parameters.

`kernels/steps.py` computes their steps. This file must not know Numba, layers or the order of rows.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import checks, schedules
from fastbp.schedules import LearningRate

__all__ = ["SGD", "Adam", "Optimizer"]

PLAIN_SGD, MOMENTUM, ADAM = range(3)  # codes of the kinds of steps, for kernels
_N_MOMENTS = {PLAIN_SGD: 0, MOMENTUM: 1, ADAM: 2}


class Rule(NamedTuple):
    """The parameters of an optimizer for kernels, without the learning rate, which differs from step to step."""

    kind: int  # PLAIN_SGD, MOMENTUM or ADAM
    weight_decay: float = 0.0  # λ, for weights and biases; decoupled for Adam
    penalty: float = 0.0  # α of the penalty α/2 Σ_i ‖Ω_i‖² that is added to L
    is_penalty_shared: bool = False  # whether a batch's penalty is divided by its Σ w, as in scikit-learn
    momentum: float = 0.0  # μ
    nesterov: bool = False
    is_rate_in_velocity: bool = False  # v ← μ v + η g, φ ← φ − v, as in scikit-learn; a change of η does not rescale v
    beta_1: float = 0.0
    beta_2: float = 0.0
    epsilon: float = 0.0
    is_epsilon_scaled: bool = False  # whether ε is added to √v, as in scikit-learn and the paper's section 2, not to √v̂

    @property
    def n_moments(self) -> int:
        """Number of moments per parameter: 0, 1 or 2."""
        return _N_MOMENTS[self.kind]


class Optimizer(ABC):
    """The base class of optimizers. Subclasses are frozen dataclasses."""

    learning_rate: LearningRate

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The parameters for kernels."""

    @property
    def smallest_number(self) -> float:
        """The smallest parameter that must not round to 0 in the network's dtype; 1 if there is none."""
        return 1.0

    def describe(self) -> dict[str, Any]:
        """Return the optimizer as a dictionary for JSON."""
        return self._description.copy()

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        numbers = {name: _python_number(value) for name, value in vars(self).items()}
        rate = schedules.describe(self.learning_rate)
        return {"optimizer": type(self).__name__, **numbers, "learning_rate": rate}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, as in PyTorch: v ← μ v + g, φ ← φ − η v, with g = ∂L/∂φ + λ φ.

    Parameters
    ----------
    learning_rate : float or callable
        η ≥ 0: a number, a schedule of `fastbp.schedules`, or a function from the step number (from 0) to a number.
    momentum : float, default 0.0
        μ in [0, 1).
    nesterov : bool, default False
        Whether the step uses g + μ v in place of v (Nesterov's momentum). Needs `momentum` > 0.
    weight_decay : float, default 0.0
        λ ≥ 0, for weights and biases.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, or is out of its range.

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
        """The parameters for kernels."""
        kind = PLAIN_SGD if self.momentum == 0 else MOMENTUM
        decay, momentum, nesterov = float(self.weight_decay), float(self.momentum), bool(self.nesterov)
        return Rule(kind, weight_decay=decay, momentum=momentum, nesterov=nesterov)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with decoupled weight decay (AdamW): φ ← φ − η λ φ − η m̂ / (√v̂ + ε).

    m̂ and v̂ are the moving averages of g = ∂L/∂φ and of g², with bias correction.

    Parameters
    ----------
    learning_rate : float or callable, default 1e-3
        η ≥ 0: a number, a schedule of `fastbp.schedules`, or a function from the step number (from 0) to a number.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay rates of the moving averages of g and of g², in [0, 1).
    epsilon : float, default 1e-8
        ε > 0. It must not round to 0 in the dtype of the network.
    weight_decay : float, default 0.0
        λ ≥ 0, for weights and biases.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, or is out of its range.

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
        """The parameters for kernels."""
        decay, ε = float(self.weight_decay), float(self.epsilon)
        return Rule(ADAM, weight_decay=decay, beta_1=float(self.beta_1), beta_2=float(self.beta_2), epsilon=ε)

    @property
    def smallest_number(self) -> float:
        """ε."""
        return float(self.epsilon)


def _python_number(value: Any) -> Any:
    """Return a number of NumPy as Python's; return anything else unchanged. `item` of a longdouble is a longdouble."""
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


KINDS: tuple[type[Optimizer], ...] = (SGD, Adam)


def checked(optimizer: Any, dtype: np.dtype[Any]) -> Optimizer:
    """Return an optimizer; raise unless it is one, and its epsilon is not 0 in `dtype`."""
    found: Optimizer = checks.instance("optimizer", optimizer, KINDS)
    if found.smallest_number < np.finfo(dtype).tiny:
        small = f"optimizer's epsilon {found.smallest_number} is too small for {dtype.name}"
        raise ValueError(f"{small}: epsilon would count as 0")
    return found


def moments_of(description: Any) -> int:
    """Return the number of moments per parameter of a described optimizer; 0 for None, before the first fit."""
    if description is None:
        return 0
    by_name = {kind.__name__: kind for kind in KINDS}
    if not isinstance(description, dict) or description.get("optimizer") not in by_name:
        raise ValueError(f"optimizer must be the description of one, got {checks.shown(description)}")
    numbers = {name: value for name, value in description.items() if name != "optimizer"}
    return by_name[description["optimizer"]](**numbers | {"learning_rate": 0.0}).rule.n_moments


def __dir__() -> list[str]:
    return sorted(__all__)
