"""How skl2onnx converts the two estimators to ONNX. This file must not know how a fit proceeds.

The converters are fastbp's own: those of skl2onnx 1.20 for scikit-learn's MLP are wrong for two labels, for several
outputs, for the loss "poisson" and for classes from 2³¹ on. Only calls of this file's functions import skl2onnx.
"""

from typing import Any

import numpy as np

from fastbp import activations
from fastbp._typing import Array
from fastbp.export.activations import activated
from fastbp.export.layers import LINKS
from fastbp.sklearn.classifier import MLPClassifier
from fastbp.sklearn.regressor import MLPRegressor


def register_onnx_converters() -> None:
    """Register converters for `MLPClassifier` and `MLPRegressor` with skl2onnx.

    skl2onnx then converts the two classes, alone or inside pipelines and searches. One call in a program is enough. The
    classifier takes the options "zipmap", "output_class_labels" and "nocl" of skl2onnx. The ONNX model computes in
    float64 if its input is of that type, and in float32 otherwise. Classes that are not strings become 64-bit integers.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> from skl2onnx import to_onnx
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier, register_onnx_converters
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> register_onnx_converters()
    >>> converted = to_onnx(model, X[:1], options={"zipmap": False})
    >>> [output.name for output in converted.graph.output]
    ['label', 'probabilities']
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError("register_onnx_converters needs skl2onnx: pip install 'fastbp[onnx]'") from error
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
    update_registered_converter(
        MLPClassifier, "FastbpMLPClassifier", _set_classifier_shapes, _convert_classifier, options=options
    )
    update_registered_converter(MLPRegressor, "FastbpMLPRegressor", _set_regressor_shape, _convert_regressor)


def _set_classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    if len(operator.raw_operator.classes_) == 1:
        raise ValueError("a classifier that was fitted with one class cannot be converted to ONNX")
    calculate_linear_classifier_output_shapes(operator)
    if _is_multilabel(operator.raw_operator):
        labels, probabilities = operator.outputs
        labels.type.shape = list(probabilities.type.shape)


def _set_regressor_shape(operator: Any) -> None:
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    calculate_linear_regressor_output_shapes(operator)
    n, _ = operator.outputs[0].type.shape
    operator.outputs[0].type.shape = [n, operator.raw_operator.n_outputs_]


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Add the predictions, (n, outputs)."""
    from skl2onnx.algebra import onnx_ops

    y = _network(operator, container.target_opset)
    onnx_ops.OnnxIdentity(y, output_names=operator.outputs, op_version=container.target_opset).add_to(scope, container)


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Add the classes, (n,), or the labels, (n, outputs), and the probabilities, (n, classes)."""
    from onnx import TensorProto
    from skl2onnx.algebra import onnx_ops

    model, version, dtype = operator.raw_operator, {"op_version": container.target_opset}, _dtype(operator)
    predicted, probabilities = ([output] for output in operator.outputs)
    p = _network(operator, container.target_opset)
    if _is_multilabel(model):
        is_likely = onnx_ops.OnnxGreater(p, np.array([0.5], dtype), **version)
        labels = onnx_ops.OnnxCast(is_likely, to=TensorProto.INT64, output_names=predicted, **version)
    else:
        if model.n_outputs_ == 1:
            p = onnx_ops.OnnxConcat(onnx_ops.OnnxSub(np.array([1], dtype), p, **version), p, axis=1, **version)
        is_numbered = scope.get_options(model, {"nocl": False})["nocl"]
        classes = np.arange(len(model.classes_)) if is_numbered else _classes(model)
        likeliest = onnx_ops.OnnxArgMax(p, axis=1, keepdims=0, **version)
        labels = onnx_ops.OnnxGather(classes, likeliest, axis=0, output_names=predicted, **version)
    labels.add_to(scope, container)
    onnx_ops.OnnxIdentity(p, output_names=probabilities, **version).add_to(scope, container)


def _network(operator: Any, op_version: int) -> Any:
    """Return the outputs of the network in ONNX, (n, outputs), with the activation of the output layer."""
    from onnx.helper import np_dtype_to_tensor_dtype
    from skl2onnx.algebra import onnx_ops

    model, dtype = operator.raw_operator, _dtype(operator)
    n_hidden = len(model.coefs_) - 1
    layers = activations.of_layers(activations.resolve_layers(model.activation, n_hidden), n_hidden)

    def add(name: str, *operands: Any, **attributes: Any) -> Any:
        values = [np.array([one], dtype) if isinstance(one, float) else one for one in operands]
        return getattr(onnx_ops, f"Onnx{name}")(*values, op_version=op_version, **attributes)

    h = onnx_ops.OnnxCast(operator.inputs[0], to=np_dtype_to_tensor_dtype(dtype), op_version=op_version)
    for activation, coefs, intercepts in zip([*layers, None], model.coefs_, model.intercepts_, strict=True):
        f = onnx_ops.OnnxMatMul(h, coefs.astype(dtype), op_version=op_version)
        f = onnx_ops.OnnxAdd(f, intercepts.astype(dtype), op_version=op_version)
        if activation is None:
            return getattr(onnx_ops, f"Onnx{LINKS[model.out_activation_]}")(f, op_version=op_version)
        h = activated(activation, f, dtype == np.float64, add)
    return h


def _dtype(operator: Any) -> np.dtype[Any]:
    """Return the dtype in which the ONNX model computes: that of skl2onnx's outputs."""
    from skl2onnx.common.data_types import DoubleTensorType

    return np.dtype(np.float64 if isinstance(operator.inputs[0].type, DoubleTensorType) else np.float32)


def _classes(model: Any) -> Array:
    """Return the classes as 64-bit integers or strings, which are the two kinds of classes in ONNX."""
    classes = model.classes_
    return np.asarray(classes.astype(np.int64 if classes.dtype.kind in "biuf" else np.str_))


def _is_multilabel(model: Any) -> bool:
    return bool(model._label_binarizer.y_type_ == "multilabel-indicator")
