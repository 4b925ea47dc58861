"""Successive halving: which of many networks go on at which epoch. This file must not know how a network is trained."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fastbp import checks


@dataclass(frozen=True)
class Halving:
    """Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", AISTATS).

    All networks train for `first` epochs. Then the best 1 / `factor` of them go on, up to `factor` times as many
    epochs, and so on. Of 64 networks, with the defaults, 32 go on after epoch 10, 16 after epoch 20, and 8 after epoch
    40.

    Parameters
    ----------
    first : int, default 10
        Number of epochs before networks end for the first time.
    factor : float, default 2.0
        Number greater than 1 by which the number of networks is divided and the number of epochs is multiplied.
    least : int, default 1
        Number of networks that go on in any case.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """

    first: int = 10
    factor: float = 2.0
    least: int = 1

    def __post_init__(self) -> None:
        checks.whole_number("first", self.first, 1, 2**31)
        checks.whole_number("least", self.least, 1)
        if checks.positive("factor", self.factor) <= 1:
            raise ValueError(f"factor must be greater than 1, got {checks.shown(self.factor)}")

    def rungs(self, n_networks: int, epochs: int) -> Iterator[tuple[int, int]]:
        """Yield for each rung below `epochs` its number of epochs, and the number of networks that go on."""
        rung, kept = 0, n_networks
        while kept > self.least and (epoch := round(self.first * self.factor**rung)) < epochs:
            rung += 1
            kept = min(n_networks, max(self.least, math.ceil(n_networks / self.factor**rung)))
            yield epoch, kept
