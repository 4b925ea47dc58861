"""The names of scikit-learn that are not public, and its decorators with types.

All other files of this folder import these names from here. If a new release of scikit-learn moves one of them, only
this file has to change.
"""

from sklearn.base import _fit_context
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict as lbfgs_options
from sklearn.utils.metaestimators import available_if as _available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.optimize import _check_optimize_result as check_optimize_result
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

from fastbp._typing import MethodDecorator

__all__ = [
    "AdamOptimizer",
    "Interval",
    "Options",
    "SGDOptimizer",
    "StrOptions",
    "available_if",
    "check_optimize_result",
    "check_partial_fit_first_call",
    "check_sample_weight",
    "fit_context",
    "lbfgs_options",
]

fit_context: MethodDecorator = _fit_context
available_if: MethodDecorator = _available_if
