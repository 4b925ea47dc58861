"""An ONNX graph under construction. This file must not know what is computed.

Only functions import onnx, so that nobody needs onnx who does not write a graph.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from fastbp._version import __version__
from fastbp.files.atomic import replace_file

OPSET = 20  # the first with RegexFullMatch and StringSplit; ONNX Runtime has it since version 1.17
_ML_OPSET = 3  # of ai.onnx.ml: LabelEncoder has had its present form since 2
_IR_VERSION = 9  # the one that came with opset 20

Operator = Callable[..., str]


class Graph:
    """A graph to which nodes are added one by one. A value is known by its name.

    Parameters
    ----------
    taken : collection of str
        Names of inputs and outputs. No other value gets a name that begins with one of them.

    Raises
    ------
    ImportError
        If onnx is not installed.
    """

    def __init__(self, taken: Collection[str]) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ImportError("to_onnx needs the package onnx: pip install 'fastbp[onnx]'", name="onnx") from error
        self._onnx = onnx
        self._prefix = "value"
        while any(name.startswith(self._prefix) for name in taken):
            self._prefix += "_"
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def type_of(self, dtype: Any) -> int:
        """Return the number of an element type in ONNX; `str` is a text."""
        element: int = self._onnx.TensorProto.STRING
        if np.dtype(dtype).kind != "U":
            element = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return element

    def input(self, name: str, dtype: Any, width: int | None = None) -> str:
        """Add an input of n rows, (n,) or (n, width), and return its name."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self.type_of(dtype), _shape(width)))
        return name

    def output(self, name: str, value: str, dtype: Any, width: int | None = None) -> None:
        """Give a value of n rows to the user as an output, (n,) or (n, width)."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self.type_of(dtype), _shape(width)))

    def constant(self, values: Any) -> str:
        """Add an array, and return its name."""
        array, name = np.asarray(values), self._new_name()
        if array.dtype.kind == "U":
            texts = [text.encode() for text in array.ravel().tolist()]
            tensor = self._onnx.helper.make_tensor(name, self.type_of(str), array.shape, texts)
        else:
            tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self._constants.append(tensor)
        return name

    def add(self, operator: str, *operands: Any, domain: str = "", n_outputs: int = 1, **attributes: Any) -> str:
        """Add a node, and return the name of its first value. An operand is a name or an array."""
        names = [operand if isinstance(operand, str) else self.constant(operand) for operand in operands]
        name = self._new_name()
        self._nodes.append(
            self._onnx.helper.make_node(
                operator, names, [name, *(f"{name}.{i}" for i in range(1, n_outputs))], domain=domain, **attributes
            )
        )
        return name

    def operator(self, dtype: Any) -> Operator:
        """Return a function like `add` whose operands may be numbers, which become constants of one dtype."""

        def add(operator: str, *operands: Any, **attributes: Any) -> str:
            values = [np.array(one, dtype) if isinstance(one, int | float) else one for one in operands]
            return self.add(operator, *values, **attributes)

        return add

    def cast(self, value: str, dtype: Any) -> str:
        """Return a value as another dtype."""
        return self.add("Cast", value, to=self.type_of(dtype))

    def save(self, path: str | os.PathLike[str], facts: dict[str, Any]) -> None:
        """Check the graph and write it to a file, with facts as texts or as JSON in its metadata.

        An existing file is replaced completely or not at all.
        """
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "fastbp", self._inputs, self._outputs, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
            ir_version=_IR_VERSION,
            producer_name="fastbp",
            producer_version=__version__,
        )
        texts = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
        helper.set_model_props(model, {"fastbp_version": __version__, **texts})
        self._onnx.checker.check_model(model, full_check=True)
        replace_file(path, [model.SerializeToString()])

    def _new_name(self) -> str:
        return f"{self._prefix}{len(self._nodes) + len(self._constants)}"


def _shape(width: int | None) -> list[str | int]:
    return ["n"] if width is None else ["n", width]
