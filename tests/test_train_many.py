"""`train_many` trains each network to the bits of `Network.fit` alone, whatever trains beside it."""

import copy
import itertools
import signal
import threading
import time

import numpy as np
import pytest
from networks import bits

import fastbp
from fastbp import SGD, Adagrad, Adam, AdamW, DivergenceError, Halving, Lion, Network, RMSprop, schedules
from fastbp.runs import fitting

N, D = 90, 5
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((N, D))
Y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * RANDOM.standard_normal(N)
HELD_OUT = RANDOM.standard_normal((40, D)), RANDOM.standard_normal(40)
WEIGHTED = *HELD_OUT, RANDOM.uniform(0, 3, 40)
WEIGHTS = RANDOM.uniform(0, 3, N)

CHOICES = {
    "optimizer": [
        SGD(0.05),
        SGD(0.02, momentum=0.9, nesterov=True, max_gradient_norm=1.0),
        Adam(schedules.Cosine(0.01)),
        AdamW(0.01, weight_decay=0.1),
        RMSprop(schedules.WarmUp(0.01, 5)),
        Adagrad(0.05),
        Lion(lambda step: 0.003 / (1 + step)),
    ],
    "batch_size": [1, 7, 32, 64, 1000],
    "epochs": [1, 3, 8, 12],
    "shuffle": [True, True, False],
    "drop_last": [False, False, True],
    "seed": [None, 1, 2],
    "dropout": [0.0, 0.0, 0.3],
    "l2_penalty": [0.0, 0.0, 0.01],
    "patience": [None, 1, 2],
    "restore_best": [True, True, False],
    "sample_weight": [None, WEIGHTS],
    "validation_data": [None, HELD_OUT, WEIGHTED],
    "loss": ["squared_error", "squared_error", "huber"],
}
ROWS = [None, np.arange(60), RANDOM.integers(0, N, 80), X[:, 0] > 0, [3]]
SIZES = [(D, 1), (D, 16, 1), (D, 33, 17, 1), (D, 8, 8, 8, 1)]


def drawn(seed):
    """Return a network, its settings, and its rows, drawn at random."""
    random = np.random.default_rng(seed)

    def one_of(values):
        return values[random.integers(len(values))]

    own = {name: one_of(values) for name, values in CHOICES.items() if random.random() < 0.7}
    sizes, activation = one_of(SIZES), one_of(["relu", "tanh", "gelu"])
    network = Network(sizes, one_of(["float32", "float32", "float64"]), seed=seed, activation=activation)
    return network, own, one_of(ROWS)


def alone(network, own, rows=None, **common):
    """Return the history of a fit of the network alone, with one thread."""
    options = {"epochs": 4, "batch_size": 16, **common, **own}
    x, y, weights = X, Y, options.pop("sample_weight", None)
    if rows is not None:
        x, y, weights = x[rows], y[rows], None if weights is None else weights[rows]
    return network.fit(x, y, sample_weight=weights, n_threads=1, **options)


def told(history):
    """Return all of a history but the seconds."""
    assert len(history.seconds) == len(history.loss)
    return history.loss, history.validation_loss, history.learning_rate, history.ended_by


def check_equal(networks, histories, twins, theirs):
    for k, (network, history, twin, their) in enumerate(zip(networks, histories, twins, theirs, strict=True)):
        assert told(history) == told(their), k
        assert bits(network) == bits(twin), k


@pytest.mark.parametrize("n_threads", [1, 3])
def test_each_network_gets_the_bits_of_a_fit_alone(n_threads):
    networks, own, rows = zip(*map(drawn, range(80)), strict=True)
    twins = copy.deepcopy(networks)
    options = {"settings": own, "rows": rows, "epochs": 4, "batch_size": 16, "n_threads": n_threads}
    histories = fastbp.train_many(networks, X, Y, **options)
    check_equal(networks, histories, twins, [alone(*each) for each in zip(twins, own, rows, strict=True)])
    assert {history.ended_by for history in histories} == {"epochs", "patience"}


def test_the_division_into_slices_changes_no_bit(monkeypatch):
    monkeypatch.setattr(fitting, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "_FIRST_SLICE_WORK", 1)
    test_each_network_gets_the_bits_of_a_fit_alone(2)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_classes_and_several_outputs(loss):
    classes = np.digitize(X[:, 0], [-0.5, 0.5])
    y = classes if loss == "cross_entropy" else np.eye(3)[classes]
    networks = [Network([D, 8, 3], seed=seed) for seed in range(4)]
    twins, rows = copy.deepcopy(networks), [np.arange(20, N), None, np.arange(30), None]
    options = {"loss": loss, "optimizer": Adam(0.01), "epochs": 5, "sample_weight": WEIGHTS, "patience": 2}
    histories = fastbp.train_many(networks, X, y, rows=rows, **options)
    del options["sample_weight"]
    theirs = []
    for twin, chosen in zip(twins, rows, strict=True):
        chosen = np.arange(N) if chosen is None else chosen
        theirs.append(twin.fit(X[chosen], y[chosen], sample_weight=WEIGHTS[chosen], n_threads=1, **options))
    check_equal(networks, histories, twins, theirs)


def test_losses_and_activations_of_the_user():
    def difference(f, y):
        return (f - y) ** 2 / 2, f - y

    own = [{"loss": fastbp.losses.custom(difference)}, {"loss": "quantile"}]
    networks = [Network([D, 8, 1], seed=seed) for seed in range(2)]
    twins = copy.deepcopy(networks)
    histories = fastbp.train_many(networks, X, Y, settings=own, validation_data=HELD_OUT, epochs=3)
    theirs = [
        alone(twin, each, validation_data=HELD_OUT, epochs=3, batch_size=32)
        for twin, each in zip(twins, own, strict=True)
    ]
    check_equal(networks, histories, twins, theirs)


def test_folds_hold_out_their_rows_and_train_on_the_others():
    folds = np.array_split(np.random.default_rng(1).permutation(N), 4)
    networks = [Network([D, 8, 1], seed=0) for _ in folds]
    twins, options = copy.deepcopy(networks), {"optimizer": Adam(0.03), "epochs": 30, "patience": 2, "seed": 5}
    histories = fastbp.train_many(networks, X, Y, validation_rows=folds, sample_weight=WEIGHTS, **options)
    theirs = []
    for twin, fold in zip(twins, folds, strict=True):
        held_out = X[fold], Y[fold], WEIGHTS[fold]
        others = np.setdiff1d(np.arange(N), fold)
        theirs.append(
            alone(twin, {}, others, sample_weight=WEIGHTS, validation_data=held_out, batch_size=32, **options)
        )
    check_equal(networks, histories, twins, theirs)


def test_training_goes_on_where_it_ended():
    networks = [Network([D, 8, 1], seed=seed) for seed in range(3)]
    twins = copy.deepcopy(networks)
    for epochs in (2, 3):
        fastbp.train_many(networks, X, Y, optimizer=Adam(0.01), epochs=epochs, validation_data=HELD_OUT)
    for twin in twins:
        twin.fit(X, Y, optimizer=Adam(0.01), epochs=5)
    assert list(map(bits, networks)) == list(map(bits, twins))


def test_a_memory_map_and_a_frame_are_tables(tmp_path):
    pandas = pytest.importorskip("pandas")
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    plain = Network([D, 8, 1], seed=0)
    fastbp.train_many([plain], mapped[:], Y, epochs=2)
    for table, rows in itertools.product((mapped, pandas.DataFrame(X.astype(np.float32))), (None, [np.arange(N)])):
        network = Network([D, 8, 1], seed=0)
        fastbp.train_many([network], table, Y, rows=rows, epochs=2)
        assert bits(network) == bits(plain)


def test_weights_of_other_rows_do_not_count():
    weights = np.where(np.arange(N) == 0, 1e30, 1e-30 * WEIGHTS)
    network, twin = Network([D, 8, 1], seed=0), Network([D, 8, 1], seed=0)
    fastbp.train_many([network], X, Y, rows=[np.arange(1, N)], sample_weight=weights, epochs=2)
    twin.fit(X[1:], Y[1:], sample_weight=weights[1:], epochs=2)
    assert bits(network) == bits(twin)


# --- networks that diverge ----------------------------------------------------------------------------------


def explosion_after(steps):
    """Return a schedule whose next step gives infinite parameters, while its loss is finite."""
    return lambda step: 0.01 if step < steps else 1e39


@pytest.mark.parametrize("options", [{}, {"validation_data": HELD_OUT}, {"patience": 4, "validation_data": HELD_OUT}])
def test_a_network_that_diverges_keeps_what_it_keeps_alone(options):
    rates = [0.01, 3.0, 0.02, 1e39, explosion_after(11), explosion_after(89)]
    own = [{"optimizer": SGD(rate), "epochs": 30} for rate in rates]
    own[4]["patience"] = 2
    networks = [Network([D, 8, 1], seed=seed) for seed in range(6)]
    twins = copy.deepcopy(networks)
    with pytest.warns(RuntimeWarning, match=r"networks 1, 3, 4(, 5)? diverged; network 1: training diverged in epoch"):
        histories = fastbp.train_many(networks, X, Y, settings=own, **options)
    theirs = []
    for twin, each in zip(twins, own, strict=True):
        try:
            theirs.append(alone(twin, each, batch_size=32, **options))
        except DivergenceError as error:
            theirs.append(error.history)
    check_equal(networks, histories, twins, theirs)
    assert [len(history.loss) for history in histories[3:5]] == [0, 3]
    assert [history.ended_by == "divergence" for history in histories[:5]] == [False, True, False, True, True]


def test_an_error_tells_that_every_network_diverged():
    networks = [Network([D, 8, 1], seed=seed) for seed in range(2)]
    with pytest.raises(DivergenceError):
        fastbp.train_many(networks, X, Y, optimizer=SGD(50.0), epochs=30)


# --- callbacks ----------------------------------------------------------------------------------------------


def test_a_callback_sees_every_epoch_of_every_network_in_the_calling_thread():
    seen, networks = [], [Network([D, 8, 1], seed=seed) for seed in range(5)]
    twins = copy.deepcopy(networks)

    def see(progress):
        assert threading.current_thread() is threading.main_thread()
        assert progress.model is networks[progress.network]
        seen.append((progress.network, progress.epoch, progress.loss, progress.validation_loss, bits(progress.model)))

    fastbp.train_many(networks, X, Y, validation_data=HELD_OUT, callback=see, epochs=3, n_threads=2)
    expected = []
    for k, twin in enumerate(twins):
        twin.fit(
            *(X, Y),
            validation_data=HELD_OUT,
            callback=lambda p, k=k: expected.append((k, p.epoch, p.loss, p.validation_loss, bits(p.model))),
            epochs=3,
        )
    assert sorted(seen, key=lambda each: each[:2]) == expected


def test_a_callback_ends_its_network_alone():
    networks = [Network([D, 8, 1], seed=seed) for seed in range(3)]
    twins = copy.deepcopy(networks)
    options = {"epochs": 6, "batch_size": 32, "patience": 5, "validation_data": HELD_OUT}
    histories = fastbp.train_many(networks, X, Y, callback=lambda p: p.network == 1 and p.epoch == 2, **options)
    theirs = [
        alone(twin, {}, callback=lambda p, k=k: k == 1 and p.epoch == 2, **options) for k, twin in enumerate(twins)
    ]
    check_equal(networks, histories, twins, theirs)
    assert [history.ended_by for history in histories] == ["epochs", "callback", "epochs"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_an_error_in_a_callback_ends_all_networks(error):
    networks = [Network([D, 8, 1], seed=seed) for seed in range(4)]

    def fail(progress):
        if progress.epoch == 3:
            raise error

    with pytest.raises(type(error)):
        fastbp.train_many(networks, X, Y, callback=fail, epochs=10**6, n_threads=2)
    assert all(np.isfinite(network.predict(X)).all() for network in networks)
    fastbp.train_many(networks, X, Y, epochs=1)  # the networks are free


def test_ctrl_c_ends_all_networks_soon():
    networks, main = [Network([D, 8, 1], seed=seed) for seed in range(4)], threading.main_thread()
    before = bits(networks[0])
    threading.Timer(0.5, lambda: signal.pthread_kill(main.ident, signal.SIGINT)).start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        fastbp.train_many(networks, X, Y, epochs=10**7, validation_data=HELD_OUT, n_threads=2)
    assert time.perf_counter() - started < 5
    assert bits(networks[0]) != before
    assert np.isfinite(networks[0].predict(X)).all()


# --- successive halving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("halving", "n", "epochs", "rungs"),
    [
        (Halving(), 64, 100, [(10, 32), (20, 16), (40, 8), (80, 4)]),
        (Halving(first=3, factor=3), 10, 30, [(3, 4), (9, 2), (27, 1)]),
        (Halving(first=1, factor=1.5, least=3), 5, 9, [(1, 4), (2, 3)]),
        (Halving(least=9), 5, 100, []),
        (Halving(first=10), 64, 10, []),
    ],
)
def test_rungs(halving, n, epochs, rungs):
    assert list(halving.rungs(n, epochs)) == rungs


@pytest.mark.parametrize("patience", [None, 3])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_halving_keeps_the_networks_with_the_least_held_out_losses(n_threads, patience):
    own = [
        {"optimizer": Adam(rate, weight_decay=0.01), "seed": k} for k, rate in enumerate(np.geomspace(1e-4, 0.1, 11))
    ]
    networks = [Network([D, 16, 1], seed=seed) for seed in range(11)]
    twins, options = copy.deepcopy(networks), {"validation_data": HELD_OUT, "epochs": 13, "patience": patience}
    histories = fastbp.train_many(
        networks, X, Y, settings=own, halving=Halving(2, factor=2, least=2), n_threads=n_threads, **options
    )
    whole = [alone(copy.deepcopy(twin), each, batch_size=32, **options) for twin, each in zip(twins, own, strict=True)]
    ends, left = [13] * 11, list(range(11))
    for epoch, kept in [(2, 6), (4, 3), (8, 2)]:
        losses = [whole[k].validation_loss[:epoch] for k in left]
        errors = [min(each) if patience else each[-1] for each in losses]
        order = [left[i] for i in np.argsort(errors, kind="stable")]
        for k in order[kept:]:
            ends[k] = epoch
        left = order[:kept]
    theirs = []
    for twin, each, end, unhalved in zip(twins, own, ends, whole, strict=True):
        end = end if end < len(unhalved.loss) else None
        their = alone(twin, each, callback=lambda p, end=end: p.epoch == end, batch_size=32, **options)
        their.ended_by = "halving" if their.ended_by == "callback" else their.ended_by
        theirs.append(their)
    check_equal(networks, histories, twins, theirs)
    assert [history.ended_by for history in histories].count("halving") >= 5


def test_a_network_that_diverged_is_no_rival():
    networks = [Network([D, 8, 1], seed=seed) for seed in (1, 0)]
    own = [{"optimizer": SGD(explosion_after(3))}, {"optimizer": SGD(1e-9)}]
    with pytest.warns(RuntimeWarning, match="network 0 diverged"):
        histories = fastbp.train_many(
            networks, X, Y, settings=own, validation_data=HELD_OUT, epochs=5, halving=Halving(first=2)
        )
    assert histories[0].validation_loss[0] < histories[1].validation_loss[1]
    assert [history.ended_by for history in histories] == ["divergence", "epochs"]


# --- what is refused ----------------------------------------------------------------------------------------

TWO = {"networks": [Network([D, 4, 1], seed=0), Network([D, 8, 1], seed=0)]}
WRONG = {
    "one network": ({"networks": TWO["networks"][0]}, TypeError, "networks must be a list of Network"),
    "no network": ({"networks": []}, ValueError, "networks holds no network"),
    "no Network": ({"networks": [3]}, TypeError, r"networks\[0\] must be an instance of Network"),
    "the same twice": ({"networks": TWO["networks"][:1] * 2}, ValueError, r"networks\[1\] is networks\[0\]"),
    "chunks": ({"X": lambda: []}, TypeError, "train_many takes one table"),
    "X": ({"X": X[:, 1:]}, ValueError, "^X must have 5 columns"),
    "y": ({"y": np.full(N, np.nan)}, ValueError, "^y holds nan"),
    "other sizes": (
        {"networks": [TWO["networks"][0], Network([D + 1, 1])]},
        ValueError,
        r"^networks\[1\]: X must have 6 columns",
    ),
    "common": ({"batch_size": 0}, ValueError, "^batch_size must be at least 1"),
    "own": ({"settings": [{}, {"batch_size": 0}]}, ValueError, r"^settings\[1\]: batch_size must be at least 1"),
    "own optimizer": ({"settings": [{}, {"optimizer": "adam"}]}, TypeError, r"^settings\[1\]: optimizer must"),
    "own callback": ({"settings": [{"callback": 3}, {}]}, TypeError, r"^settings\[0\]: callback must be a function"),
    "unknown": (
        {"settings": [{}, {"batchsize": 8}]},
        ValueError,
        r"^settings\[1\] has no setting 'batchsize'; .*batch_s",
    ),
    "one setting": ({"settings": [{}]}, ValueError, "settings must have an entry for each of the 2 networks, got 1"),
    "a mapping": ({"settings": {"epochs": 3}}, TypeError, "settings must be a list with an entry for each network"),
    "no mapping": ({"settings": [{}, 3]}, TypeError, r"settings\[1\] must be a mapping"),
    "rows": (
        {"rows": [None, [N]]},
        ValueError,
        rf"rows\[1\] must hold row numbers from 0 to {N - 1}, got {N} at \[0\]",
    ),
    "no rows": ({"rows": [[], None]}, ValueError, r"rows\[0\] holds no rows"),
    "a mask": ({"rows": [None, [True]]}, ValueError, rf"rows\[1\] must hold {N} truth values"),
    "fractions": ({"rows": [None, [0.5]]}, TypeError, r"rows\[1\] must hold whole numbers"),
    "all held out": ({"validation_rows": [None, range(N)]}, ValueError, r"validation_rows\[1\] leaves no rows"),
    "both": ({"validation_rows": [[1], [2]], "validation_data": HELD_OUT}, ValueError, "pass one of them"),
    "weights": ({"sample_weight": WEIGHTS[1:]}, ValueError, "^sample_weight must be of shape"),
    "no weight": (
        {"sample_weight": np.eye(N)[0], "rows": [None, [1, 2]]},
        ValueError,
        "sample_weight of these rows must not be 0",
    ),
    "validation": ({"validation_data": (X[:, 1:], Y)}, ValueError, "^validation X must have 5 columns"),
    "threads": ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
    "halving": ({"halving": 2}, TypeError, "halving must be an instance of Halving"),
    "nothing held out": ({"halving": Halving()}, ValueError, r"networks\[0\] has none: pass validation_data"),
    "losses": (
        {"halving": Halving(), "validation_data": HELD_OUT, "settings": [{}, {"loss": "huber"}]},
        ValueError,
        "halving cannot compare different losses",
    ),
}


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_one_error_before_the_first_step(wrong, kind, message):
    before = list(map(bits, TWO["networks"]))
    with pytest.raises(kind, match=message):
        fastbp.train_many(**{**TWO, "X": X, "y": Y, **wrong})
    assert list(map(bits, TWO["networks"])) == before


@pytest.mark.parametrize(("name", "value"), [("first", 0), ("factor", 1), ("least", 0), ("factor", "2")])
def test_wrong_halvings(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
        Halving(**{name: value})


def test_a_network_that_is_being_fitted_is_refused():
    free, busy = Network([D, 4, 1], seed=0), Network([D, 4, 1], seed=0)
    before = bits(free)

    def meanwhile(_):
        with pytest.raises(RuntimeError, match="is being fitted"):
            fastbp.train_many([free, busy], X, Y)

    busy.fit(X, Y, epochs=1, callback=meanwhile)
    assert bits(free) == before
    fastbp.train_many([free, busy], X, Y, epochs=1)


def test_progress_is_shown(capsys):
    networks = [Network([D, 4, 1], seed=seed) for seed in range(3)]
    fastbp.train_many(networks, X, Y, epochs=2, validation_data=HELD_OUT, verbose=True)
    assert "3 of 3 networks  6 epochs  least validation loss 0." in capsys.readouterr().err
