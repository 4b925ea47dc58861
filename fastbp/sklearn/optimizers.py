"""What scikit-learn's stochastic solvers keep from step to step, under its names; it pickles with the estimator.

Moments are lists of arrays in the order of the coefficients and then the intercepts. This file must not know how a
step is made.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp.optimizers import ADAM, MOMENTUM, PLAIN, Rule

Arrays = list[npt.NDArray[Any]]

SMALLEST_RATE = 1e-6  # at which `learning_rate="adaptive"` gives up


def zeros_like(arrays: Iterable[npt.NDArray[Any]]) -> Arrays:
    """Return zeros in the shapes of some arrays."""
    return [np.zeros_like(array) for array in arrays]


class SGDOptimizer:
    """Gradient descent with momentum: v ← μ v − η g, φ ← φ + v, or φ + μ v − η g by Nesterov."""

    def __init__(
        self, params: Sequence[npt.NDArray[Any]], learning_rate_init: float, momentum: float, nesterov: bool
    ) -> None:
        self.learning_rate_init = learning_rate_init
        self.learning_rate = float(learning_rate_init)
        self.momentum = momentum
        self.nesterov = nesterov
        self.velocities = zeros_like(params)
        self.t = 0

    def rule(self, alpha: float) -> Rule:
        """Return what a kernel needs to know."""
        kind = MOMENTUM if self.momentum > 0 else PLAIN
        return Rule(kind, 0.0, float(alpha), float(self.momentum), bool(self.nesterov), True, 0.0, 0.0, 0.0, False)

    def moments(self) -> list[Arrays]:
        """Return what the compiled rule keeps: −v, where there is momentum."""
        return [[-velocity for velocity in self.velocities]] if self.momentum > 0 else []

    def keep(self, moments: Sequence[Arrays], steps: int) -> None:
        """Take over what `moments` has become, and the count of steps."""
        self.t = steps
        if moments:
            self.velocities = [-array for array in moments[0]]


class AdamOptimizer:
    """Adam, with its bias correction in the learning rate: φ ← φ − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) m / (√v + ε)."""

    def __init__(
        self,
        params: Sequence[npt.NDArray[Any]],
        learning_rate_init: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ) -> None:
        self.learning_rate_init = learning_rate_init
        self.learning_rate = float(learning_rate_init)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.ms = zeros_like(params)
        self.vs = zeros_like(params)
        self.t = 0

    def rule(self, alpha: float) -> Rule:
        """Return what a kernel needs to know."""
        betas = float(self.beta_1), float(self.beta_2)
        return Rule(ADAM, 0.0, float(alpha), 0.0, False, False, *betas, float(self.epsilon), True)

    def moments(self) -> list[Arrays]:
        """Return what the compiled rule keeps: m and v."""
        return [self.ms, self.vs]

    def keep(self, moments: Sequence[Arrays], steps: int) -> None:
        """Take over what `moments` has become, and the count of steps."""
        self.ms, self.vs = moments
        self.t = steps
        if steps:
            correction = np.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
            self.learning_rate = float(self.learning_rate_init * correction)
