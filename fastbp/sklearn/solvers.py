"""What a kernel needs to know of scikit-learn's optimizers, and what it hands back to them.

They hold a fit's moments from one call to the next, and pickle with the estimator, as in scikit-learn. Moments are
lists of arrays in the order of the coefficients and then the intercepts. This file must not know how a step is made.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from fastbp.optimizers import ADAM, MOMENTUM, PLAIN, Rule

Arrays = list[npt.NDArray[Any]]
Optimizer = Any  # an SGDOptimizer or AdamOptimizer, which have no types

__all__ = ["AdamOptimizer", "Arrays", "Optimizer", "SGDOptimizer", "keep", "moments", "rule", "steps"]


def rule(optimizer: Optimizer, alpha: float) -> Rule:
    """Return an optimizer's rule with the penalty α.

    Gradient descent keeps the rate in its velocity: v ← μ v − η g, φ ← φ + v, or φ + μ v − η g by Nesterov. Adam has
    its bias correction in the rate: φ ← φ − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) m / (√v + ε).
    """
    if isinstance(optimizer, SGDOptimizer):
        kind = MOMENTUM if optimizer.momentum > 0 else PLAIN
        momentum, nesterov = float(optimizer.momentum), bool(optimizer.nesterov)
        return Rule(kind, 0.0, float(alpha), momentum, nesterov, True, 0.0, 0.0, 0.0, False)
    betas = float(optimizer.beta_1), float(optimizer.beta_2)
    return Rule(ADAM, 0.0, float(alpha), 0.0, False, False, *betas, float(optimizer.epsilon), True)


def moments(optimizer: Optimizer) -> list[Arrays]:
    """Return what the compiled rule keeps: −v where there is momentum; m and v of Adam."""
    if isinstance(optimizer, SGDOptimizer):
        return [[-velocity for velocity in optimizer.velocities]] if optimizer.momentum > 0 else []
    return [optimizer.ms, optimizer.vs]


def steps(optimizer: Optimizer) -> int:
    """Return how many steps it has made, where it counts them."""
    return 0 if isinstance(optimizer, SGDOptimizer) else int(optimizer.t)


def keep(optimizer: Optimizer, kept: Sequence[Arrays], count: int) -> None:
    """Hand over what `moments` has become, and the count of steps."""
    if isinstance(optimizer, SGDOptimizer):
        if kept:
            optimizer.velocities = [-array for array in kept[0]]
        return
    optimizer.ms, optimizer.vs = kept
    optimizer.t = count
    if count:
        correction = np.sqrt(1 - optimizer.beta_2**count) / (1 - optimizer.beta_1**count)
        optimizer.learning_rate = float(optimizer.learning_rate_init * correction)
