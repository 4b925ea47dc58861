"""The steps of the optimizers: one kernel for each kind, over flat buffers, line by line.

Zeros stay zeros under every step, and so does the padding of a buffer, whatever its moments are. Plain SGD has no step
here: its kernels in `dense` and `narrow` update weights without a gradient in memory. The other steps are pieces, which
`step_block` calls by their address. This file must not know layers.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats
from fastbp.kernels.packing import aligned_zeros
from fastbp.machine.arithmetic import square_root, where_positive
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import line_length, load, store, zero_line
from fastbp.machine.piece import REAL, TRUTH, WHOLE, Piece, address_type, caller, tuple_type
from fastbp.optimizers import ADAGRAD, ADAM, LION, MOMENTUM, RMSPROP, Rule


class StepRule(NamedTuple):
    """What a step reads of a `Rule`. Each number that a piece is given costs a small network's step a nanosecond."""

    momentum: float
    nesterov: bool
    is_rate_in_velocity: bool
    beta_1: float
    beta_2: float


class StepSizes(NamedTuple):
    """The factors of one step that are the same for all parameters."""

    learning_rate: float  # η
    penalty: float  # α, or α / Σ w
    mean_rate: float  # Adam's η / (1 − β₁ᵗ)
    square_scale: float  # Adam's 1 / √(1 − β₂ᵗ)
    epsilon: float  # ε, or Adam's ε / √(1 − β₂ᵗ)
    gradient_scale: float  # what ∂L/∂φ is multiplied by: 1, or less if it is clipped


class Block(NamedTuple):
    """Consecutive parameters that take a step together. All buffers have the same layout."""

    parameters: Floats  # φ
    gradients: Floats  # ∂L/∂φ
    mean: Floats  # m of Adam and Lion, or the velocity v
    square: Floats  # v of Adam and RMSprop, or Adagrad's s
    first: int  # the block is buffer[first:end]
    end: int
    factor: float  # what η is multiplied by
    weight_decay: float  # λ
    penalty: float  # α of the step for weights, 0 for biases


@njit
def step_sizes_of(
    rule: Rule,
    learning_rate: float,  # η
    step: int,  # t = 1, 2, …
    weight: float,  # Σ w of the batch
) -> StepSizes:
    """η / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ), once for each step: powers take longer than the step of a small layer."""
    mean_rate, square_scale, t = learning_rate, 1.0, np.float64(step)
    if rule.kind == ADAM:
        mean_rate, square_scale = learning_rate / (1 - rule.beta_1**t), 1 / math.sqrt(1 - rule.beta_2**t)
    epsilon = rule.epsilon * square_scale if rule.is_epsilon_scaled else rule.epsilon
    penalty = rule.penalty
    if rule.is_penalty_shared:
        penalty = rule.penalty / weight if weight > 0 else 0.0
    return StepSizes(learning_rate, penalty, mean_rate, square_scale, epsilon, 1.0)


@njit
def momentum_step(
    rule: StepRule,
    sizes: StepSizes,
    block: Block,  # φ and v, updated
) -> None:
    """v ← μ v + g, φ ← φ − η v, or by Nesterov φ ← φ − η (g + μ v), with g = ∂L/∂φ + λ φ."""
    λ, η = block.weight_decay + block.penalty, sizes.learning_rate * block.factor
    inner, outer = (η, 1.0) if rule.is_rate_in_velocity else (1.0, η)
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = (load(block.gradients, at) * sizes.gradient_scale + φ * λ) * inner
        v = load(block.mean, at) * rule.momentum + g
        store(block.mean, at, v)
        direction = g + v * rule.momentum if rule.nesterov else v
        store(block.parameters, at, φ - direction * outer)


@njit
def adam_step(
    rule: StepRule,
    sizes: StepSizes,
    block: Block,  # φ, m and v, updated
) -> None:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², φ ← φ − η λ φ − η m̂ / (√v̂ + ε), with g = ∂L/∂φ + α φ."""
    shrinkage = 1 - sizes.learning_rate * block.factor * block.weight_decay
    mean_rate = sizes.mean_rate * block.factor
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = load(block.gradients, at) * sizes.gradient_scale + φ * block.penalty
        m = load(block.mean, at) * rule.beta_1 + g * (1 - rule.beta_1)
        v = load(block.square, at) * rule.beta_2 + g * g * (1 - rule.beta_2)
        store(block.mean, at, m)
        store(block.square, at, v)
        step_size = m * mean_rate / (square_root(v) * sizes.square_scale + sizes.epsilon)
        store(block.parameters, at, φ * shrinkage - step_size)


@njit
def rmsprop_step(
    rule: StepRule,
    sizes: StepSizes,
    block: Block,  # φ, v, and b with momentum, updated
) -> None:
    """v ← α v + (1 − α) g², b ← μ b + g / (√v + ε), φ ← φ − η b, with g = ∂L/∂φ + λ φ."""
    λ, η, α = block.weight_decay + block.penalty, sizes.learning_rate * block.factor, rule.beta_2
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = load(block.gradients, at) * sizes.gradient_scale + φ * λ
        v = load(block.square, at) * α + g * g * (1 - α)
        store(block.square, at, v)
        b = g / (square_root(v) + sizes.epsilon)
        if rule.momentum > 0:
            b = load(block.mean, at) * rule.momentum + b
            store(block.mean, at, b)
        store(block.parameters, at, φ - b * η)


@njit
def adagrad_step(
    rule: StepRule,  # noqa: ARG001 (every piece has these arguments)
    sizes: StepSizes,
    block: Block,  # φ and s, updated
) -> None:
    """s ← s + g², φ ← φ − η g / (√s + ε), with g = ∂L/∂φ + λ φ."""
    λ, η = block.weight_decay + block.penalty, sizes.learning_rate * block.factor
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = load(block.gradients, at) * sizes.gradient_scale + φ * λ
        s = load(block.square, at) + g * g
        store(block.square, at, s)
        store(block.parameters, at, φ - g * η / (square_root(s) + sizes.epsilon))


@njit
def lion_step(
    rule: StepRule,
    sizes: StepSizes,
    block: Block,  # φ and m, updated
) -> None:
    """φ ← φ − η λ φ − η sign(β₁ m + (1 − β₁) g), m ← β₂ m + (1 − β₂) g, with g = ∂L/∂φ + α φ."""
    η = sizes.learning_rate * block.factor
    shrinkage, zeros = 1 - η * block.weight_decay, zero_line(block.parameters)
    rate = zeros + η
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ, m = load(block.parameters, at), load(block.mean, at)
        g = load(block.gradients, at) * sizes.gradient_scale + φ * block.penalty
        c = m * rule.beta_1 + g * (1 - rule.beta_1)
        store(block.mean, at, m * rule.beta_2 + g * (1 - rule.beta_2))
        store(block.parameters, at, φ * shrinkage - where_positive(c, rate) + where_positive(zeros - c, rate))


def first_moments(rule: Rule, size: int, dtype: npt.DTypeLike) -> tuple[Floats, Floats]:
    """Return `mean` and `square` before the first step; a moment that the rule does not need is empty."""
    mean, square = (aligned_zeros(size if name in rule.moments else 0, dtype) for name in ("mean", "square"))
    square[:] = rule.initial_square
    return mean, square


# --- pieces -------------------------------------------------------------------------------------------------


def _types(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a piece."""
    rule = tuple_type(StepRule, REAL, TRUTH, TRUTH, REAL, REAL)
    buffers = 4 * [address_type(dtype)]
    return rule, tuple_type(StepSizes, *6 * [REAL]), tuple_type(Block, *buffers, WHOLE, WHOLE, *3 * [REAL])


def _momentum(rule: StepRule, sizes: StepSizes, block: Block) -> None:
    momentum_step(rule, sizes, block)


def _adam(rule: StepRule, sizes: StepSizes, block: Block) -> None:
    adam_step(rule, sizes, block)


def _rmsprop(rule: StepRule, sizes: StepSizes, block: Block) -> None:
    rmsprop_step(rule, sizes, block)


def _adagrad(rule: StepRule, sizes: StepSizes, block: Block) -> None:
    adagrad_step(rule, sizes, block)


def _lion(rule: StepRule, sizes: StepSizes, block: Block) -> None:
    lion_step(rule, sizes, block)


PIECES = {
    MOMENTUM: Piece(_momentum, _types, "momentum"),
    ADAM: Piece(_adam, _types, "adam"),
    RMSPROP: Piece(_rmsprop, _types, "rmsprop"),
    ADAGRAD: Piece(_adagrad, _types, "adagrad"),
    LION: Piece(_lion, _types, "lion"),
}
_call_piece = caller(_types)


def step_address(kind: int, dtype: np.dtype[Any]) -> int:
    """Return the address of the piece of a kind of step; 0 for plain SGD, whose kernels are no pieces."""
    return PIECES[kind].address(dtype) if kind in PIECES else 0


@inlined
def step_block(
    step: int,  # the address of a piece
    rule: Rule,
    sizes: StepSizes,
    block: Block,  # updated
) -> None:
    """φ ← φ − the step of an optimizer other than plain SGD."""
    read = StepRule(rule.momentum, rule.nesterov, rule.is_rate_in_velocity, rule.beta_1, rule.beta_2)
    _call_piece(step, (read, sizes, block))
