"""The steps of the optimizers: one kernel for each kind, over flat buffers, line by line.

Zeros stay zeros under every step, and so does the padding of a buffer. Plain SGD has no step here: its kernels in
`dense` and `narrow` update weights without a gradient in memory. The other steps are pieces, which `step_block` calls
by their address. This file must not know layers.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastbp._typing import Floats
from fastbp.machine.arithmetic import square_root
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import line_length, load, store
from fastbp.machine.piece import REAL, TRUTH, WHOLE, Piece, address_type, caller, tuple_type
from fastbp.optimizers import ADAM, MOMENTUM, Rule


class StepSizes(NamedTuple):
    """The factors of one step that are the same for all parameters."""

    learning_rate: float  # η
    penalty: float  # α, or α / Σ w
    mean_rate: float  # Adam's η / (1 − β₁ᵗ)
    square_scale: float  # Adam's 1 / √(1 − β₂ᵗ)
    epsilon: float  # Adam's ε, or ε / √(1 − β₂ᵗ)


class Block(NamedTuple):
    """Consecutive parameters that take a step together. All buffers have the same layout."""

    parameters: Floats  # φ
    gradients: Floats  # ∂L/∂φ
    mean: Floats  # Adam's m, or the velocity v
    square: Floats  # Adam's v
    first: int  # the block is buffer[first:end]
    end: int
    factor: float  # what η is multiplied by
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
    return StepSizes(learning_rate, penalty, mean_rate, square_scale, epsilon)


@njit
def momentum_step(
    rule: Rule,
    sizes: StepSizes,
    block: Block,  # φ and v, updated
) -> None:
    """v ← μ v + g, φ ← φ − η v, or by Nesterov φ ← φ − η (g + μ v), with g = ∂L/∂φ + λ φ."""
    λ, η = rule.weight_decay + block.penalty, sizes.learning_rate * block.factor
    inner, outer = (η, 1.0) if rule.is_rate_in_velocity else (1.0, η)
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = (load(block.gradients, at) + φ * λ) * inner
        v = load(block.mean, at) * rule.momentum + g
        store(block.mean, at, v)
        direction = g + v * rule.momentum if rule.nesterov else v
        store(block.parameters, at, φ - direction * outer)


@njit
def adam_step(
    rule: Rule,
    sizes: StepSizes,
    block: Block,  # φ, m and v, updated
) -> None:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², φ ← φ − η λ φ − η m̂ / (√v̂ + ε), with g = ∂L/∂φ + α φ."""
    shrinkage = 1 - sizes.learning_rate * block.factor * rule.weight_decay
    mean_rate = sizes.mean_rate * block.factor
    for at in range(block.first, block.end, line_length(block.parameters)):
        φ = load(block.parameters, at)
        g = load(block.gradients, at) + φ * block.penalty
        m = load(block.mean, at) * rule.beta_1 + g * (1 - rule.beta_1)
        v = load(block.square, at) * rule.beta_2 + g * g * (1 - rule.beta_2)
        store(block.mean, at, m)
        store(block.square, at, v)
        step_size = m * mean_rate / (square_root(v) * sizes.square_scale + sizes.epsilon)
        store(block.parameters, at, φ * shrinkage - step_size)


# --- pieces -------------------------------------------------------------------------------------------------


def _types(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a piece."""
    rule = tuple_type(Rule, WHOLE, REAL, REAL, TRUTH, REAL, TRUTH, TRUTH, REAL, REAL, REAL, TRUTH)
    buffers = 4 * [address_type(dtype)]
    return rule, tuple_type(StepSizes, *5 * [REAL]), tuple_type(Block, *buffers, WHOLE, WHOLE, REAL, REAL)


def _momentum(rule: Rule, sizes: StepSizes, block: Block) -> None:
    momentum_step(rule, sizes, block)


def _adam(rule: Rule, sizes: StepSizes, block: Block) -> None:
    adam_step(rule, sizes, block)


PIECES = {MOMENTUM: Piece(_momentum, _types, "momentum"), ADAM: Piece(_adam, _types, "adam")}
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
    """φ ← φ − the step of momentum or of Adam."""
    _call_piece(step, (rule, sizes, block))
