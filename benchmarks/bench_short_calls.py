"""Calls that take less than a few milliseconds, as in a web service or in online learning."""

import warnings

import numpy as np

import fastbp


class Estimators:
    """Seconds of one call of an estimator with 100 hidden units, checks included."""

    params = (("fastbp", "scikit-learn"), ("iris", "digits"))
    param_names = ("implementation", "table")
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, implementation, table):
        try:
            from benchmarks.drop_in.problems import load
        except ImportError as error:
            raise NotImplementedError(str(error)) from error

        warnings.simplefilter("ignore")
        problem = load(table)
        self.model = problem.estimator(implementation, max_iter=5).fit(problem.X, problem.y)
        self.rows, self.row = (problem.X[:32], problem.y[:32]), problem.X[:1]
        self.time_partial_fit_of_32_rows()
        self.time_predict_of_one_row()

    def time_partial_fit_of_32_rows(self, *_):
        self.model.partial_fit(*self.rows)

    def time_predict_of_one_row(self, *_):
        self.model.predict(self.row)

    def time_predict_proba_of_one_row(self, *_):
        self.model.predict_proba(self.row)


class Network:
    """Seconds of 100 calls of a network of 2 × 16 hidden units. One call alone is too short for the clock."""

    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self):
        self.network = fastbp.Network([4, 16, 16, 1], seed=0)
        self.X = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
        self.y, self.row = self.X[:, 0].copy(), self.X[:1].copy()
        self.time_hundred_fits_of_32_rows()
        self.time_hundred_predictions_of_one_row()

    def time_hundred_fits_of_32_rows(self):
        for _ in range(100):
            self.network.fit(self.X, self.y, epochs=1)

    def time_hundred_predictions_of_one_row(self):
        for _ in range(100):
            self.network.predict(self.row)
