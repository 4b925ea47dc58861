"""The texts that a model does not know, counted block by block.

It knows encodings and frames of cells. It must not know files or networks.
"""

from __future__ import annotations

from fastbp.tabular.encoding.cells import Frame
from fastbp.tabular.encoding.columns import CategoryColumn
from fastbp.tabular.encoding.inputs import MAX_SHOWN, Encoding, notice_of_unknown, numbers_as_texts


class UnknownLevels:
    """The notices of `Encoding.unknown_levels` about all rows of a table that is read in blocks.

    Parameters
    ----------
    encoding : Encoding
    """

    def __init__(self, encoding: Encoding) -> None:
        self._columns = [column for column in encoding.columns if isinstance(column, CategoryColumn)]
        self._n_cells = [0] * len(self._columns)
        self._n_unknown = [0] * len(self._columns)
        self._strange: list[list[str]] = [[] for _ in self._columns]  # the first ones in alphabetical order

    def count(self, frame: Frame) -> None:
        """Add the rows of a block."""
        for k, column in enumerate(self._columns):
            cells = frame[column.name]
            if cells.missing.all():
                continue
            if cells.kind == "numbers":
                cells = numbers_as_texts(cells)
            unknown = (column.places(cells) < 0) & ~cells.missing
            self._n_cells[k] += len(cells) - cells.n_missing
            if n_unknown := int(unknown.sum()):
                self._n_unknown[k] += n_unknown
                strange = {*self._strange[k], *map(str, cells.take(unknown).distinct()[0])}
                self._strange[k] = sorted(strange)[: MAX_SHOWN + 1]

    def notices(self) -> list[str]:
        """Return one sentence for each column of texts most of whose cells are unknown texts, with examples."""
        counts = zip(self._columns, self._n_unknown, self._n_cells, self._strange, strict=True)
        return [notice_of_unknown(*of_column) for of_column in counts if 2 * of_column[1] > of_column[2]]
