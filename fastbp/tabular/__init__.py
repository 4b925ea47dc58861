"""Estimators for raw tables: frames with numbers, texts, dates and missing cells.

A user imports `TabularClassifier` and `TabularRegressor` from here, and `TableModel` where a saved model only predicts.
This folder may import `network`, `runs`, `losses`, `results` and what is below them. It must not know files of rows,
the report or the terminal. Imports inside run down: classifier and regressor, base, training, model, encoding, then
metrics and settings.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbp.results import Progress
    from fastbp.tabular.classifier import TabularClassifier
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.regressor import TabularRegressor

__all__ = ["Progress", "TableModel", "TabularClassifier", "TabularRegressor"]

_PLACES = {
    "Progress": "fastbp.results",
    "TableModel": "fastbp.tabular.model",
    "TabularClassifier": "fastbp.tabular.classifier",
    "TabularRegressor": "fastbp.tabular.regressor",
}


if not TYPE_CHECKING:  # with a module's `__getattr__`, type checkers would take any name for right

    def __getattr__(name: str) -> Any:
        """Import a name when it is first used, because scikit-learn takes a second and the command does not need it."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            return getattr(import_module(_PLACES[name]), name)
        except ModuleNotFoundError as error:
            message = f"{name} needs {error.name}, which `pip install 'fastbp[tabular]'` brings"
            raise ModuleNotFoundError(message, name=error.name) from None


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
