"""A model in C answers as the model itself: networks, the drop-in, whole tables, and every activation."""

import ctypes
import datetime
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import activations
from fastbp.export.c_layers import rounded_to_int8
from fastbp.tabular import TabularClassifier, TabularRegressor

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc")
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
N = 60

WRAPPER = """
#include "model.h"
#include <string.h>
int run(const TYPE *x, TYPE *out, int n, int *results) {
  int i;
  for (i = 0; i < n; i++) results[i] = NAME(x + i * FASTBP_N_INPUTS, out + i * WIDTH);
  return WIDTH;
}
int n_inputs(void) { return FASTBP_N_INPUTS; }
"""


def compiled(folder, name="fastbp_predict", dtype="double", width="FASTBP_N_OUTPUTS", more=""):
    """Return the library of the header model.h in a folder, compiled without a warning, also as C++."""
    code = WRAPPER.replace("TYPE", {"float32": "float"}.get(str(dtype), "double")).replace("NAME", name)
    (folder / "run.c").write_text(code.replace("WIDTH", width) + more)
    subprocess.run(
        [GCC, "-std=c99", *STRICT, "-O2", "-shared", "-fPIC", "run.c", "-o", f"{name}.so", "-lm"],
        cwd=folder,
        check=True,
    )
    subprocess.run([GCC, "-std=c99", *STRICT, "-fsyntax-only", "-x", "c", "model.h"], cwd=folder, check=True)
    if shutil.which("g++"):
        subprocess.run(["g++", "-x", "c++", *STRICT, "-fsyntax-only", "run.c"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / f"{name}.so"))


def run(library, X, n_outputs):
    """Return the answers of the library for rows, (n, n_outputs), and the results of its function, (n,)."""
    X = np.ascontiguousarray(X)
    out, results = np.full((len(X), n_outputs), 9e9, X.dtype), np.empty(len(X), np.int32)
    assert library.n_inputs() == X.shape[1]
    assert (
        library.run(*(ctypes.c_void_p(a.ctypes.data) for a in (X, out)), len(X), ctypes.c_void_p(results.ctypes.data))
        == n_outputs
    )
    return out, results


def agree(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


# --- networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_answers_the_same_in_both_dtypes(tmp_path, name, dtype):
    network = fastbp.Network([3, 8, 8, 2], dtype=dtype, seed=0, activation=name)
    X = np.random.default_rng(0).normal(size=(N, 3)).astype(dtype) * np.logspace(-3, 2, N)[:, None].astype(dtype)
    network.to_c(tmp_path / "model.h")
    found, results = run(compiled(tmp_path, dtype=dtype), X, 2)
    wanted = network.predict(X)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max()))
    assert not results.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_hidden", range(5))
def test_every_depth_answers_the_same_with_own_activations(tmp_path, n_hidden, dtype):
    own = [activations.leaky_relu(0.3), activations.elu(0.5), "identity", "tanh"][:n_hidden]
    network = fastbp.Network([4, *[7, 5, 9, 6][:n_hidden], 3], dtype=dtype, seed=1, activation=own)
    X = np.random.default_rng(1).normal(size=(N, 4)).astype(dtype)
    network.set_parameters(network.weights, [biases + 0.3 for biases in network.biases])
    network.to_c(tmp_path / "model.h")
    agree(run(compiled(tmp_path, dtype=dtype), X, 3)[0], network.predict(X))


def test_a_row_that_is_not_finite_gets_no_answer(tmp_path):
    network = fastbp.Network([2, 3, 1], seed=0)
    network.to_c(tmp_path / "model.h")
    X = np.array([[0, 1], [np.nan, 0], [0, np.inf], [1, 2]], np.float32)
    found, results = run(compiled(tmp_path, dtype="float32"), X, 1)
    assert results.tolist() == [0, -1, -1, 0]
    assert (found[1:3] == np.float32(9e9)).all()
    agree(found[::3], network.predict(X[::3]))


@pytest.mark.parametrize(
    ("n_outputs", "loss"), [(1, "binary_cross_entropy"), (2, "binary_cross_entropy"), (3, "cross_entropy")]
)
def test_a_network_of_a_cross_entropy_gives_probabilities_too(tmp_path, n_outputs, loss):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = np.arange(40) % 3 if n_outputs == 3 else (np.arange(40 * n_outputs) % 3 == 0).reshape(40, -1)
    network = fastbp.Network([3, 4, n_outputs], seed=0)
    network.fit(X, y, loss, epochs=3)
    network.to_c(tmp_path / "model.h")
    agree(run(compiled(tmp_path, dtype="float32"), X, n_outputs)[0], network.predict(X))
    wanted = network.predict_proba(X)
    library = compiled(tmp_path, "fastbp_predict_proba", "float32", "FASTBP_N_PROBABILITIES")
    agree(run(library, X, wanted.shape[1])[0], wanted)


def test_weights_of_any_size_come_back_to_the_bit(tmp_path):
    network = fastbp.Network([6, 1], dtype="float64", seed=0)
    weights = np.array([[1 / 3, 5e-324, 1.7976931348623157e308, -1e16, 123456789.0, -0.0]])
    network.set_parameters([weights], [[0.0]])
    network.to_c(tmp_path / "model.h")
    found, _ = run(compiled(tmp_path), np.eye(6), 1)
    assert np.array_equal(found[:, 0], weights[0])


def test_two_networks_with_their_own_prefixes_share_a_program(tmp_path):
    for prefix, seed in (("pump", 0), ("Valve_2", 1)):
        fastbp.Network([2, 3, 1], seed=seed).to_c(tmp_path / f"{prefix}.h", prefix=prefix)
    (tmp_path / "main.c").write_text(
        '#include "pump.h"\n#include "Valve_2.h"\n#include <stdio.h>\nint main(void) {\n'
        "  float x[PUMP_N_INPUTS] = {1, 2}, out[VALVE_2_N_OUTPUTS];\n"
        '  pump_predict(x, out); printf("%.9g ", (double)out[0]);\n'
        '  Valve_2_predict(x, out); printf("%.9g", (double)out[0]);\n  return 0;\n}\n'
    )
    subprocess.run([GCC, "-std=c99", *STRICT, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    wanted = [fastbp.Network([2, 3, 1], seed=seed).predict([[1, 2]])[0, 0] for seed in (0, 1)]
    agree(np.array(printed.split(), float), wanted)


@pytest.mark.parametrize("prefix", ["2nd", "a-b", "", "é", "a b", "x;", None])
def test_a_prefix_that_is_no_name_is_refused(tmp_path, prefix):
    with pytest.raises(ValueError, match="prefix"):
        fastbp.Network([2, 1], seed=0).to_c(tmp_path / "model.h", prefix=prefix)
    assert not list(tmp_path.iterdir())


def test_a_users_activation_is_refused_by_name(tmp_path):
    def squared(f):
        return f * f, 2 * f

    network = fastbp.Network([2, 4, 1], activation=activations.custom(squared), seed=0)
    with pytest.raises(ValueError, match="squared"):
        network.to_c(tmp_path / "model.h")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_8_bits_lose_as_much_as_is_told(tmp_path, dtype):
    network = fastbp.Network([4, 16, 16, 2], dtype=dtype, seed=0, activation="tanh")
    weights = [*network.weights]
    weights[1][3] = 0  # a unit without inputs
    network.set_parameters(weights, [biases + 0.1 for biases in network.biases])
    X = np.random.default_rng(0).normal(size=(N, 4)).astype(dtype)
    assert network.to_c(tmp_path / "model.h") == 0
    size = (tmp_path / "model.h").stat().st_size
    lost = network.to_c(tmp_path / "model.h", int8_rows=X)
    assert (tmp_path / "model.h").stat().st_size < 0.7 * size
    found, _ = run(compiled(tmp_path, dtype=dtype), X, 2)
    wanted = network.predict(X)
    change = np.sqrt(np.mean((found - wanted) ** 2)) / np.sqrt(np.mean((wanted - wanted.mean(axis=0)) ** 2))
    for own in weights:
        whole, scales = rounded_to_int8(own)
        assert (np.abs(whole * scales[:, None] - own) <= 0.51 * scales[:, None]).all()
    assert 0.0005 < lost < 0.02
    assert lost == pytest.approx(change, rel=1e-3)
    with pytest.raises(ValueError, match="int8_rows"):
        network.to_c(tmp_path / "model.h", int8_rows=X[:, :3])
    with pytest.raises(ValueError, match="int8_rows"):
        network.to_c(tmp_path / "model.h", int8_rows=X[:0])


@pytest.mark.skipif(shutil.which("size") is None, reason="no size")
def test_a_header_takes_little_more_than_its_weights(tmp_path, capsys):
    """The sizes are shown by `pytest -s`."""
    X = np.random.default_rng(0).normal(size=(500, 4))
    for widths, rows in (((16, 16), None), ((64, 64), None), ((64, 64), X)):
        network = fastbp.Network([4, *widths, 1], seed=0)
        lost = network.to_c(tmp_path / "model.h", int8_rows=rows)
        own = '#include "model.h"\nint answer(const float *x, float *out) { return fastbp_predict(x, out); }\n'
        (tmp_path / "one.c").write_text(own)
        subprocess.run([GCC, "-std=c99", "-Os", "-c", "one.c"], cwd=tmp_path, check=True)
        printed = subprocess.run(["size", "one.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        text, data, bss, *_ = map(int, printed.splitlines()[1].split()[:3])
        held = 4 * network.n_parameters
        if rows is not None:  # a byte for a weight, and two floats for a unit
            held = sum(w.size + 8 * len(w) for w in network.weights)
        with capsys.disabled():
            kind = "exact" if rows is None else f"8 bits, which changes the outputs by {lost:.2%}"
            print(f"{widths}: {text} bytes of code and constants, of which {held} are weights ({kind})")
        assert data == bss == 0
        assert text < held + 1500


# --- the drop-in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["texts", "two", "many", "multilabel", "numbers", "several", "counts"])
def test_the_drop_in_answers_the_same(tmp_path, kind, dtype):
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    random = np.random.default_rng(0)
    X = random.normal(size=(N, 3)).astype(dtype)
    targets = {
        "texts": random.choice(["a", "é", '??(/"*/'], N),
        "two": random.integers(0, 2, N),
        "many": random.integers(5, 9, N),
        "multilabel": random.integers(0, 2, (N, 3)),
        "numbers": random.normal(size=N),
        "several": random.normal(size=(N, 2)),
        "counts": random.poisson(2, N),
    }
    is_of_classes = kind in ("texts", "two", "many", "multilabel")
    options = {"loss": "poisson"} if kind == "counts" else {}
    model = (MLPClassifier if is_of_classes else MLPRegressor)(
        hidden_layer_sizes=(8,), activation="gelu", max_iter=20, tol=0.1, n_iter_no_change=2, random_state=0, **options
    ).fit(X, targets[kind])
    model.to_c(tmp_path / "model.h")
    wanted = model.predict_proba(X) if is_of_classes else model.predict(X).reshape(N, -1)
    names = "const char *label(int i) { return fastbp_labels[i]; }\n" if is_of_classes else ""
    library = compiled(tmp_path, dtype=dtype, more=names)
    found, results = run(library, X, wanted.shape[1])
    agree(found, wanted)
    if is_of_classes and kind != "multilabel":
        assert np.array_equal(model.classes_[results], model.predict(X))
        library.label.restype = ctypes.c_char_p
        assert [library.label(i).decode() for i in range(len(model.classes_))] == [str(c) for c in model.classes_]


# --- tables -----------------------------------------------------------------------------------------------------


EPOCH = datetime.datetime(1970, 1, 1)
CODES = "int code(int column, const char *text) { return fastbp_code(column, text); }\n"
WHOLES = "double whole(int64_t cell) { return fastbp_whole_5(cell); }\n"


def table(seed):
    """Return a table with gaps, dates, odd texts and truth values, in lists."""
    random = np.random.default_rng(seed)

    def gaps(values):
        return [None if random.random() < 0.15 else value for value in values]

    days = random.integers(-2000, 20000, N)
    return {
        "size": gaps((random.normal(size=N) * 10.0 ** random.integers(-3, 6)).tolist()),
        "count */ \n": random.integers(-5, 900, N).tolist(),
        "label": gaps(random.choice(["a'\"b", "", "é漢", "1", "2", "01", "??(/*/\\", "x" * 5000], N).tolist()),
        "truth": gaps(random.choice([True, False], N).tolist()),
        "day": gaps([EPOCH + datetime.timedelta(days=int(d), hours=5) for d in days]),
        "huge": (2**60 + random.integers(0, 1000, N)).tolist(),
    }


def in_c(library, frame):
    """Return the cells as a program in C would give them, (n, 6)."""
    library.whole.restype, library.whole.argtypes = ctypes.c_double, [ctypes.c_int64]
    columns = []
    for place, cells in enumerate(frame.values()):
        if place in (2, 3):
            columns.append([-1 if cell is None else library.code(place, str(cell).encode()) for cell in cells])
        elif place == 4:
            columns.append([np.nan if c is None else (c - EPOCH).total_seconds() / 86400 for c in cells])
        elif place == 5:
            columns.append([library.whole(cell) for cell in cells])
        else:
            columns.append([np.nan if cell is None else cell for cell in cells])
    return np.array(columns, float).T


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hidden", [(), (8,), (8, 8, 8)])
def test_a_classifier_of_a_table_answers_the_same(tmp_path, seed, hidden):
    frame, other = table(seed), table(seed + 100)
    other["label"][:7] = ["never seen", "1.0", "2.000", "", "01.0", "1.", "a"]
    other["size"][:3] = [1e300, -1e300, 1.5e308]
    kinds = (
        [["x", "ÿ", "rare"][min(i % 45, 2) % 3] for i in range(N)],
        [i % 3 + 5 for i in range(N)],
        [i % 2 > 0 for i in range(N)],
    )
    model = TabularClassifier(n_estimators=2, hidden_layer_sizes=hidden, epochs=5).fit(frame, kinds[seed % 3])
    model.to_c(tmp_path / "model.h")
    library = compiled(tmp_path, more=CODES + WHOLES)
    found, results = run(library, in_c(library, other), len(model.classes_))
    agree(found, model.predict_proba(other))
    assert np.array_equal(model.classes_[results], model.predict(other))


@pytest.mark.parametrize("seed", range(4))
def test_a_regressor_of_a_table_answers_the_same_with_intervals(tmp_path, seed):
    frame, other = table(seed), table(seed + 100)
    y = np.random.default_rng(seed).normal(size=N) + 10
    model = TabularRegressor(n_estimators=3, hidden_layer_sizes=(8,), epochs=5).fit(frame, y)
    model.to_c(tmp_path / "model.h", coverage=0.8)
    library = compiled(tmp_path, more=CODES + WHOLES)
    found, results = run(library, in_c(library, other), 3)
    agree(found, np.column_stack([model.predict(other), model.predict_interval(other, 0.8)]))
    assert not results.any()


def test_numbers_alone_need_no_texts_and_predictions_stay_in_the_range_of_training(tmp_path):
    X = np.random.default_rng(0).normal(size=(N, 2))
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=30).fit(X, X[:, 0])
    model.to_c(tmp_path / "model.h")
    assert "string.h" not in (tmp_path / "model.h").read_text()
    found, _ = run(compiled(tmp_path), 100 * X, 1)
    agree(found[:, 0], model.predict(100 * X))
    assert found.max() <= X[:, 0].max()


def test_numbers_near_the_largest_float_answer_the_same(tmp_path):
    X = np.linspace(-1e300, 1e300, N)[:, None]
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=30).fit(X, np.arange(N) * 1.0)
    model.to_c(tmp_path / "model.h")
    others = np.array([[1.7e308], [-1.7e308], [np.inf], [-np.inf], [1e299], [np.nan]])
    agree(run(compiled(tmp_path), others, 1)[0][:, 0], model.predict(others))


def test_whole_numbers_from_2_to_the_63_on_keep_their_differences(tmp_path):
    cells = np.uint64(2**63 + 5) + np.arange(N, dtype=np.uint64)
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=3).fit({"id": cells}, np.arange(N) * 1.0)
    model.to_c(tmp_path / "model.h")
    library = compiled(tmp_path, more="double whole(uint64_t cell) { return fastbp_whole_0(cell); }\n")
    library.whole.restype, library.whole.argtypes = ctypes.c_double, [ctypes.c_uint64]
    found, _ = run(library, np.array([[library.whole(int(cell))] for cell in cells]), 1)
    agree(found[:, 0], model.predict({"id": cells}))


def test_a_text_with_a_zero_byte_is_refused(tmp_path):
    frame = {"a": ["x\0y", "z", "x"] * 20}
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=1).fit(frame, np.arange(60) * 1.0)
    with pytest.raises(ValueError, match="zero byte"):
        model.to_c(tmp_path / "model.h")


def test_the_command_exports_by_the_ending_of_the_file(tmp_path):
    from typer.testing import CliRunner

    from fastbp.command.app import app

    X = np.random.default_rng(0).normal(size=(N, 2))
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=1).fit(X, X[:, 0])
    model.save(tmp_path / "model.fastbp")

    def export(name):
        return CliRunner().invoke(app, ["export", str(tmp_path / "model.fastbp"), "-o", str(tmp_path / name)])

    assert export("model.h").exit_code == 0
    agree(run(compiled(tmp_path), X, 1)[0][:, 0], model.predict(X))
    refused = export("model.c")
    assert refused.exit_code != 0
    assert ".onnx or .h" in str(refused.exception) + refused.output


def test_the_program_of_the_documents_prints_the_species(tmp_path):
    pl, root = pytest.importorskip("polars"), Path(__file__).parent.parent
    penguins = pl.read_csv(root / "examples" / "penguins.csv", null_values="NA")
    X, y = penguins.drop("species"), penguins["species"]
    model = TabularClassifier(n_estimators=1, hidden_layer_sizes=(8,), epochs=30).fit(X, y)
    model.to_c(tmp_path / "penguins.h")
    (code,) = re.findall(r"^```c\n(.*?)^```", (root / "docs" / "deploy.md").read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "penguins.c").write_text(code)
    subprocess.run([GCC, "-std=c99", *STRICT, "penguins.c", "-o", "penguins", "-lm"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./penguins"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    cells = ["Torgersen", 39.1, 18.7, 181, None, "male", 2007]
    (species,) = model.predict({name: [cell] for name, cell in zip(X.columns, cells, strict=True)})
    assert printed.strip() == species
