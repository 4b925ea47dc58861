"""A network comes back from ONNX, also from graphs of other programs; what has no counterpart is refused by name."""

import math
import sys

import numpy as np
import pytest

import fastbp
from fastbp import activations

onnx = pytest.importorskip("onnx")
OWN = [activations.leaky_relu(0.3), activations.elu(0.5), *activations.NAMES]


def written(path, nodes, constants, inputs=("x",), outputs=("y",)):
    """Write a graph of nodes (operator, operands, result[, attributes]), each named after its result."""
    helper = onnx.helper
    made = [helper.make_node(n[0], n[1], [n[2]], name=f"the {n[2]}", **(n[3] if len(n) > 3 else {})) for n in nodes]
    of = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info(name, of, ["n", 3]) for name in inputs],
        [helper.make_tensor_value_info(name, of, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def answers_of(path, X):
    runtime = pytest.importorskip("onnxruntime")
    (found,) = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["y"], {"x": X})
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", OWN, ids=str)
def test_every_activation_comes_back_to_the_bit(tmp_path, activation, dtype):
    network = fastbp.Network(
        [3, 8, 5, 2], dtype=dtype, seed=0, activation=[activation, "relu" if activation == "tanh" else "tanh"]
    )
    network.set_parameters(network.weights, [biases - 0.2 for biases in network.biases])
    network.to_onnx(tmp_path / "network.onnx")
    again = fastbp.Network.from_onnx(tmp_path / "network.onnx")
    assert (again.layer_sizes, again.dtype) == (network.layer_sizes, dtype)
    X = np.random.default_rng(0).normal(size=(40, 3)) * 3
    assert again.activation == network.activation
    assert np.array_equal(again.predict(X), network.predict(X))
    for own, given in zip((*again.weights, *again.biases), (*network.weights, *network.biases), strict=True):
        assert np.array_equal(own, given)


def test_a_trained_network_without_hidden_layers_comes_back(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    network = fastbp.Network([3, 2], seed=0)
    network.fit(X, np.arange(40) % 2, "cross_entropy", epochs=1)
    network.to_onnx(tmp_path / "network.onnx")
    assert np.array_equal(fastbp.Network.from_onnx(tmp_path / "network.onnx").predict(X), network.predict(X))


def numbers(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


GELU = [("Div", ["f", "root"], "z"), ("Erf", ["z"], "e"), ("Add", ["e", "one"], "s")]
CONSTANTS = {"root": math.sqrt(2), "one": 1.0, "half": 0.5, "low": -1.0, "high": 1.0}


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("gelu", [*GELU, ("Mul", ["f", "s"], "m"), ("Mul", ["m", "half"], "h")]),
        ("gelu", [*GELU, ("Mul", ["half", "f"], "m"), ("Mul", ["s", "m"], "h")]),
        ("gelu", [*GELU, ("Mul", ["s", "half"], "m"), ("Mul", ["m", "f"], "h")]),
        ("gelu", [("Gelu", ["f"], "h")]),
        ("gelu_tanh", [("Gelu", ["f"], "h", {"approximate": "tanh"})]),
        ("mish", [("Mish", ["f"], "h")]),
        ("hard_tanh", [("Clip", ["f", "low", "high"], "h")]),
        ("silu", [("Sigmoid", ["f"], "m"), ("Mul", ["m", "f"], "h")]),
        ("leaky_relu", [("LeakyRelu", ["f"], "h")]),
        ("elu", [("Elu", ["f"], "h")]),
        ("identity", [("Identity", ["f"], "h")]),
        ("relu", [("Relu", ["f"], "r"), ("Dropout", ["r"], "h")]),
    ],
)
def test_graphs_of_other_programs_answer_the_same(tmp_path, name, nodes):
    options = {"alpha": 2.0, "beta": 0.5, "transB": 1}
    ends = [("Gemm", ["h", "W", "b"], "g", options), ("MatMul", ["g", "V"], "v"), ("Add", ["c", "v"], "y")]
    parameters = {"U": numbers(3, 4), "W": numbers(5, 4), "b": numbers(5), "V": numbers(5, 2), "c": numbers(1, 2)}
    path = tmp_path / "graph.onnx"
    written(path, [("MatMul", ["x", "U"], "f"), *nodes, *ends], parameters | CONSTANTS)
    network, X = fastbp.Network.from_onnx(path), numbers(30, 3).astype(np.float32)
    assert network.activation == (name if name == "identity" else [name, "identity"])
    np.testing.assert_allclose(network.predict(X), answers_of(path, X), rtol=1e-5, atol=1e-5)


DOUBLED = [("Gemm", ["x", "W"], "x0"), *(("Add", [f"x{i}"] * 2, f"x{i + 1}") for i in range(60))]
DOUBLED += [("Gemm", ["x60", "V"], "y")]
TWO = [("MatMul", ["x", "W"], "f"), ("Gemm", ["x", "W"], "g")]


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([("Gemm", ["x", "W"], "f"), ("HardSwish", ["f"], "h"), ("MatMul", ["h", "V"], "y")], r"the h.*HardSwish"),
        ([("Gemm", ["x", "W"], "f"), ("Clip", ["f", "zero", "six"], "h"), ("MatMul", ["h", "V"], "y")], "the h.*Clip"),
        ([("Gemm", ["x", "W"], "f"), ("LeakyRelu", ["f"], "h", {"alpha": -1.0}), ("MatMul", ["h", "V"], "y")], "the h"),
        ([("Gemm", ["x", "W"], "f"), ("Add", ["f", "x"], "h"), ("MatMul", ["h", "V"], "y")], "the h.*Add|'x'"),
        ([("Gemm", ["x", "W"], "f"), ("Softmax", ["f"], "y")], "the y.*Softmax"),
        ([("Gemm", ["W", "x"], "y")], "the y.*Gemm"),
        ([("Gemm", ["x", "W"], "y", {"transA": 1})], "the y.*Gemm"),
        ([("MatMul", ["x", "x"], "y")], "the y.*MatMul"),
        ([("MatMul", ["x", "W"], "f"), ("Add", ["f", "column"], "y")], "the y.*Add"),
        ([("Relu", ["x"], "h"), ("MatMul", ["h", "V"], "y")], "the h.*Relu"),
        ([*TWO, ("Sigmoid", ["g"], "s"), ("Mul", ["f", "s"], "h"), ("Gemm", ["h", "V"], "y")], "the h.*Mul"),
        (DOUBLED, "the x60"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused_by_name(tmp_path, nodes, told):
    constants = {"W": numbers(3, 3), "V": numbers(3, 1), "zero": 0.0, "six": 6.0, "column": numbers(3, 1)}
    with pytest.raises(ValueError, match=told):
        fastbp.Network.from_onnx(written(tmp_path / "graph.onnx", nodes, constants))


def test_a_graph_of_several_inputs_or_outputs_and_other_files_are_refused(tmp_path):
    path, nodes = tmp_path / "graph.onnx", [("MatMul", ["x", "V"], "y"), ("Relu", ["y"], "z")]
    with pytest.raises(ValueError, match="one input and one output"):
        fastbp.Network.from_onnx(written(path, nodes, {"V": numbers(3, 1)}, outputs=("y", "z")))
    with pytest.raises(ValueError, match="one input and one output"):
        fastbp.Network.from_onnx(written(path, nodes, {"V": numbers(3, 1)}, inputs=("x", "w")))
    path.write_bytes(b"no graph")
    with pytest.raises(ValueError, match="no ONNX graph"):
        fastbp.Network.from_onnx(path)
    with pytest.raises(FileNotFoundError):
        fastbp.Network.from_onnx(tmp_path / "none.onnx")


def test_a_missing_onnx_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[onnx\]'"):
        fastbp.Network.from_onnx(tmp_path / "network.onnx")
