"""Whole fits of scikit-learn's estimators and fastbp's, with checks, shuffling and the first draw of weights."""

import warnings


class Fit:
    """Seconds of a fit; both end with the same weights."""

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
            import fastbp.sklearn
            from benchmarks.drop_in import SETTINGS, load
        except ImportError as error:
            raise NotImplementedError(str(error)) from error
        import sklearn.neural_network

        warnings.simplefilter("ignore")
        kind, self.X, self.y = load(table)
        module = fastbp.sklearn if implementation == "fastbp" else sklearn.neural_network
        self.model = getattr(module, kind)(random_state=0, **SETTINGS[settings])
        self.time_fit()

    def time_fit(self, *_):
        self.model.fit(self.X, self.y)
