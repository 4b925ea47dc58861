"""A network inside of users' own compiled functions: the same numbers, in threads, and never stale."""

import copy
import functools
import gc
import importlib.util
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import threading
import warnings

import numba
import numpy as np
import pytest
from networks import network
from numba import prange

import fastbp
from fastbp import activations

X = np.random.default_rng(0).standard_normal((41, 5))
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPES = [(5, 1), (5, 30), (5, 16, 1), (5, 7, 3), (5, 16, 16, 20), (5, 40, 9, 4), (5, 8, 8, 8, 2), (5, 3, 3, 3, 3, 17)]


@numba.njit
def predict_each(net, X, out):
    for i in range(len(X)):
        net.predict(X[i], out[i])


@numba.njit
def differentiate_each(net, X, out):
    for i in range(len(X)):
        net.jacobian(X[i], out[i])


@numba.njit
def predict_all(net, X, out):
    net.predict(X, out)


@numba.njit
def differentiate_all(net, X, out):
    net.jacobian(X, out)


@numba.njit(parallel=True)
def predict_in_parallel(net, X, out):
    for i in prange(len(X)):
        net.predict(X[i], out[i])


@numba.njit(nogil=True)
def differentiate_often(net, X, out):
    for _ in range(50):
        for i in range(len(X)):
            net.jacobian(X[i], out[i])


def outputs(net, X, function=predict_each):
    ŷ = np.full((len(X), net.layer_sizes[-1]), np.nan, net.dtype)
    function(net.compile(), X.astype(net.dtype), ŷ)
    return ŷ


def jacobians(net, X, function=differentiate_each):
    J = np.full((len(X), net.layer_sizes[-1], net.layer_sizes[0]), np.nan, net.dtype)
    function(net.compile(), X.astype(net.dtype), J)
    return J


def differences(net, X):
    """Return central differences of ŷ in float64."""
    exact = fastbp.Network(net.layer_sizes, "float64", activation=net.activation)
    exact.set_parameters(net.weights, net.biases)
    steps = 1e-5 * np.eye(X.shape[1])
    columns = [(exact.predict(X + step) - exact.predict(X - step)) / 2e-5 for step in steps]
    return np.stack(columns, axis=2)


# --- the numbers --------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_a_row_has_the_bits_of_predict_for_the_row(sizes, dtype):
    net = network(*sizes, dtype=dtype)
    np.testing.assert_array_equal(outputs(net, X), np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))]))


@DTYPES
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_a_block_has_the_bits_of_predict_for_the_block(sizes, dtype):
    net = network(*sizes, dtype=dtype)
    many = np.random.default_rng(1).standard_normal((300, 5))
    for n in (0, 1, 2, 7, 11, 15, 16, 17, 28, 143, 145, 300):
        np.testing.assert_array_equal(outputs(net, many[:n], predict_all), net.predict(many[:n]))


@DTYPES
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_jacobians_equal_pytorchs_autograd(sizes, dtype):
    torch = pytest.importorskip("torch")
    net = network(*sizes, dtype=dtype)
    weights, biases = ([torch.tensor(array) for array in arrays] for arrays in (net.weights, net.biases))

    def forward(x):
        for Ω, β in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.relu(Ω @ x + β)
        return weights[-1] @ x + biases[-1]

    rows = torch.tensor(X.astype(dtype))
    theirs = np.stack([torch.autograd.functional.jacobian(forward, x).numpy() for x in rows])
    tolerance = {"rtol": 0, "atol": 300 * np.finfo(dtype).eps * max(1, abs(theirs).max())}
    np.testing.assert_allclose(jacobians(net, X), theirs, **tolerance)
    np.testing.assert_array_equal(jacobians(net, X, differentiate_all), jacobians(net, X))
    np.testing.assert_array_equal(net.jacobian(X), jacobians(net, X))


@functools.cache
def swish():
    def own(f):
        σ = 1 / (1 + np.exp(-f))
        return f * σ, σ * (1 + f * (1 - σ))

    return activations.custom(own)


@DTYPES
@pytest.mark.parametrize("activation", [*activations.NAMES, "leaky_relu(0.2)", "elu(0.5)", "custom"])
def test_every_activation_predicts_the_same_and_has_the_slope_of_central_differences(activation, dtype):
    made = {"leaky_relu(0.2)": activations.leaky_relu(0.2), "elu(0.5)": activations.elu(0.5)}
    given = swish() if activation == "custom" else made.get(activation, activation)
    net = fastbp.Network([5, 9, 20, 3], dtype, seed=0, activation=given)
    np.testing.assert_array_equal(outputs(net, X, predict_all), net.predict(X))
    tolerance = 2e-4 if dtype == "float32" else 1e-7
    np.testing.assert_allclose(jacobians(net, X), differences(net, X), atol=tolerance)


def test_each_layer_may_have_its_own_activation():
    net = fastbp.Network([5, 9, 20, 6, 3], "float64", seed=0, activation=["tanh", "identity", "relu"])
    np.testing.assert_array_equal(outputs(net, X, predict_all), net.predict(X))
    np.testing.assert_allclose(jacobians(net, X), differences(net, X), atol=1e-7)


def test_at_a_kink_the_slope_is_that_of_backpropagation():
    net = fastbp.Network([1, 1, 1])
    net.set_parameters([[[1.0]], [[1.0]]], [[0.0], [0.0]])
    slopes = [net.gradients([[x]], [[0.0]]).x[0, 0] for x in (-1.0, 0.0)]
    assert slopes == [0, 0]
    assert net.jacobian([[-1.0], [0.0], [1.0]]).ravel().tolist() == [0, 0, 1]


@pytest.mark.parametrize("sizes", [(5, 1200, 1100, 3), (5, 1200, 1100, 300)], ids=str)
def test_units_too_wide_for_the_stack_have_memory_of_their_own(sizes):
    net = fastbp.Network(sizes, "float64", seed=0)
    np.testing.assert_array_equal(outputs(net, X, predict_all), net.predict(X))
    np.testing.assert_allclose(jacobians(net, X[:3]), differences(net, X[:3]), atol=1e-7)


def test_numbers_that_are_not_finite_pass_through():
    net = network(5, 16, 16, 2)
    x = np.full((1, 5), np.nan)
    assert np.isnan(outputs(net, x)).all()


# --- the object ---------------------------------------------------------------------------------------------


def test_a_later_fit_does_not_change_the_copy():
    net = network(5, 8, 1)
    compiled, before = net.compile(), net.predict(X)
    net.fit(X, X[:, :1], epochs=2)
    ŷ = np.empty_like(before)
    compiled.predict(X.astype("float32"), ŷ)
    np.testing.assert_array_equal(ŷ, before)
    assert not np.array_equal(net.predict(X), before)


@pytest.mark.parametrize(
    "through", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_copies_and_pickles_predict_the_same(through):
    net = network(5, 8, 1)
    copied = through(net.compile())
    ŷ = np.empty((len(X), 1), "float32")
    predict_all(copied, X.astype("float32"), ŷ)
    np.testing.assert_array_equal(ŷ, net.predict(X))
    assert repr(copied) == "CompiledNetwork([5, 8, 1], dtype='float32')"


def test_a_loop_counts_no_references():
    """Counting took more than half of the time of a row, and threads would wait for one another."""
    outputs(network(5, 8, 1), X)
    code = predict_each.inspect_llvm(predict_each.signatures[0])
    (body,) = re.findall(r"^define\b[^\n]* i32 @[^\n]*predict_each[^\n]*\n(.*?)^}", code, re.M | re.S)
    assert "call i32" in body
    assert "NRT_incref" not in body


def test_networks_of_one_dtype_need_one_compilation():
    before = len(predict_each.signatures)
    for sizes in ((5, 2), (5, 3, 1)):
        outputs(network(*sizes), X)
    assert len(set(predict_each.signatures)) <= before + 1


def test_what_holds_a_network_keeps_it_in_memory():
    @numba.njit
    def mean(nets, x):
        ŷ, total = np.empty(1), 0.0
        for net in nets:
            net.predict(x, ŷ)
            total += ŷ[0]
        return total / len(nets)

    nets = [fastbp.Network([5, 8, 1], "float64", seed=seed) for seed in range(3)]
    expected = np.mean([net.predict(X[:1]) for net in nets])
    held = numba.typed.List()
    for net in nets:
        held.append(net.compile())
    gc.collect()
    assert mean(held, X[0]) == pytest.approx(expected)
    assert mean(tuple(net.compile() for net in nets), X[0]) == pytest.approx(expected)


def test_calls_keep_no_reference():
    compiled = network(5, 8, 1).compile()
    ŷ = np.empty((len(X), 1), "float32")
    before = sys.getrefcount(compiled._table)
    for _ in range(20):
        predict_each(compiled, X.astype("float32"), ŷ)
    after = sys.getrefcount(compiled._table)  # pytest would hold what it compares
    assert after == before


def test_a_global_is_a_constant_that_numba_does_not_keep_in_a_cache():
    net = network(5, 8, 1, dtype="float64")
    held = net.compile()

    @numba.njit(cache=True)
    def first_output(x):
        ŷ = np.empty(1)
        held.predict(x, ŷ)
        return ŷ[0]

    with pytest.warns(numba.NumbaWarning, match="Cannot cache compiled function"):
        assert first_output(X[0]) == net.predict(X[:1])[0, 0]
    held = None
    gc.collect()
    assert first_output(X[0]) == net.predict(X[:1])[0, 0]


def test_scipy_integrates_a_c_function_of_the_user():
    integrate, scipy = pytest.importorskip("scipy.integrate"), pytest.importorskip("scipy")
    net = network(1, 8, 1, dtype="float64")
    held = net.compile()

    @numba.cfunc("float64(float64)")
    def integrand(t):
        x, ŷ = np.array([t]), np.empty(1)
        held.predict(x, ŷ)
        return ŷ[0]

    ours, _ = integrate.quad(scipy.LowLevelCallable(integrand.ctypes), 0, 1)
    plain, _ = integrate.quad(lambda t: net.predict([[t]])[0, 0], 0, 1)
    assert ours == pytest.approx(plain, rel=1e-12)


# --- threads ------------------------------------------------------------------------------------------------


def test_prange_gives_the_same_bits():
    net = network(5, 16, 16, 3)
    many = np.random.default_rng(2).standard_normal((2000, 5))
    np.testing.assert_array_equal(outputs(net, many, predict_in_parallel), outputs(net, many))


def test_ten_threads_give_the_same_bits():
    net = fastbp.Network([5, 16, 16, 3], seed=0, activation="tanh")
    compiled, x, expected = net.compile(), X.astype("float32"), jacobians(net, X)
    results = [np.empty_like(expected) for _ in range(10)]
    threads = [threading.Thread(target=differentiate_often, args=(compiled, x, out)) for out in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in results:
        np.testing.assert_array_equal(out, expected)


def test_jacobians_do_not_depend_on_the_number_of_threads():
    net = network(5, 16, 3)
    np.testing.assert_array_equal(net.jacobian(X, n_threads=3), net.jacobian(X, n_threads=1))
    assert net.jacobian(X[:0]).shape == (0, 3, 5)


# --- errors -------------------------------------------------------------------------------------------------

NET = network(5, 8, 2)
ROW, ŷ, J = np.zeros(5, "f4"), np.zeros(2, "f4"), np.zeros((2, 5), "f4")


@pytest.mark.parametrize(
    ("x", "out"),
    [
        (ROW[:4], ŷ),
        (ROW, np.zeros(3, "f4")),
        (np.zeros((3, 5), "f4"), np.zeros((2, 2), "f4")),
        (ROW[None, :3], ŷ[None]),
    ],
    ids=["columns of x", "columns of out", "rows", "columns of a block"],
)
def test_a_wrong_shape_is_an_error_before_anything_is_written(x, out):
    @numba.njit
    def call(net, x, out):
        net.predict(x, out)

    with pytest.raises(ValueError, match="the shape of x or of out does not fit the network"):
        call(NET.compile(), x, out)
    with pytest.raises(ValueError, match=r"must be of shape"):
        NET.compile().predict(x, out)
    with pytest.raises(ValueError, match=r"must be of shape"):
        NET.compile().jacobian(ROW, J.T.copy())


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (ROW.astype("f8"), ŷ, "convert it by astype"),
        (np.zeros(10, "f4")[::2], ŷ, "ascontiguousarray"),
        (ROW, J, "with 1 dimensions"),
        ([1.0] * 5, ŷ, "must be a C-contiguous float32 array"),
    ],
    ids=["dtype", "strides", "dimensions", "list"],
)
def test_another_array_is_an_error_when_the_users_code_is_compiled(x, out, message):
    @numba.njit
    def call(net, x, out):
        net.predict(x, out)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba's, of the list
        with pytest.raises(numba.TypingError, match=message):
            call(NET.compile(), x, out)
    with pytest.raises((TypeError, ValueError), match="must be"):
        NET.compile().predict(x, out)


def test_named_arguments_are_an_error_in_compiled_code():
    @numba.njit
    def call(net, x, out):
        net.predict(x, out=out)

    with pytest.raises((numba.TypingError, NotImplementedError), match=r"not named|unsupported keyword"):
        call(NET.compile(), ROW, ŷ)


def test_an_array_that_is_read_only_is_not_overwritten():
    fixed = ŷ.copy()
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        NET.compile().predict(ROW, fixed)
    with pytest.raises(numba.TypingError, match="read-only"):
        predict_all(NET.compile(), ROW, fixed)


def test_jacobian_refuses_rows_that_predict_refuses():
    for wrong in ([[np.nan] * 5], [[1.0] * 4], [["a"] * 5]):
        with pytest.raises((TypeError, ValueError), match="X"):
            NET.jacobian(wrong)


# --- caches -------------------------------------------------------------------------------------------------

USERS = """
import numba
import numpy as np
from numba.core import event

@numba.njit(cache=True)
def first_output(net, x):
    y = np.empty(1, x.dtype)
    net.predict(x, y)
    return y[0]

if __name__ == "__main__":
    with event.install_recorder("numba:compile") as recorder:
        import fastbp
        net = fastbp.Network([2, 3, 1], seed=0)
        print(first_output(net.compile(), np.array([1, 2], "float32")), float(net.predict([[1, 2]])[0, 0]))
        print(len(recorder.buffer), len(first_output.stats.cache_hits))
"""


@pytest.fixture
def users(tmp_path):
    """Return a function that runs a user's program in a process of its own, with a copy of fastbp."""
    package = pathlib.Path(importlib.util.find_spec("fastbp").origin).parent
    shutil.copytree(package, tmp_path / "site" / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
    program = tmp_path / "program.py"
    program.write_text(USERS, encoding="utf-8")

    def run():
        settings = {"PYTHONPATH": str(tmp_path / "site"), "FASTBP_CACHE_DIR": str(tmp_path / "cache")}
        environment = {**os.environ, **settings, "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
        done = subprocess.run(
            [sys.executable, program], env=environment, capture_output=True, text=True, check=False, timeout=250
        )
        assert done.returncode == 0, done.stderr
        ours, theirs, compiled, hits = done.stdout.split()
        assert float(ours) == float(theirs)
        return float(ours), int(compiled), int(hits)

    return run


def test_a_second_process_compiles_nothing_and_after_an_upgrade_nothing_is_stale(users, tmp_path):
    first, compiled, hits = users()
    assert (compiled > 0, hits) == (True, 0)
    assert users() == (first, 0, 1)

    kernels = tmp_path / "site" / "fastbp" / "kernels" / "narrow.py"
    source = kernels.read_text(encoding="utf-8")
    edited = source.replace("β = biases.data[biases.at + o]", "β = biases.data[biases.at + o] + 1")
    assert edited != source
    kernels.write_text(edited, encoding="utf-8")
    tables = tmp_path / "site" / "fastbp" / "kernels" / "frozen.py"
    source = tables.read_text(encoding="utf-8")
    edited = source.replace("_PREDICT, _JACOBIAN = 0, 1", "_PREDICT, _JACOBIAN = 1, 0")  # old code would call the other
    assert edited != source
    tables.write_text(edited, encoding="utf-8")
    after, compiled, hits = users()
    assert after == pytest.approx(first + 1)
    assert (compiled > 0, hits) == (True, 0)
    assert users() == (after, 0, 1)
