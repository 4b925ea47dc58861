"""Raw tables in, strong models out: estimators for frames with numbers, texts, dates and gaps.

`TabularClassifier` and `TabularRegressor` are what to import; `TableModel` is what they and the command `fastbp` keep.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbp.tabular.classifier import TabularClassifier
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.regressor import TabularRegressor
    from fastbp.tabular.training.pool import Progress

__all__ = ["Progress", "TableModel", "TabularClassifier", "TabularRegressor"]

_HOMES = {
    "Progress": "training.pool",
    "TableModel": "model",
    "TabularClassifier": "classifier",
    "TabularRegressor": "regressor",
}


def __getattr__(name: str) -> Any:
    """Import on first use: scikit-learn takes a second, which the command does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        message = f"{name} needs {error.name}, which `pip install 'fastbp[tabular]'` brings"
        raise ModuleNotFoundError(message, name=error.name) from None
