"""The settings and moments of scikit-learn's optimizers, as the kernels take them, and the way back.

As in scikit-learn, an optimizer holds the moments from one call to the next and is pickled with the estimator. Moments
are lists of arrays: first those of the coefficients, then those of the intercepts. This file must not know how a step
is made.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp._typing import Array
from fastbp.optimizers import ADAM, MOMENTUM, PLAIN_SGD, Rule
from fastbp.sklearn._compat import AdamOptimizer, SGDOptimizer

Optimizer = Any  # SGDOptimizer or AdamOptimizer; scikit-learn has no types

__all__ = ["AdamOptimizer", "Optimizer", "SGDOptimizer", "keep", "moments", "rule", "steps"]


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


def moments(optimizer: Optimizer) -> list[list[Array]]:
    """Return the moments that the compiled rule keeps: [−v] for momentum, [m, v] for Adam, [] for neither."""
    if isinstance(optimizer, SGDOptimizer):
        return [[-velocity for velocity in optimizer.velocities]] if optimizer.momentum > 0 else []
    return [optimizer.ms, optimizer.vs]


def steps(optimizer: Optimizer) -> int:
    """Return the number of steps that Adam has made; gradient descent does not count steps."""
    return 0 if isinstance(optimizer, SGDOptimizer) else int(optimizer.t)


def keep(optimizer: Optimizer, kept: Sequence[list[Array]], count: int) -> None:
    """Give an optimizer the new values of its `moments`, and its number of steps."""
    if isinstance(optimizer, SGDOptimizer):
        if kept:
            optimizer.velocities = [-array for array in kept[0]]
        return
    optimizer.ms, optimizer.vs = kept
    optimizer.t = count
    if count:
        correction = np.sqrt(1 - optimizer.beta_2**count) / (1 - optimizer.beta_1**count)
        optimizer.learning_rate = float(optimizer.learning_rate_init * correction)
