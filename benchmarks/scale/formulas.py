"""A model of the time and memory of a fit of `fastbp.tabular`: formulas, and constants that `growth` measured.

With n rows, c columns and a network of W weights, in one thread:

    reading     = n c · read_csv      (or read_parquet)
    encoding    = n c · encode
    an epoch    = n (W · step + c · gather)             with the judging of the fifth of the rows that is held out
    the end     = n · finish                            of each network: scores and calibration
    predicting  = n (W · forward + c · code)            for each network; the cells are coded once
    peak        = base + n c · cell
"""

from __future__ import annotations

from dataclasses import dataclass

OPTIMIZER_ARRAYS = 5  # weights, transposed weights, gradients and two moments
TRAFFIC_ARRAYS = 8  # of them, those read and those written in each step
BATCH_ROWS = 256
HELD_OUT = 0.2


@dataclass(frozen=True)
class Constants:
    """Constants of the model, of one core.

    Attributes
    ----------
    read_csv, read_parquet, encode : float
        Nanoseconds per cell.
    step, forward : float
        Picoseconds per row and weight: of training, and of predicting.
    gather, code : float
        Nanoseconds per cell: of training, and of predicting.
    finish : float
        Nanoseconds per row of the table and network.
    cell, stored : float
        Bytes per cell: of the peak of a fit, and of the encoded table.
    base : float
        MiB of a process without rows.
    pair : float
        CPU seconds of two networks at the same time on two cores, divided by those of two networks one after another.
    """

    read_csv: float
    read_parquet: float
    encode: float
    step: float
    gather: float
    finish: float
    forward: float
    code: float
    cell: float
    stored: float
    base: float
    pair: float

    def reading(self, n_rows: int, n_columns: int, form: str = "csv") -> float:
        """Return the seconds of reading a file."""
        return 1e-9 * n_rows * n_columns * (self.read_csv if form == "csv" else self.read_parquet)

    def encoding(self, n_rows: int, n_columns: int) -> float:
        """Return the seconds of encoding a frame."""
        return 1e-9 * n_rows * n_columns * self.encode

    def epoch(self, n_rows: int, n_columns: int, n_weights: int) -> float:
        """Return the seconds of one epoch of one network, with its judging."""
        return n_rows * (1e-12 * n_weights * self.step + 1e-9 * n_columns * self.gather)

    def finishing(self, n_rows: int) -> float:
        """Return the seconds after the last epoch, for each network."""
        return 1e-9 * n_rows * self.finish

    def predicting(self, n_rows: int, n_columns: int, n_weights: int, n_networks: int = 1) -> float:
        """Return the seconds of predicting rows."""
        return n_rows * (1e-12 * n_weights * n_networks * self.forward + 1e-9 * n_columns * self.code)

    def peak(self, n_rows: int, n_columns: int) -> float:
        """Return the bytes of a process that trains."""
        return 2**20 * self.base + n_rows * n_columns * self.cell
