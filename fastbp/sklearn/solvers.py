"""The settings and moments of scikit-learn's optimizers, as the kernels take them, and the way back.

As in scikit-learn, an optimizer holds the moments from one call to the next and is pickled with the estimator. Moments
are lists of arrays: first those of the coefficients, then those of the intercepts. This file must not know how a step
is made.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp.kernels.layout import Parameters
from fastbp.optimizers import ADAM, MOMENTUM, PLAIN_SGD, Rule
from fastbp.sklearn._compat import AdamOptimizer, SGDOptimizer
from fastbp.sklearn.packed import arrays_of, parameters_of

Optimizer = Any  # SGDOptimizer or AdamOptimizer; scikit-learn has no types

__all__ = [
    "AdamOptimizer",
    "Optimizer",
    "SGDOptimizer",
    "packed_moments",
    "rule",
    "steps",
    "write_moments",
    "write_steps",
]


def rule(optimizer: Optimizer, alpha: float) -> Rule:
    """Return the rule of an optimizer's steps, with the penalty α.

    Gradient descent has η in the velocity: v ← μ v − η g, φ ← φ + v, or φ ← φ + μ v − η g for Nesterov's momentum. The
    velocity already contains η, so a later change of η does not rescale the velocity. Adam has its bias correction in
    the learning rate: φ ← φ − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) m / (√v + ε).
    """
    if isinstance(optimizer, SGDOptimizer):
        kind = MOMENTUM if optimizer.momentum > 0 else PLAIN_SGD
        momentum, nesterov = float(optimizer.momentum), bool(optimizer.nesterov)
        return Rule(
            kind,
            penalty=float(alpha),
            is_penalty_shared=True,
            momentum=momentum,
            nesterov=nesterov,
            is_rate_in_velocity=True,
        )
    return Rule(
        ADAM,
        penalty=float(alpha),
        is_penalty_shared=True,
        beta_1=float(optimizer.beta_1),
        beta_2=float(optimizer.beta_2),
        epsilon=float(optimizer.epsilon),
        is_epsilon_scaled=True,
    )


def packed_moments(optimizer: Optimizer, dtype: npt.DTypeLike) -> tuple[Parameters, ...]:
    """Return copies of the moments that the compiled rule keeps: −v for momentum, m and v for Adam."""
    if isinstance(optimizer, SGDOptimizer):
        moments = [[-velocity for velocity in optimizer.velocities]] if optimizer.momentum > 0 else []
    else:
        moments = [optimizer.ms, optimizer.vs]
    middle = len(moments[0]) // 2 if moments else 0
    return tuple(parameters_of(arrays[:middle], arrays[middle:], dtype) for arrays in moments)


def steps(optimizer: Optimizer) -> int:
    """Return the number of steps that Adam has made; gradient descent does not count steps."""
    return 0 if isinstance(optimizer, SGDOptimizer) else int(optimizer.t)


def write_steps(optimizer: Optimizer, count: int) -> None:
    """Give Adam its new number of steps, and the learning rate that follows from the number."""
    if count and not isinstance(optimizer, SGDOptimizer):
        optimizer.t = count
        correction = np.sqrt(1 - optimizer.beta_2**count) / (1 - optimizer.beta_1**count)
        optimizer.learning_rate = float(optimizer.learning_rate_init * correction)


def write_moments(optimizer: Optimizer, moments: Sequence[Parameters]) -> None:
    """Give an optimizer the values of packed moments."""
    unpacked = [[*coefs, *intercepts] for coefs, intercepts in map(arrays_of, moments)]
    if not isinstance(optimizer, SGDOptimizer):
        optimizer.ms, optimizer.vs = unpacked
    elif unpacked:
        optimizer.velocities = [-array for array in unpacked[0]]
