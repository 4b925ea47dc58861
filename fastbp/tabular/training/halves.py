"""The outputs that a network is scored by: no held-out row has chosen the epoch whose output it is scored by.

It knows outputs and errors. It must not know how a network is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbp._typing import Array, Integers
from fastbp.runs.run import Patience


class Halves:
    """The outputs for each half of the held-out rows, after the epoch that was best for the other half.

    Parameters
    ----------
    half_of : ndarray of shape (n_held_out,)
        Which half each row belongs to, 0 or 1.

    Attributes
    ----------
    places : list of ndarray
        The places of the rows of each half; empty if all rows are in one half.
    """

    def __init__(self, half_of: Integers) -> None:
        places = [np.flatnonzero(half_of == half) for half in (0, 1)]
        self.places = places if all(map(len, places)) else []
        self._patience = [Patience(np.inf) for _ in self.places]
        self._outputs: list[Array | None] = [None for _ in self.places]

    def judge(self, output: Array, errors: Sequence[float]) -> None:
        """Keep the output for each half if this epoch is the best one for the other half, by the errors of both."""
        for half, places in enumerate(self.places):
            if self._patience[half].improves(errors[1 - half]) or self._outputs[half] is None:
                self._outputs[half] = output[places]

    def scored_output(self, best: Array) -> Array:
        """Return the kept outputs of all rows. If nothing is kept, the outputs are those of the best epoch."""
        output = best.copy()
        for places, kept in zip(self.places, self._outputs, strict=True):
            if kept is not None:
                output[places] = kept
        return output
