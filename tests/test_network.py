"""`Network` keeps its contract: what it is, what it computes and how it trains."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import reference
from networks import bits, fitted, network

import fastbp
from fastbp import SGD, Adam, Network

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 3))
y = RNG.standard_normal((50, 2))


# --- what it is -------------------------------------------------------------------------------------------------


def test_a_network_knows_its_sizes():
    net = Network([16, 64, 32, 1], seed=0)
    assert (net.K, net.layer_sizes, net.dtype) == (2, (16, 64, 32, 1), np.float32)
    assert net.n_parameters == sum(a.size for a in (*net.weights, *net.biases)) == 17 * 64 + 65 * 32 + 33
    assert [w.shape for w in net.weights] == [(64, 16), (32, 64), (1, 32)]
    assert [b.shape for b in net.biases] == [(64,), (32,), (1,)]
    assert {a.dtype for a in (*net.weights, *net.biases)} == {np.dtype("float32")}
    assert repr(net) == "Network([16, 64, 32, 1], dtype='float32')"
    assert repr(Network(np.array([2, 1]), np.float64)) == "Network([2, 1], dtype='float64')"


@pytest.mark.parametrize("activation", ["identity", "tanh", "logistic"])
def test_a_network_keeps_its_activation(activation, tmp_path):
    net = Network([3, 4, 1], seed=0, activation=activation)
    assert repr(net) == f"Network([3, 4, 1], dtype='float32', activation={activation!r})"
    net.save(tmp_path / "net.fastbp")
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net.fastbp")):
        assert other.activation == activation
        assert np.array_equal(other.predict(X), net.predict(X))


def test_a_network_without_a_named_activation_is_one_of_relu():
    tensors, metadata = Network([3, 4, 1], seed=0).to_tensors()
    assert Network.from_tensors(tensors, {k: v for k, v in metadata.items() if k != "activation"}).activation == "relu"


def test_weights_begin_normal_with_variance_two_over_inputs_and_biases_at_zero():
    net = Network([100, 400, 50], dtype="float64", seed=1)
    for w, b in zip(net.weights, net.biases, strict=True):
        scaled = w * np.sqrt(w.shape[1] / 2)
        deviation = 5 / np.sqrt(w.size)  # five standard errors
        assert abs(scaled.mean()) < deviation
        assert abs(scaled.var() - 1) < deviation * np.sqrt(2)
        assert abs(np.mean(abs(scaled) < 1) - 0.6827) < deviation
        assert not b.any()


def test_a_seed_decides_the_weights():
    first, same, other = (Network([3, 8, 2], seed=seed) for seed in (5, 5, 6))
    assert bits(first) == bits(same)
    assert not np.array_equal(first.weights[0], other.weights[0])
    assert not np.array_equal(Network([3, 8, 2]).weights[0], Network([3, 8, 2]).weights[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_are_set_come_back_to_the_bit(dtype):
    net, rng = Network([5, 17, 16, 3], dtype), np.random.default_rng(2)
    weights = [rng.standard_normal(w.shape).astype(dtype) for w in net.weights]
    biases = [rng.standard_normal(b.shape).astype(dtype) for b in net.biases]
    net.set_parameters(weights, biases)
    for got, wanted in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        assert got.tobytes() == wanted.tobytes()


def test_parameters_are_given_out_as_copies():
    net = network(3, 4, 2)
    before = bits(net)
    for array in (*net.weights, *net.biases):
        array[...] = 7
    assert bits(net) == before


@pytest.mark.parametrize("clone", [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy, copy.copy])
def test_a_copy_is_the_same_to_the_bit_and_goes_its_own_way(clone):
    net = Network([3, 8, 2], dtype="float64", seed=0)
    net.fit(X, y, optimizer=Adam(), epochs=1)
    other, before = clone(net), bits(net)
    assert bits(other) == before
    other.fit(X, y, optimizer=Adam(), epochs=1)
    assert bits(net) == before != bits(other)
    net.fit(X, y, optimizer=Adam(), epochs=1)
    assert bits(net) == bits(other)


def test_importing_fastbp_imports_nothing_heavy():
    heavy = {"numba", "llvmlite", "sklearn", "scipy", "pandas", "polars", "matplotlib", "rich", "typer", "torch"}
    code = "import sys, fastbp; dir(fastbp); print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert "fastbp" in run.stdout.split()
    assert not heavy & set(run.stdout.split())


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(fastbp, name) is not None for name in fastbp.__all__)
    assert set(fastbp.__all__) <= set(dir(fastbp))
    with pytest.raises(AttributeError, match="module 'fastbp' has no attribute 'Adagrad'"):
        fastbp.Adagrad  # noqa: B018 (looking it up is the test)


# --- what it computes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 20, 2), (3, 16, 17, 1), (3, 5, 31, 33, 7, 4)])
def test_predict_and_forward_agree_with_the_slides(sizes, dtype):
    net = network(*sizes, dtype=dtype)
    f, h = reference.forward([w.astype(float) for w in net.weights], net.biases, X.astype(dtype))
    trace = net.forward(X)
    assert len(trace.f) == len(trace.h) == net.K + 1
    for got, wanted in zip((*trace.f, *trace.h), (*f, *h), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=40 * np.finfo(dtype).eps * abs(wanted).max())
    assert trace.output is trace.f[-1]
    assert np.array_equal(net.predict(X), trace.output)


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 257, 1000])
def test_a_row_is_predicted_alike_whatever_rows_are_around_it(n):
    net, rows = network(3, 20, 2), np.random.default_rng(4).standard_normal((1000, 3))
    got = net.predict(rows[:n])
    assert got.shape == (n, 2)
    # Rows that fill no tile are summed in another order, so alike means to within rounding.
    np.testing.assert_allclose(got, net.predict(rows)[:n], rtol=0, atol=40 * np.finfo(net.dtype).eps)
    assert np.array_equal(got, net.forward(rows[:n]).output)


# --- how it trains ----------------------------------------------------------------------------------------------


def test_a_linear_model_is_a_network_with_no_hidden_layer():
    net = Network([3, 2], dtype="float64", seed=0)
    net.fit(X, X[:, :2] @ [[2, 0], [1, -3]] + 4, optimizer=SGD(0.1), epochs=400)
    assert net.K == 0
    np.testing.assert_allclose(net.weights[0], [[2, 1, 0], [0, -3, 0]], atol=1e-6)
    np.testing.assert_allclose(net.biases[0], [4, 4], atol=1e-6)


def test_the_history_has_one_entry_an_epoch():
    net, held_out = Network([3, 8, 2], seed=0), (X[:20], y[:20], np.arange(20))
    first_loss, losses = net.loss(X, y), []
    schedule = fastbp.schedules.Step(0.1, every=2, factor=0.5)
    history = net.fit(
        X,
        y,
        optimizer=SGD(schedule),
        batch_size=50,
        epochs=4,
        validation=held_out,
        callback=lambda *_: losses.append(net.loss(held_out[0], held_out[1], sample_weight=held_out[2])),
    )
    assert history.loss[0] == pytest.approx(first_loss, rel=1e-6)
    assert history.loss == sorted(history.loss, reverse=True)
    assert history.validation_loss == losses
    assert history.learning_rate == [0.1, 0.1, 0.05, 0.05]
    assert len(history.loss) == len(history.seconds) == 4
    assert min(history.seconds) > 0
    assert net.fit(X, y, epochs=2).validation_loss == []


def test_the_callback_sees_each_epoch_and_stops_on_true_alone():
    seen, answers = [], iter([None, 1, "stop", np.True_])

    def callback(epoch, history):
        seen.append((epoch, len(history.loss), len(history.validation_loss)))
        return next(answers)

    net = Network([3, 8, 2], seed=0)
    history = net.fit(X, y, epochs=9, batch_size=8, validation=(X, y), callback=callback)
    assert seen == [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]
    assert len(history.loss) == 4
    assert bits(net) == fitted(X, y, epochs=4)


@pytest.mark.parametrize("batch_size", [50, 51, 2**40, 2**70])
def test_a_batch_size_over_n_means_n(batch_size):
    assert fitted(X, y, batch_size=batch_size) == fitted(X, y, batch_size=50)


def test_unshuffled_rows_come_in_their_order():
    net = Network([3, 8, 2], seed=0)
    for first in (*range(0, 50, 8), *range(0, 50, 8)):
        net.fit(X[first : first + 8], y[first : first + 8], batch_size=8, epochs=1, shuffle=False)
    assert fitted(X, y, epochs=2, shuffle=False) == bits(net)


def test_shuffled_rows_come_in_an_order_that_the_seed_decides():
    weights = [fitted(X, y, seed=seed)[0]["weights.0"] for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]
    assert weights[0] != fitted(X, y, shuffle=False)[0]["weights.0"]


def test_drop_last_leaves_out_the_short_batch():
    assert fitted(X, y, shuffle=False, drop_last=True) == fitted(X[:48], y[:48], shuffle=False)
    assert fitted(X, y, drop_last=True)[1]["step"] == 18
    assert fitted(X, y, drop_last=True, batch_size=50) == fitted(X, y, batch_size=50)


def test_a_history_plots_itself():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    history = Network([3, 2], seed=0).fit(X, y, epochs=3, validation=(X, y))
    figure, ax = plt.subplots()
    assert history.plot(ax) is ax
    training_line, validation_line = ax.get_lines()
    assert training_line.get_xydata().tolist() == [[i + 1, loss] for i, loss in enumerate(history.loss)]
    assert validation_line.get_ydata().tolist() == history.validation_loss
    assert history.plot() is plt.gca()
    plt.close(figure)


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        fastbp.History([1.0]).plot()


@pytest.mark.parametrize("scale", [1e38, 2e-38, 0.1])
def test_only_ratios_of_sample_weights_count(scale):
    rows, targets = np.ones((100, 1)), np.linspace(0, 1, 100)
    weighted, plain = fastbp.Network([1, 4, 1], seed=0), fastbp.Network([1, 4, 1], seed=0)
    weights = np.full(100, scale, np.float32)
    assert weighted.loss(rows, targets, sample_weight=weights) == pytest.approx(plain.loss(rows, targets), rel=1e-6)
    losses = weighted.fit(rows, targets, sample_weight=weights).loss
    assert losses == pytest.approx(plain.fit(rows, targets).loss, rel=1e-5)


def test_numbers_of_numpy_do_for_an_optimizer_that_is_saved(tmp_path):
    net = fastbp.Network([1, 1], seed=0)
    optimizer = fastbp.SGD(np.float64(0.1), momentum=np.float32(0.5), nesterov=np.True_)
    net.fit([[1.0]], [1.0], optimizer=optimizer)
    net.save(tmp_path / "net.fastbp")
    assert fastbp.Network.load(tmp_path / "net.fastbp").to_tensors()[1] == net.to_tensors()[1]
