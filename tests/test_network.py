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
from fastbp import SGD, Adam, Network, schedules

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
    with pytest.raises(AttributeError, match="module 'fastbp' has no attribute 'Adadelta'"):
        fastbp.Adadelta  # noqa: B018 (looking it up is the test)


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
        validation_data=held_out,
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

    def callback(progress):
        seen.append(progress)
        return next(answers)

    net = Network([3, 8, 2], seed=0)
    history = net.fit(X, y, epochs=9, batch_size=8, validation_data=(X, y), callback=callback)
    assert [progress.epoch for progress in seen] == [1, 2, 3, 4]
    assert [progress.loss for progress in seen] == history.loss
    assert [progress.validation_loss for progress in seen] == history.validation_loss
    assert all(progress.model is net for progress in seen)
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

    history = Network([3, 2], seed=0).fit(X, y, epochs=3, validation_data=(X, y))
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


# --- the loss that it was trained with ----------------------------------------------------------------------

CLASSES = np.arange(50) % 3


def test_a_network_remembers_the_loss_of_its_last_fit_in_its_file_too(tmp_path):
    net = Network([3, 8, 2], seed=0)
    assert net.trained_loss is None
    assert net.loss(X, y) == net.loss(X, y, "squared_error")
    net.fit(X, y, loss=fastbp.losses.huber(0.5), epochs=1)
    net.save(tmp_path / "net.fastbp")
    for one in (net, Network.load(tmp_path / "net.fastbp"), pickle.loads(pickle.dumps(net))):
        assert one.trained_loss == fastbp.losses.huber(0.5)
        assert one.loss(X, y) == net.loss(X, y, fastbp.losses.huber(0.5)) != net.loss(X, y, "squared_error")
        assert one.gradients(X, y).loss == one.loss(X, y)
        assert fastbp.check_gradients(one, X[:5], y[:5]).loss == "huber"
    net.fit(X, y, epochs=1)
    assert net.trained_loss == fastbp.losses.huber(0.5)
    net.fit(X, y, "absolute_error", epochs=1)
    assert net.trained_loss == fastbp.losses.absolute_error


def test_a_fit_that_makes_no_step_leaves_the_loss_that_was():
    net = Network([3, 8, 2], seed=0)
    net.fit(X, y, epochs=1)
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, np.full(y.shape, 1e3), "poisson", optimizer=SGD(1e38), epochs=1, batch_size=50)
    assert net.trained_loss == fastbp.losses.squared_error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_follow_from_the_loss(dtype):
    net = Network([3, 8, 3], dtype, seed=0)
    net.fit(X, CLASSES, loss="cross_entropy", epochs=2)
    p = net.predict_proba(X)
    assert p.dtype == dtype
    f = net.predict(X).astype(float)
    np.testing.assert_allclose(p, np.exp(f) / np.exp(f).sum(1, keepdims=True), rtol=1e-5)
    labels = Network([3, 8, 2], dtype, seed=0)
    labels.fit(X, y > 0, loss="binary_cross_entropy", epochs=2)
    np.testing.assert_allclose(labels.predict_proba(X), 1 / (1 + np.exp(-labels.predict(X))), rtol=1e-5)
    binary = Network([3, 8, 1], dtype, seed=0)
    binary.fit(X, y[:, :1] > 0, loss="binary_cross_entropy", epochs=2)
    p = binary.predict_proba(X)
    assert p.shape == (50, 2)
    np.testing.assert_allclose(p[:, 1:], 1 / (1 + np.exp(-binary.predict(X))), rtol=1e-5)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
def test_probabilities_of_large_outputs_do_not_overflow(size):
    for outputs, loss in ((1, "binary_cross_entropy"), (2, "cross_entropy")):
        net = Network([1, outputs], seed=0)
        net.fit([[0.0]], np.eye(outputs)[:1], loss=loss, epochs=1)
        net.set_parameters([np.full((outputs, 1), size)], [np.zeros(outputs)])
        p = net.predict_proba([[1.0], [-1.0]])
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(1), 1)


# --- dropout, penalty, patience ------------------------------------------------------------------------------


def test_dropout_changes_the_training_and_not_the_prediction():
    assert fitted(X, y, dropout=0.0) == fitted(X, y)
    dropped = fitted(X, y, dropout=0.4, seed=1)
    assert dropped == fitted(X, y, dropout=0.4, seed=1) != fitted(X, y, seed=1)
    net = Network([3, 64, 2], seed=0)
    net.fit(X, y, dropout=0.5, epochs=2)
    assert np.array_equal(net.predict(X), net.predict(X))


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.5)], ids=str)
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 2, 50)], ids=["plain", "weighted"])
def test_a_penalty_decays_weights_alone_whatever_the_batch_size(optimizer, weights):
    net, λ = Network([3, 8, 2], "float64", seed=0), 0.3
    loss, gradients = net.loss(X, y, sample_weight=weights), net.gradients(X, y, sample_weight=weights)
    wanted_Ω = [Ω - 0.1 * (g + λ * Ω) for Ω, g in zip(net.weights, gradients.weights, strict=True)]
    wanted_β = [β - 0.1 * g for β, g in zip(net.biases, gradients.biases, strict=True)]
    squares = sum(float((Ω**2).sum()) for Ω in net.weights)
    history = net.fit(X, y, optimizer=optimizer, batch_size=50, epochs=1, l2_penalty=λ, sample_weight=weights)
    for got, wanted in zip((*net.weights, *net.biases), (*wanted_Ω, *wanted_β), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
    assert history.loss[0] == pytest.approx(loss + λ / 2 * squares, rel=1e-12)


def test_the_penalty_is_the_same_for_small_batches():
    """With rows all alike, a batch's gradient does not depend on its size, nor does the penalty."""
    rows, targets = np.ones((40, 3)), np.ones((40, 2))
    nets = [Network([3, 8, 2], "float64", seed=0) for _ in range(2)]
    for net, batch_size in zip(nets, (10, 20), strict=True):
        net.fit(rows, targets, batch_size=batch_size, epochs=batch_size // 10, l2_penalty=0.5)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def overfit(**options):
    """Fit a large network to few noisy rows."""
    rng = np.random.default_rng(3)
    rows, noise, others = rng.standard_normal((20, 3)), rng.standard_normal(20), rng.standard_normal((200, 3))
    net = Network([3, 64, 1], seed=0)
    held_out = others, others[:, 0]
    history = net.fit(
        rows, rows[:, 0] + noise, optimizer=fastbp.Adam(0.01), epochs=300, validation_data=held_out, **options
    )
    return net, history, held_out


def test_patience_ends_a_fit_and_the_best_epoch_is_kept():
    net, history, held_out = overfit(patience=5)
    best = int(np.argmin(history.validation_loss))
    assert len(history.loss) == best + 1 + 5 < 300
    assert net.loss(*held_out) == history.validation_loss[best]


def test_without_restoring_the_last_epoch_is_kept():
    net, history, held_out = overfit(patience=5, restore_best=False)
    assert net.loss(*held_out) == history.validation_loss[-1] > min(history.validation_loss)


def test_without_patience_every_epoch_is_made_and_the_last_one_kept():
    net, history, held_out = overfit()
    assert len(history.loss) == 300
    assert net.loss(*held_out) == history.validation_loss[-1]


def test_patience_watches_the_training_loss_where_no_rows_are_held_out():
    net = Network([3, 8, 2], seed=0)
    history = net.fit(X, y, optimizer=SGD(0.5, momentum=0.9), epochs=400, patience=3, batch_size=50)
    best = len(history.loss) - 1 - 3
    assert min(history.loss) == history.loss[best]
    assert len(history.loss) < 400


def test_a_callback_ends_a_fit_before_patience_does():
    net, history, held_out = overfit(patience=50, callback=lambda progress: progress.epoch == 2)
    assert len(history.loss) == 2
    assert net.loss(*held_out) == min(history.validation_loss)


# --- schedules that span a fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "epochs"), [(50, 10), (7, 3), (1, 2)])
def test_a_schedule_without_steps_spans_the_fit(batch_size, epochs):
    steps = epochs * -(-50 // batch_size)
    spanning, counted = fastbp.schedules.Cosine(0.05, final=0.01), fastbp.schedules.Cosine(0.05, steps, 0.01)
    options = {"batch_size": batch_size, "epochs": epochs}
    nets = [Network([3, 8, 2], seed=0) for _ in range(2)]
    histories = [
        net.fit(X, y, optimizer=SGD(rate), **options) for net, rate in zip(nets, (spanning, counted), strict=True)
    ]
    assert histories[0].learning_rate == histories[1].learning_rate
    assert bits(nets[0])[0] == bits(nets[1])[0]


def test_a_schedule_that_spans_a_fit_begins_anew_with_the_next():
    net, schedule = Network([3, 8, 2], seed=0), fastbp.schedules.Cosine(0.05)
    first, second = (net.fit(X, y, optimizer=SGD(schedule), epochs=4, batch_size=10).learning_rate for _ in range(2))
    assert first == second == sorted(first, reverse=True)
    assert net.to_tensors()[1]["step"] == 40


NUMPY = [
    *(SGD(dtype(0.1)) for dtype in (np.float16, np.float32, np.float64, np.longdouble)),
    SGD(np.int64(0)),
    SGD(0.1, momentum=np.longdouble(0.5), nesterov=np.bool_(True), weight_decay=np.int8(0)),
    Adam(np.float32(0.1), beta_1=np.float32(0.5), beta_2=np.longdouble(0.9), epsilon=np.float16(1e-3)),
    SGD(schedules.Constant(np.longdouble(0.1))),
    SGD(schedules.Step(np.float32(0.1), np.uint64(2), np.float16(0.5))),
    SGD(schedules.Cosine(np.float32(0.1), np.uint8(3), np.float64(0))),
    SGD(schedules.LogarithmicCosine(np.float32(0.1), np.int16(9), np.int8(7))),
    SGD(schedules.InverseScaling(np.float16(0.1), np.int32(1))),
    SGD(schedules.WarmUp(np.longdouble(0.1), np.uint8(2))),
    SGD(schedules.Step(np.longdouble(0.1), 2)),
    SGD(schedules.Cosine(np.longdouble(0.1), final=np.longdouble(0.01))),
    SGD(schedules.InverseScaling(np.longdouble(0.1), np.longdouble(0.5))),
    SGD(schedules.LogarithmicCosine(np.longdouble(0.1))),
    SGD(schedules.WarmUp(schedules.Cosine(np.float32(0.1)), np.uint8(200))),
]


@pytest.mark.parametrize("optimizer", NUMPY, ids=str)
def test_a_network_fitted_with_numpys_numbers_is_saved_and_goes_on_to_the_bit(tmp_path, optimizer):
    X, y = np.linspace(-1, 1, 30).reshape(10, 3), np.linspace(0, 1, 10)
    network = Network([np.int64(3), np.uint8(4), np.int16(1)], seed=np.int64(0))
    whole = {"batch_size": np.int64(3), "n_threads": np.uint8(1), "seed": np.uint64(1), "patience": np.int8(9)}
    network.fit(X, y, optimizer=optimizer, epochs=np.int32(2), dropout=np.float32(0.1), **whole)
    network.save(tmp_path / "model.fastbp")
    again = Network.load(tmp_path / "model.fastbp")
    for one in (network, again):
        one.fit(X, y, optimizer=optimizer, epochs=1)
    for got, wanted in zip(again.weights, network.weights, strict=True):
        assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_a_schedule_counts_with_the_whole_numbers_of_any_dtype(dtype):
    steps = np.arange(300)
    for made in (
        lambda whole: schedules.WarmUp(schedules.Cosine(0.1), whole(100)).over(0, 300),
        lambda whole: schedules.LogarithmicCosine(0.1, 300, whole(7)),
        lambda whole: schedules.Step(0.1, whole(3)),
        lambda whole: schedules.Cosine(0.1, whole(99)),
    ):
        np.testing.assert_array_equal(made(dtype)(steps), made(int)(steps))
