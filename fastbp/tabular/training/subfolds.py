"""The outputs that a network is scored by: no held-out row has chosen the epoch whose output it is scored by.

It knows outputs and errors. It must not know how a network is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbp._typing import Array, Integers
from fastbp.runs.run import Patience


class Subfolds:
    """The outputs for each subfold of the held-out rows, after the epoch that was best for the other subfolds.

    Parameters
    ----------
    subfold_of : ndarray of shape (n_held_out,)
        Which subfold each row belongs to, from 0.

    Attributes
    ----------
    others : list of ndarray
        For each subfold, the places of the rows of all others; empty if all rows are in one subfold.
    """

    def __init__(self, subfold_of: Integers) -> None:
        found = [subfold for subfold in np.unique(subfold_of) if (subfold_of != subfold).any()]
        self.others = [np.flatnonzero(subfold_of != subfold) for subfold in found]
        self._own = [np.flatnonzero(subfold_of == subfold) for subfold in found]
        self._patience = [Patience(np.inf) for _ in found]
        self._outputs: list[Array | None] = [None for _ in found]

    def judge(self, output: Array, errors: Sequence[float]) -> None:
        """Keep the outputs of each subfold for which this epoch is the best one, by the errors of the others."""
        for i, error in enumerate(errors):
            if self._patience[i].improves(error) or self._outputs[i] is None:
                self._outputs[i] = output[self._own[i]]

    def scored_output(self, best: Array) -> Array:
        """Return the kept outputs of all rows. If nothing is kept, the outputs are those of the best epoch."""
        output = best.copy()
        for places, kept in zip(self._own, self._outputs, strict=True):
            if kept is not None:
                output[places] = kept
        return output
