"""The optimizers: what a step does with a gradient.

Each is a frozen dataclass of its numbers, and below it the kernel that takes its step over flat buffers, line by
line. Zeros stay zeros under all of them, so padding does. This file must not know of layers.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import schedules
from fastbp.kernels.layout import Floats
from fastbp.machine.arithmetic import square_root
from fastbp.machine.jit import njit
from fastbp.machine.line import line_length, load, store
from fastbp.schedules import Schedule, check_rate, check_schedule

PLAIN, MOMENTUM, ADAM = range(3)


class Rule(NamedTuple):
    """An optimizer as a kernel takes it: the learning rate comes apart, one a step."""

    kind: int  # PLAIN, MOMENTUM or ADAM
    weight_decay: float  # λ, on weights and biases; Adam's is decoupled
    penalty: float  # α: L gains α ‖Ω‖² / 2 Σ w of the batch, as in scikit-learn
    momentum: float  # μ
    nesterov: bool
    is_rate_in_velocity: bool  # v ← μ v + η g, φ ← φ − v, as in scikit-learn: what is on its way keeps its rate
    beta_1: float
    beta_2: float
    epsilon: float
    is_epsilon_scaled: bool  # whether ε is added to √v, as in scikit-learn and section 2 of the paper, not to √v̂

    @property
    def n_moments(self) -> int:
        """How many numbers the optimizer keeps for each parameter."""
        return {PLAIN: 0, MOMENTUM: 1, ADAM: 2}[self.kind]


def _check_fraction(name: str, number: Any) -> None:
    """Raise unless 0 ≤ number < 1."""
    check_rate(name, number)
    if number >= 1:
        raise ValueError(f"{name} must be less than 1, got {number!r}")


@dataclass(frozen=True)
class SGD:
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

    learning_rate: "float | Schedule"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_schedule("learning_rate", self.learning_rate)
        _check_fraction("momentum", self.momentum)
        check_rate("weight_decay", self.weight_decay)
        if not isinstance(self.nesterov, bool | np.bool_):
            raise TypeError(f"nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum greater than 0")

    @property
    def rule(self) -> Rule:
        """The numbers that a kernel needs."""
        kind = PLAIN if self.momentum == 0 else MOMENTUM
        momentum, nesterov = float(self.momentum), bool(self.nesterov)
        return Rule(kind, float(self.weight_decay), 0.0, momentum, nesterov, False, 0.0, 0.0, 0.0, False)


@dataclass(frozen=True)
class Adam:
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

    learning_rate: "float | Schedule" = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_schedule("learning_rate", self.learning_rate)
        _check_fraction("beta_1", self.beta_1)
        _check_fraction("beta_2", self.beta_2)
        check_rate("epsilon", self.epsilon)
        check_rate("weight_decay", self.weight_decay)
        if self.epsilon == 0:
            raise ValueError("epsilon must be greater than 0: a parameter without a gradient would become 0/0")

    @property
    def rule(self) -> Rule:
        """The numbers that a kernel needs."""
        betas = float(self.beta_1), float(self.beta_2)
        return Rule(ADAM, float(self.weight_decay), 0.0, 0.0, False, False, *betas, float(self.epsilon), False)


def describe(optimizer: SGD | Adam) -> dict[str, Any]:
    """Return an optimizer as plain numbers and names, which JSON holds."""
    return {
        "optimizer": type(optimizer).__name__,
        **{name: value.item() if isinstance(value, np.generic) else value for name, value in vars(optimizer).items()},
        "learning_rate": schedules.describe(optimizer.learning_rate),
    }


def moments_of(description: Any) -> int:
    """Return how many numbers the optimizer that `describe` described keeps for each parameter; None keeps none."""
    if description is None:
        return 0
    if not isinstance(description, dict) or description.get("optimizer") not in ("SGD", "Adam"):
        raise ValueError(f"optimizer must be the description of one, got {description!r}")
    return 2 if description["optimizer"] == "Adam" else int(description["momentum"] > 0)


class Pace(NamedTuple):
    """What a step multiplies by, the same for all parameters."""

    learning_rate: float  # η
    penalty: float  # α / Σ w
    mean_rate: float  # Adam's η / (1 − β₁ᵗ)
    square_scale: float  # Adam's 1 / √(1 − β₂ᵗ)
    epsilon: float


@njit
def pace_of(rule: Rule, learning_rate: float, step: int, weight: float) -> Pace:
    """Return the pace of step t = 1, 2, … on a batch with Σ w; here, as powers cost more than a small layer's step."""
    mean_rate, square_scale, t = learning_rate, 1.0, np.float64(step)
    if rule.kind == ADAM:
        mean_rate, square_scale = learning_rate / (1 - rule.beta_1**t), 1 / math.sqrt(1 - rule.beta_2**t)
    epsilon = rule.epsilon * square_scale if rule.is_epsilon_scaled else rule.epsilon
    penalty = rule.penalty / weight if rule.penalty > 0 and weight > 0 else 0.0
    return Pace(learning_rate, penalty, mean_rate, square_scale, epsilon)


@njit
def momentum_step(
    rule: Rule,
    pace: Pace,
    factor: float,  # of η
    penalty: float,  # that of the pace for weights, 0 for biases
    parameters: Floats,  # φ, stepped from `first` to `end`
    gradients: Floats,  # ∂L/∂φ
    velocity: Floats,  # v, updated
    first: int,
    end: int,
) -> None:
    """v ← μ v + g, φ ← φ − η v, or φ − η (g + μ v) by Nesterov, with g = ∂L/∂φ + λ φ."""
    λ, η = rule.weight_decay + penalty, pace.learning_rate * factor
    inner, outer = (η, 1.0) if rule.is_rate_in_velocity else (1.0, η)
    for at in range(first, end, line_length(parameters)):
        φ = load(parameters, at)
        g = (load(gradients, at) + φ * λ) * inner
        v = load(velocity, at) * rule.momentum + g
        store(velocity, at, v)
        direction = g + v * rule.momentum if rule.nesterov else v
        store(parameters, at, φ - direction * outer)


@njit
def adam_step(
    rule: Rule,
    pace: Pace,
    factor: float,  # of η
    penalty: float,  # that of the pace for weights, 0 for biases
    parameters: Floats,  # φ, stepped from `first` to `end`
    gradients: Floats,  # ∂L/∂φ
    mean: Floats,  # m, updated
    square: Floats,  # v, updated
    first: int,
    end: int,
) -> None:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², φ ← φ − η λ φ − η m̂ / (√v̂ + ε)."""
    kept, mean_rate = 1 - pace.learning_rate * factor * rule.weight_decay, pace.mean_rate * factor
    for at in range(first, end, line_length(parameters)):
        φ = load(parameters, at)
        g = load(gradients, at) + φ * penalty
        m = load(mean, at) * rule.beta_1 + g * (1 - rule.beta_1)
        v = load(square, at) * rule.beta_2 + g * g * (1 - rule.beta_2)
        store(mean, at, m)
        store(square, at, v)
        step_size = m * mean_rate / (square_root(v) * pace.square_scale + pace.epsilon)
        store(parameters, at, φ * kept - step_size)
