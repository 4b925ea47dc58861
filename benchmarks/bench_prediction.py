"""Prediction of one row, as in a web service, and of many rows, with the default number of threads."""

import functools

import numpy as np

import fastbp


@functools.cache
def network_and_rows(rows):
    network = fastbp.Network([16, 64, 64, 1], dtype="float32", seed=0)
    return network, np.random.default_rng(0).standard_normal((rows, 16)).astype(np.float32)


class Prediction:
    """Seconds of 100 calls for one row, or of one call for more rows, with 2 × 64 hidden units."""

    params = (1, 1_000, 100_000)
    param_names = ("rows",)
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, rows):
        self.network, self.X = network_and_rows(rows)
        self.calls = range(100 if rows == 1 else 1)  # one call alone is about as short as the resolution of the clock
        self.time_predict(rows)

    def time_predict(self, _):
        for _ in self.calls:
            self.network.predict(self.X)
