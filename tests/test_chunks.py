"""Training on chunks of rows: the steps of one table that holds all of them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastbp

N, D = 503, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
Y = (X @ RNG.standard_normal((D, 2)) + RNG.standard_normal((N, 2)) / 10).astype(np.float32)
WEIGHTS = RNG.random(N) * np.repeat([1e-3, 1, 100], [100, 200, 203])
SIZES = [[N], [100, 1, 2, 3, 200, 0, 197], [N - 1, 1], [1, N - 1], [31] * 16 + [7], [32] * 15 + [23], [1] * N]


def cut(sizes: list[int], *arrays: Any) -> Callable[[], Iterator[Any]]:
    """Return a function that returns the rows of arrays in chunks of these sizes."""
    ends = np.cumsum(sizes).tolist()
    assert ends[-1] == N
    return lambda: (tuple(array[end - size : end] for array in arrays) for size, end in zip(sizes, ends, strict=True))


def network(n_outputs: int = 2) -> fastbp.Network:
    return fastbp.Network([D, 8, n_outputs], seed=0)


def assert_equal(net: fastbp.Network, expected: fastbp.Network) -> None:
    for array, other in zip([*net.weights, *net.biases], [*expected.weights, *expected.biases], strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)}-chunks-of-{sizes[0]}")
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_chunks_train_to_the_bits_of_one_table(sizes: list[int], drop_last: bool, weights: Any) -> None:
    options: dict[str, Any] = {"batch_size": 32, "epochs": 3, "shuffle": False, "drop_last": drop_last}
    options |= {"optimizer": fastbp.Adam(1e-2), "dropout": 0.1, "l2_penalty": 0.01, "validation_data": (X[:50], Y[:50])}
    net, expected = network(), network()
    arrays = (X, Y) if weights is None else (X, Y, weights)
    history, of_table = net.fit(cut(sizes, *arrays), **options), expected.fit(X, Y, sample_weight=weights, **options)
    assert_equal(net, expected)
    assert history.loss == of_table.loss
    assert history.validation_loss == of_table.validation_loss
    assert history.learning_rate == of_table.learning_rate
    assert len(history.seconds) == 3
    net.fit(X, Y, epochs=1, optimizer=fastbp.Adam(1e-2))  # both continue in the same way
    expected.fit(X, Y, epochs=1, optimizer=fastbp.Adam(1e-2))
    assert_equal(net, expected)


@pytest.mark.parametrize("batch_size", [32, N, 10_000])
@pytest.mark.parametrize("drop_last", [False, True])
def test_one_chunk_is_shuffled_as_a_table_is(batch_size: int, drop_last: bool) -> None:
    net, expected = network(), network()
    options: dict[str, Any] = {"batch_size": batch_size, "epochs": 1, "drop_last": drop_last}
    assert net.fit(lambda: [(X, Y)], **options).loss == expected.fit(X, Y, **options).loss
    assert_equal(net, expected)


def test_each_row_is_seen_once_in_an_epoch_of_shuffled_chunks() -> None:
    # The loss of an epoch with the rate 0 is the mean over all rows, whatever their order is.
    net, sizes = network(), [100, 50, 353]
    history = net.fit(cut(sizes, X, Y), optimizer=fastbp.SGD(0.0), batch_size=7, epochs=2)
    assert history.loss == pytest.approx([net.loss(X, Y)] * 2, rel=1e-5)
    orders = [network().fit(cut(sizes, X, Y), batch_size=7, epochs=1, seed=seed).loss for seed in (1, 2)]
    assert orders[0] != orders[1]


def test_an_iterator_is_one_epoch_of_chunks_with_class_numbers() -> None:
    classes = RNG.integers(0, 2, N)
    net, expected = network(), network()
    options: dict[str, Any] = {"loss": "cross_entropy", "epochs": 1, "shuffle": False}
    net.fit(cut([300, 203], X, classes)(), **options)
    expected.fit(X, classes, **options)
    assert_equal(net, expected)
    probabilities = net.predict_proba(iter([X[:144], (X[144:], classes[144:])]))
    np.testing.assert_array_equal(probabilities, expected.predict_proba(X))
    assert net.predict(iter([])).shape == (0, 2)


def test_a_callback_and_patience_end_a_training_on_chunks() -> None:
    epochs: list[int] = []
    chunks = cut([250, 253], X, Y)
    network().fit(chunks, epochs=9, callback=lambda progress: epochs.append(progress.epoch) or progress.epoch == 2)
    assert epochs == [1, 2]
    assert len(network().fit(chunks, epochs=9, patience=2, validation_data=(X, -Y)).loss) == 3


def test_a_divergence_in_chunks_names_its_epoch() -> None:
    with pytest.raises(fastbp.DivergenceError) as caught:
        network().fit(cut([100, 403], X, Y), optimizer=fastbp.SGD(lambda step: 1e-3 if step < 20 else 1e30), epochs=3)
    assert caught.value.epoch == 2
    assert len(caught.value.history.loss) == 1


@pytest.mark.parametrize(
    ("chunks", "options", "error", "message"),
    [
        (iter([(X, Y)]), {"epochs": 2}, ValueError, "X is an iterator, which gives its chunks once, but epochs is 2"),
        (iter([(X, Y)]), {"y": Y}, ValueError, "y must be None if X is chunks"),
        (iter([(X, Y)]), {"sample_weight": WEIGHTS}, ValueError, "sample_weight must be None if X is chunks"),
        (lambda: [], {}, ValueError, "the chunks hold no rows"),
        (lambda: [(X[:0], Y[:0])], {}, ValueError, "the chunks hold no rows"),
        (lambda: [X], {}, TypeError, r"chunk 1 must be \(X, y\) or \(X, y, sample_weight\), got array"),
        (lambda: [(X,)], {}, ValueError, r"chunk 1 must be \(X, y\) or \(X, y, sample_weight\), got 1 of them"),
        (lambda: [(X, Y), (X[:, 1:], Y)], {}, ValueError, "chunk 2: X must have 5 columns"),
        (lambda: [(X, Y), (X, Y[1:])], {}, ValueError, "chunk 2: y must be of shape"),
        (lambda: [(X, Y, WEIGHTS), (X, Y)], {}, ValueError, "chunk 2 holds targets without sample_weight, but"),
        (lambda: [(X, Y), (X * np.nan, Y)], {}, ValueError, r"chunk 2: X holds nan at \[0, 0\]"),
        (lambda: 1, {}, TypeError, "the function X must return an iterable of chunks, got 1"),
        (
            lambda: [(X, Y)],
            {"optimizer": fastbp.SGD(fastbp.schedules.WarmUp(fastbp.schedules.Cosine(0.1), 3))},
            ValueError,
            "WarmUp takes its number of steps from the fit, and nobody knows how many rows the chunks hold",
        ),
    ],
)
def test_wrong_chunks_are_refused(chunks: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    net, before = network(), network()
    with pytest.raises(error, match=message):
        net.fit(chunks, **{"epochs": 1, **options})
    if "chunk 2" not in message:
        assert_equal(net, before)


def test_schedules_with_steps_and_rates_are_those_of_a_table() -> None:
    schedule = fastbp.schedules.WarmUp(fastbp.schedules.Cosine(0.1, steps=20), 3)
    net, expected = network(), network()
    options: dict[str, Any] = {"optimizer": fastbp.SGD(schedule), "epochs": 2, "shuffle": False}
    assert net.fit(cut([13, 490], X, Y), **options).loss == expected.fit(X, Y, **options).loss
    assert_equal(net, expected)
