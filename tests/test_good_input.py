"""Input may be any array-like of numbers: every kind gives the bits of the plain array, and costs no compilation."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from networks import fitted, network

from fastbp import SGD
from fastbp.kernels import entries as training

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 3))
y = RNG.standard_normal((50, 2))
CLASSES = RNG.integers(3, size=50)
WHOLE = RNG.integers(-5, 6, size=(24, 4))


def memory_mapped(array, folder):
    mapped = np.memmap(folder / "array", array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


def read_only(array, _):
    array = array.copy()
    array.flags.writeable = False
    return array


KINDS = {
    "list": lambda a, _: a.tolist(),
    "tuple of arrays": lambda a, _: tuple(a),
    "float16": lambda a, _: a.astype(np.float16),
    "float32": lambda a, _: a.astype(np.float32),
    "float64": lambda a, _: a.astype(np.float64),
    "longdouble": lambda a, _: a.astype(np.longdouble),
    "int8": lambda a, _: a.astype(np.int8),
    "int64": lambda a, _: a.astype(np.int64),
    "objects": lambda a, _: a.astype(object),
    "F-ordered": lambda a, _: np.asfortranarray(a),
    "strided": lambda a, _: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "negative strides": lambda a, _: a[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda a, _: np.frombuffer(b"?" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "read-only": read_only,
    "big-endian": lambda a, _: a.astype(">f4"),
    "memory-mapped": memory_mapped,
    "buffer": lambda a, _: memoryview(a),
    "masked without a mask": lambda a, _: np.ma.masked_array(a),
    "pandas": lambda a, _: pytest.importorskip("pandas").DataFrame(a, columns=list("abcd")[: a.shape[1]]),
    "polars": lambda a, _: pytest.importorskip("polars").DataFrame(a, schema=list("abcd")[: a.shape[1]]),
    "torch": lambda a, _: pytest.importorskip("torch").from_numpy(a),
}


def computed(net, X, y, **options):
    """Return the bits of all that a network computes from its input."""
    gradients = net.gradients(X, y, **options)
    arrays = [net.predict(X), *net.forward(X).f, *gradients.weights, *gradients.biases, *gradients.f, gradients.x]
    return [(a.dtype.name, a.shape, a.tobytes()) for a in arrays], gradients.loss, net.loss(X, y, **options)


def compilations():
    entries = (training.predict, training.trace, training.evaluate, training.differentiate)
    return [len(entry.signatures) for entry in entries]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_gives_the_same_bits_and_no_compilation_of_its_own(kind, dtype, tmp_path):
    net, plain = network(4, 9, 4, dtype=dtype), np.ascontiguousarray(WHOLE, dtype)
    wanted, compiled = computed(net, plain, plain), compilations()
    given = KINDS[kind](WHOLE, tmp_path)
    assert computed(net, given, given) == wanted
    assert compilations() == compiled


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("pandas", "polars", "tuple of arrays", "buffer")])
def test_sample_weights_and_class_numbers_may_be_of_every_kind_too(kind, tmp_path):
    net, plain = network(4, 9, 4), abs(WHOLE[:, 1:2]).astype(np.float32) % 4
    wanted = computed(net, WHOLE, plain[:, 0], loss="cross_entropy", sample_weight=plain[:, 0])
    compiled, given = compilations(), KINDS[kind](plain, tmp_path)
    column = [row[0] for row in given] if kind == "list" else given[:, 0]
    assert computed(net, WHOLE, column, loss="cross_entropy", sample_weight=column) == wanted
    assert compilations() == compiled


def test_numbers_that_are_objects_keep_their_precision():
    net = network(3, 9, 1, dtype="float64")
    assert np.array_equal(net.predict([[Decimal("0.1"), Fraction(1, 3), 2**60]]), net.predict([[0.1, 1 / 3, 2.0**60]]))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_series_is_a_column(library):
    net, frame = network(4, 9, 1), pytest.importorskip(library).DataFrame(dict.fromkeys("abcd", WHOLE[:, 0]))
    column = WHOLE[:, 0]
    wanted = computed(net, np.column_stack([column] * 4), column, sample_weight=column**2)
    assert computed(net, frame, frame["a"], sample_weight=frame["a"] ** 2) == wanted


def test_truth_values_are_ones_and_zeros():
    net, truths, options = network(4, 9, 1), WHOLE > 0, {"loss": "binary_cross_entropy"}
    as_numbers = computed(net, 1.0 * truths, 1.0 * truths[:, 0], **options)
    assert computed(net, truths, truths[:, 0], **options) == as_numbers


def test_one_number_a_row_stands_for_one_column():
    net = network(3, 8, 1)
    assert computed(net, X, y[:, 0]) == computed(net, X, y[:, :1])
    assert fitted(X, y[:, 0], net=(3, 8, 1)) == fitted(X, y[:, :1], net=(3, 8, 1))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, float, object, list])
def test_class_numbers_are_one_hot_rows_to_the_bit(kind):
    numbers = CLASSES.tolist() if kind is list else CLASSES.astype(kind)
    one_hot, options = np.eye(3)[CLASSES], {"loss": "cross_entropy", "net": (3, 8, 3)}
    assert fitted(X, numbers, **options) == fitted(X, one_hot, **options)
    net, loss = network(3, 8, 3), "cross_entropy"
    assert computed(net, X, numbers, loss=loss) == computed(net, X, one_hot, loss=loss)


def test_whole_sample_weights_stand_for_rows_that_occur_so_often():
    net, times = network(3, 8, 2, dtype="float64"), np.arange(50) % 4
    weighted, repeated = net.gradients(X, y, sample_weight=times), net.gradients(X.repeat(times, 0), y.repeat(times, 0))
    assert weighted.loss == pytest.approx(repeated.loss, rel=1e-13)
    assert net.loss(X, y, sample_weight=times) == pytest.approx(repeated.loss, rel=1e-13)
    for a, b in zip(weighted.weights + weighted.biases, repeated.weights + repeated.biases, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_numpy_scalars_are_numbers():
    options = {"batch_size": np.int64(8), "epochs": np.int32(3), "shuffle": np.True_, "seed": np.uint8(3)}
    wanted = fitted(X, y, optimizer=SGD(0.125), shuffle=True, seed=3)
    assert fitted(X, y, optimizer=SGD(np.float32(0.125), momentum=np.float64(0)), **options) == wanted
