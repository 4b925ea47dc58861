"""Whole fits of the estimators of scikit-learn and fastbp, with checks, initial weights and shuffling."""

import warnings


class Fit:
    """Seconds of a fit. Both implementations end with the same weights."""

    params = (
        ("fastbp", "scikit-learn"),
        ("iris", "diabetes"),
        ("defaults", "batch_size=32", "early_stopping", "lbfgs"),
    )
    param_names = ("implementation", "table", "settings")
    rounds = 2
    repeat = (3, 20, 0.5)
    timeout = 60

    def setup(self, implementation, table, settings):
        try:
            from benchmarks.drop_in.problems import SETTINGS, load
        except ImportError as error:
            raise NotImplementedError(str(error)) from error

        warnings.simplefilter("ignore")
        problem = load(table)
        self.X, self.y = problem.X, problem.y
        self.model = problem.estimator(implementation, **SETTINGS[settings])
        self.time_fit()

    def time_fit(self, *_):
        self.model.fit(self.X, self.y)


class Table:
    """Seconds of a fit of one network to a raw table for 20 epochs, and of a prediction, with the encoding."""

    params = (("breast_cancer", "diabetes", "digits"),)
    param_names = ("table",)
    rounds = 2
    repeat = (3, 10, 1.0)
    timeout = 60

    def setup(self, table):
        try:
            import polars as pl

            from fastbp.tabular import TabularClassifier, TabularRegressor
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        from sklearn import datasets

        X, self.y = getattr(datasets, f"load_{table}")(return_X_y=True)
        self.frame = pl.DataFrame(X, schema=[f"x{i}" for i in range(X.shape[1])])
        kind = TabularRegressor if table == "diabetes" else TabularClassifier
        self.model = kind(n_estimators=1, epochs=20, patience=None, n_jobs=1)
        self.time_fit()

    def time_fit(self, *_):
        self.model.fit(self.frame, self.y)

    def time_predict(self, *_):
        self.model.predict(self.frame)
