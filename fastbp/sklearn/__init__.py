"""`MLPClassifier` and `MLPRegressor` of scikit-learn, trained by fastbp: change the import, keep the rest."""

from fastbp.sklearn.classifier import MLPClassifier
from fastbp.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
