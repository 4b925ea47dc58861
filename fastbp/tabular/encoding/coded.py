"""The rows of an encoded table as few numbers each, and the inputs of a network that they stand for.

It knows arrays and `kernels.codes`. It must not know columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.codes import BINS, LEVELS, STORED, VALUE, Span

BLOCK_ROWS = 2304  # rows whose inputs are made at once: as many as a thread predicts at once


@dataclass(frozen=True, eq=False)
class CodedRows:
    """Rows of inputs, stored as codes.

    Attributes
    ----------
    codes : ndarray of float32 of shape (n, s)
        The stored numbers of each row.
    spans : tuple of Span
        What they stand for, in the order of the inputs.
    """

    codes: npt.NDArray[np.float32]
    spans: tuple[Span, ...]

    @classmethod
    def of_inputs(cls, X: Floats) -> CodedRows:
        """Return the rows of a matrix of inputs, (n, D), stored as they are."""
        return cls(X.astype(np.float32), spans_of([(VALUE, 1)] * X.shape[1]))

    def __len__(self) -> int:
        return len(self.codes)

    def spans_for(self, sees_bins: bool) -> tuple[Span, ...]:
        """Return the spans of a network with or without bins."""
        return self.spans if sees_bins else tuple(span for span in self.spans if span.kind != BINS)

    def inputs(self, rows: Any = slice(None), sees_bins: bool = True) -> npt.NDArray[np.float32]:
        """Return the inputs of some rows, (m, D_0), for a network with or without bins."""
        codes, spans = self.codes[rows], self.spans_for(sees_bins)
        inputs, first = np.empty((len(codes), sum(span.width for span in spans)), np.float32), 0
        for kind, place, width in spans:
            part = inputs[:, first : first + width]
            first += width
            if kind == VALUE:
                part[:, 0] = codes[:, place]
                continue
            k = codes[:, place, np.newaxis]
            t = np.arange(width, dtype=np.float32)
            if kind == LEVELS:
                np.equal(k, t, out=part, casting="unsafe")
                continue
            distance = np.subtract(k, t)
            distance += distance
            distance += codes[:, place + 1, np.newaxis]
            np.clip(distance, -1, 1, out=part)
            part[codes[:, place] < 0] = 0
        return inputs


class SeenRows(NamedTuple):
    """Some rows, as a network with or without bins sees them."""

    coded: CodedRows
    rows: Integers
    sees_bins: bool

    @property
    def n_inputs(self) -> int:
        """Number of inputs, D_0."""
        return sum(span.width for span in self.coded.spans_for(self.sees_bins))

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the inputs of the rows, (m, D_0), `BLOCK_ROWS` rows at a time."""
        for first in range(0, max(1, len(self.rows)), BLOCK_ROWS):
            yield self.coded.inputs(self.rows[first : first + BLOCK_ROWS], self.sees_bins)


def spans_of(runs: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """Return spans of these kinds and widths, whose numbers are stored one after another."""
    places = np.cumsum([0, *(STORED[kind] for kind, _ in runs)]).tolist()
    return tuple(Span(kind, place, width) for (kind, width), place in zip(runs, places[:-1], strict=True))
