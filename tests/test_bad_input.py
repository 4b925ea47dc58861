"""Every wrong call says which argument was wrong and what it got, and leaves the network as it was, to the bit."""

import dataclasses
import datetime
import re
from functools import partial

import numpy as np
import pytest
from networks import bits

from fastbp import SGD, Adagrad, Adam, AdamW, Lion, Network, RMSprop, losses, schedules

NAN, INF, HUGE = float("nan"), float("inf"), 10**400
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
y = RNG.standard_normal(20)
CLASSES = np.arange(20) % 3
ONE_HOT = np.eye(3)[CLASSES]


def with_one(array, value):
    """Return a copy whose fourth number is `value`."""
    copy = array.astype(object) if not isinstance(value, float) else array.astype(float)
    copy.flat[3] = value
    return copy


def trained(n_outputs, dtype="float32"):
    """Return a network whose moments, step and random state are not those that it began with."""
    net = Network([3, 4, n_outputs], dtype, seed=0)
    net.fit(X, np.ones((20, n_outputs)), optimizer=Adam(), epochs=1)
    return net


@pytest.fixture(scope="module")
def world():
    """What the calls below are made of."""
    net, classifier, double = trained(1), trained(3), trained(1, "float64")
    tensors, metadata = net.to_tensors()
    return {
        **{
            "replace": dataclasses.replace,
            "np": np,
            "datetime": datetime,
            "losses": losses,
            "schedules": schedules,
            "with_one": with_one,
        },
        **{"AdamW": AdamW, "RMSprop": RMSprop, "Adagrad": Adagrad, "Lion": Lion},
        **{"Network": Network, "SGD": SGD, "Adam": Adam, "NAN": NAN, "INF": INF, "HUGE": HUGE},
        **{"X": X, "y": y, "CLASSES": CLASSES, "ONE_HOT": ONE_HOT, "Ω": net.weights, "β": net.biases},
        **{"net": net, "classifier": classifier, "double": double, "this_file": __file__},
        "fit": partial(net.fit, X, y),
        "classify": partial(classifier.fit, X, loss="cross_entropy"),
        "without": lambda *names: Network.from_tensors({k: tensors[k] for k in tensors.keys() - names}, metadata),
        "with_tensor": lambda name, value: Network.from_tensors({**tensors, name: value}, metadata),
        "with_metadata": lambda **changed: Network.from_tensors(tensors, {**metadata, **changed}),
    }


TABLE = [
    # --- Network
    ("Network(5)", TypeError, "layer_sizes must be a list such as [16, 64, 1], got 5"),
    ("Network('3, 1')", TypeError, "layer_sizes must be a list such as [16, 64, 1], got '3, 1'"),
    ("Network(np.array(3))", TypeError, "layer_sizes must be a list such as [16, 64, 1], got array(3)"),
    (
        "Network([3, 1], activation='sigmoid')",
        ValueError,
        "activation must be one of relu, identity, tanh, logistic, leaky_relu, … got 'sigmoid'",
    ),
    (
        "Network([3, 1], activation=None)",
        TypeError,
        "activation must be a name or one of fastbp.activations, got None",
    ),
    ("Network([3])", ValueError, "layer_sizes must hold at least the inputs and the outputs, got [3]"),
    ("Network([3, 0, 1])", ValueError, "layer_sizes[1] must be at least 1, got 0"),
    ("Network([3, -4, 1])", ValueError, "layer_sizes[1] must be at least 1, got -4"),
    ("Network([3, 4.0, 1])", TypeError, "layer_sizes[1] must be a whole number, got 4.0"),
    ("Network([3, True, 1])", TypeError, "layer_sizes[1] must be a whole number, got True"),
    ("Network([3, '4', 1])", TypeError, "layer_sizes[1] must be a whole number, got '4'"),
    ("Network([[3, 4], [4, 1]])", TypeError, "layer_sizes[0] must be a whole number, got [3, 4]"),
    ("Network([3, 2**40, 1])", ValueError, "layer_sizes [3, 1099511627776, 1] ask for 5.5e+12 parameters; at most"),
    ("Network([3, HUGE, 1])", ValueError, "layer_sizes[1] must be at most 9223372036854775807, got 1000"),
    ("Network([3, 1], dtype='float16')", ValueError, "dtype must be float32 or float64, got 'float16'"),
    ("Network([3, 1], dtype='single-ish')", ValueError, "dtype must be float32 or float64, got 'single-ish'"),
    ("Network([3, 1], dtype=None)", ValueError, "dtype must be float32 or float64, got None"),
    ("Network([3, 1], seed=-1)", ValueError, "seed must be at least 0, got -1"),
    ("Network([3, 1], seed=1.5)", TypeError, "seed must be a whole number, got 1.5"),
    ("Network([3, 1], seed='a')", TypeError, "seed must be a whole number, got 'a'"),
    ("Network([3, 1], seed=10**5000)", ValueError, "seed must be at most 340282366920938463463374607431768211455, got"),
    # --- set_parameters
    ("net.set_parameters(Ω, β[:1])", ValueError, "biases must hold 2 arrays, one a layer; got 1"),
    ("net.set_parameters(None, β)", TypeError, "weights must be a list of 2 arrays, got None"),
    ("net.set_parameters([a.T for a in Ω], β)", ValueError, "weights[0] must be of shape (4, 3), got (3, 4)"),
    ("net.set_parameters(Ω, [β[0], 0.0])", ValueError, "biases[1] must be of shape (1,), got ()"),
    ("net.set_parameters(Ω, [β[0], [NAN]])", ValueError, "biases[1] holds nan at [0]: not a finite number"),
    ("net.set_parameters(Ω, [β[0], [1e39]])", ValueError, "biases[1] holds 1e+39 at [0]: too large for float32"),
    ("net.set_parameters(Ω, [β[0], [1j]])", TypeError, "biases[1] must hold real numbers, got an array of complex128"),
    # --- X
    ("net.predict(None)", TypeError, "X must be an array of numbers, got None"),
    ("net.predict('X.csv')", TypeError, "X must be an array of numbers, got 'X.csv'"),
    ("net.predict({'a': 1})", TypeError, "X must be an array of numbers, got {'a': 1}"),
    ("net.predict(3.0)", ValueError, "X must be of shape (n, 3), one row a sample, got ()"),
    ("net.predict(X[0])", ValueError, "X must be of shape (n, 3), one row a sample, got (3,): X.reshape(-1, 1) is one"),
    ("net.predict(X[None])", ValueError, "X must be of shape (n, 3), one row a sample, got (1, 20, 3)"),
    ("net.predict(X[:, :2])", ValueError, "X must have 3 columns, one per input of the network; got (20, 2)"),
    ("net.predict(X.T)", ValueError, "X must have 3 columns, … of the network; got (3, 20): one row a sample"),
    ("net.predict([])", ValueError, "X must be of shape (n, 3), one row a sample, got (0,)"),
    ("net.predict([[1, 2, 3], [4]])", ValueError, "X must be a rectangular array of numbers"),
    ("net.predict([['1', '2', '3']])", TypeError, "X must hold real numbers, got an array of str"),
    ("net.predict([[b'1', b'2', b'3']])", TypeError, "X must hold real numbers, got an array of bytes"),
    ("net.predict(X + 1j)", TypeError, "X must hold real numbers, got an array of complex128"),
    ("net.predict(X.astype('m8[s]'))", TypeError, "X must hold real numbers, got an array of timedelta64"),
    ("net.predict(with_one(X, 'red'))", TypeError, "X must hold numbers, got 'red' at [1, 0]"),
    ("net.predict(with_one(X, '3'))", TypeError, "X must hold numbers, got '3' at [1, 0]"),
    ("net.predict(with_one(X, 1j))", TypeError, "X must hold numbers, got 1j at [1, 0]"),
    ("net.predict(with_one(X, [1, 2]))", TypeError, "X must hold numbers, got [1, 2] at [1, 0]"),
    ("net.predict(with_one(X, datetime.date(1986, 10, 9)))", TypeError, "X must hold numbers, got datetime.date(1986"),
    ("net.predict(with_one(X, np.datetime64('1986')))", TypeError, "X must hold numbers, got np.datetime64('1986') at"),
    ("net.predict(with_one(X, None))", ValueError, "X holds None at [1, 0]: fill what is missing first"),
    ("net.predict(with_one(X, HUGE))", ValueError, "X holds 1000"),
    ("net.predict(with_one(X, 1e39))", ValueError, "X holds 1e+39 at [1, 0]: too large for float32"),
    ("double.predict(with_one(X, HUGE))", ValueError, "too large for float64"),
    ("net.forward(with_one(X, NAN))", ValueError, "X holds nan at [1, 0]: not a finite number"),
    ("net.loss(with_one(X, INF), y)", ValueError, "X holds inf at [1, 0]: not a finite number"),
    ("net.gradients(with_one(X, -INF), y)", ValueError, "X holds -inf at [1, 0]: not a finite number"),
    ("net.fit(with_one(X, NAN), y)", ValueError, "X holds nan at [1, 0]: not a finite number"),
    ("net.predict(np.ma.masked_greater(X, 0))", ValueError, "X has masked entries; fill them first"),
    ("net.fit(X[:0], y[:0])", ValueError, "X holds no rows"),
    ("net.loss(X[:0], y[:0])", ValueError, "X holds no rows"),
    # --- y
    ("net.fit(X, None)", TypeError, "y must be an array of numbers, got None"),
    ("net.fit(X, y[:5])", ValueError, "y must be of shape (20, 1) or (20,), as X has 20 rows and … got (5,)"),
    ("net.fit(X[:5], y)", ValueError, "y must be of shape (5, 1) or (5,), as X has 5 rows and … got (20,)"),
    ("net.fit(X, y[None])", ValueError, "y must be of shape (20, 1) or (20,) … got (1, 20)"),
    ("net.fit(X, X)", ValueError, "y must be of shape (20, 1) … and the network 1 output; got (20, 3)"),
    ("classifier.fit(X, X.T)", ValueError, "y must be of shape (20, 3) … and the network 3 outputs; got (3, 20)"),
    ("classifier.fit(X, CLASSES)", ValueError, "y must be of shape (20, 3) … got (20,)"),
    ("net.fit(X, with_one(y, NAN))", ValueError, "y holds nan at [3]: not a finite number"),
    ("net.gradients(X, with_one(y, -INF))", ValueError, "y holds -inf at [3]: not a finite number"),
    ("net.fit(X, with_one(y, 1e39))", ValueError, "y holds 1e+39 at [3]: too large for float32"),
    ("net.fit(X, np.datetime64('1986') + CLASSES)", TypeError, "y must hold real numbers, got an array of datetime64"),
    ("net.fit(X, y - 5, 'binary_cross_entropy')", ValueError, "y must lie in [0, 1] for binary_cross_entropy, got -"),
    ("net.fit(X, CLASSES, 'binary_cross_entropy')", ValueError, "y must lie in [0, 1] for binary … got 2.0 at [2, 0]"),
    ("net.fit(X, with_one(y**2, -1.0), 'poisson')", ValueError, "y must not be negative for poisson, got -1.0 at [3"),
    ("net.fit(X, CLASSES, 'cross_entropy')", ValueError, "y must be 1 throughout for cross_entropy of a single output"),
    ("classify(CLASSES + 1)", ValueError, "y must hold class numbers 0 to 2 … got 3 at [2]"),
    ("classify(CLASSES - 1)", ValueError, "y must hold class numbers 0 to 2 … got -1 at [0]"),
    ("classify(with_one(CLASSES, 0.5))", ValueError, "y must hold class numbers 0 to 2 … got 0.5 at [3]"),
    ("classify(with_one(CLASSES, NAN))", ValueError, "y must hold class numbers 0 to 2 … got nan at [3]"),
    ("classify(with_one(CLASSES, HUGE))", ValueError, "y holds 1000 … at [3]: too large"),
    ("classify([2**63] * 20)", ValueError, "y must hold class numbers 0 to 2 … got 9223372036854775808"),
    ("classify(['a'] * 20)", TypeError, "y must hold real numbers, got an array of str"),
    (
        "classify(CLASSES[:, None])",
        ValueError,
        "y must be of shape (20, 3) … got (20, 1): y.ravel() is a list of class",
    ),
    ("classify(ONE_HOT[:, :2])", ValueError, "y must be of shape (20, 3), or (20,) of class numbers … got (20, 2)"),
    ("classify(2 * ONE_HOT)", ValueError, "y must lie in [0, 1] for cross_entropy, got 2.0 at [0, 0]"),
    ("classify(ONE_HOT / 2)", ValueError, "y must hold probabilities for cross_entropy, but row 0 adds up to 0.5"),
    # --- sample_weight
    ("fit(sample_weight='balanced')", TypeError, "sample_weight must be an array of numbers, got 'balanced'"),
    ("fit(sample_weight=2.0)", ValueError, "sample_weight must be of shape (20,), one number a row; got ()"),
    ("fit(sample_weight=np.ones(19))", ValueError, "sample_weight must be of shape (20,), one number a row; got (19,)"),
    (
        "fit(sample_weight=with_one(np.ones(20), -1.0))",
        ValueError,
        "sample_weight must not be negative, got -1.0 at [3]",
    ),
    (
        "fit(sample_weight=with_one(np.ones(20), NAN))",
        ValueError,
        "sample_weight holds nan at [3]: not a finite number",
    ),
    ("fit(sample_weight=with_one(np.ones(20), None))", ValueError, "sample_weight holds None at [3]: fill what"),
    ("fit(sample_weight=np.zeros(20))", ValueError, "sample_weight must not be 0 … throughout; the largest is 0.0"),
    (
        "fit(sample_weight=np.full(20, 1e-42))",
        ValueError,
        "sample_weight must not be … below 1.2e-38, throughout; the largest is 1.0005",
    ),
    ("fit(sample_weight=np.full(20, 1e39))", ValueError, "sample_weight holds 1e+39 at [0]: too large for float32"),
    ("double.loss(X, y, sample_weight=[1e308] * 20)", ValueError, "sample_weight must have a finite sum, got inf"),
    # --- loss
    ("net.loss(X, y, 'mse')", ValueError, "loss must be one of squared_error, … got 'mse'"),
    ("net.gradients(X, y, 3)", TypeError, "loss must be a name or one of fastbp.losses, got 3"),
    (
        "fit(loss=losses.huber)",
        TypeError,
        "got <function huber … : call it, as in losses.huber()",
    ),
    ("fit(loss=losses.quantile)", TypeError, "got <function quantile … : call it, as in losses.quantile()"),
    ("fit(loss=len)", TypeError, "loss must be a name or one of fastbp.losses, got <built-in function len>"),
    ("losses.huber(-1.0)", ValueError, "delta must be positive and finite, got -1.0"),
    ("losses.Loss('squared_error', 2.0)", ValueError, "the loss squared_error takes no parameter, got 2.0"),
    ("replace(losses.poisson, parameter=0.5)", ValueError, "the loss poisson takes no parameter, got 0.5"),
    ("with_metadata(loss={'name': 'mse', 'parameter': 0})", ValueError, "loss must be one of squared_error, … 'mse'"),
    ("with_metadata(loss={'name': 'absolute_error', 'parameter': 3})", ValueError, "absolute_error takes no parameter"),
    ("with_metadata(loss={'name': 'huber', 'parameter': 0})", ValueError, "delta must be positive and finite, got 0"),
    ("with_metadata(loss='huber')", ValueError, "loss must be the description of one, got 'huber'"),
    ("fit(dropout=1)", ValueError, "dropout must be less than 1, got 1"),
    ("fit(dropout='half')", TypeError, "dropout must be a number, got 'half'"),
    ("fit(l2_penalty=-1)", ValueError, "l2_penalty must be finite and not negative, got -1"),
    ("fit(patience=0)", ValueError, "patience must be at least 1, got 0"),
    ("fit(patience=2.5)", TypeError, "patience must be a whole number, got 2.5"),
    ("fit(restore_best=None)", TypeError, "restore_best must be True or False, got None"),
    ("net.predict_proba(X)", ValueError, "predict_proba needs … ; it was trained with squared_error"),
    ("Network([3, 1]).predict_proba(X)", ValueError, "predict_proba needs … ; it was not trained yet"),
    ("losses.huber('wide')", TypeError, "delta must be a number, got 'wide'"),
    ("losses.huber(0)", ValueError, "delta must be positive and finite, got 0"),
    ("losses.huber(HUGE)", ValueError, "delta must be … got 1000"),
    ("losses.quantile(None)", TypeError, "q must be a number, got None"),
    ("losses.quantile(1.5)", ValueError, "q must lie between 0 and 1, got 1.5"),
    ("losses.quantile(NAN)", ValueError, "q must be finite and not negative, got nan"),
    # --- optimizer
    ("fit(optimizer='adam')", TypeError, "optimizer must be an instance of SGD, Adam, … got 'adam'"),
    ("fit(optimizer=Adam)", TypeError, "optimizer must be … got the class itself: call Adam"),
    ("fit(optimizer=None)", TypeError, "optimizer must be an instance of … Adagrad or Lion, got None"),
    ("fit(optimizer=Adam(epsilon=1e-40))", ValueError, "optimizer's epsilon 1e-40 is too small for float32"),
    ("SGD('fast')", TypeError, "learning_rate must be a number or a schedule, got 'fast'"),
    ("SGD([0.1, 0.01])", TypeError, "learning_rate must be a number or a schedule, got [0.1, 0.01]"),
    ("SGD(schedules.Cosine)", TypeError, "learning_rate must be a number or a schedule, got the class itself: call"),
    ("SGD(-0.1)", ValueError, "learning_rate must be finite and not negative, got -0.1"),
    ("SGD(HUGE)", ValueError, "learning_rate must be finite and not negative, got 1000"),
    ("SGD(0.1, momentum=1)", ValueError, "momentum must be less than 1, got 1"),
    ("SGD(0.1, momentum='0.9')", TypeError, "momentum must be a number, got '0.9'"),
    ("SGD(0.1, nesterov=True)", ValueError, "nesterov=True needs momentum greater than 0"),
    ("SGD(0.1, 0.9, nesterov='yes')", TypeError, "nesterov must be True or False, got 'yes'"),
    ("SGD(0.1, weight_decay=NAN)", ValueError, "weight_decay must be finite and not negative, got nan"),
    ("Adam(learning_rate=INF)", ValueError, "learning_rate must be finite and not negative, got inf"),
    ("Adam(beta_1=1.0)", ValueError, "beta_1 must be less than 1, got 1.0"),
    ("Adam(beta_2=-0.1)", ValueError, "beta_2 must be finite and not negative, got -0.1"),
    ("Adam(beta_2=None)", TypeError, "beta_2 must be a number, got None"),
    ("Adam(epsilon=0)", ValueError, "epsilon must be positive and finite, got 0"),
    ("AdamW(weight_decay=-1)", ValueError, "weight_decay must be finite and not negative, got -1"),
    ("RMSprop(alpha=1)", ValueError, "alpha must be less than 1, got 1"),
    ("RMSprop(epsilon='small')", TypeError, "epsilon must be a number, got 'small'"),
    ("RMSprop(momentum=-1)", ValueError, "momentum must be finite and not negative, got -1"),
    ("Adagrad(initial_accumulator_value=-1)", ValueError, "initial_accumulator_value must be finite and not"),
    ("Adagrad(epsilon=0)", ValueError, "epsilon must be positive and finite, got 0"),
    ("fit(optimizer=Adagrad(epsilon=1e-40))", ValueError, "optimizer's epsilon 1e-40 is too small for float32"),
    (
        "fit(optimizer=Adagrad(initial_accumulator_value=1e39))",
        ValueError,
        "optimizer's initial_accumulator_value 1e+39 is too large for float32",
    ),
    ("Lion('fast')", TypeError, "learning_rate must be a number or a schedule, got 'fast'"),
    ("Lion(beta_2=2)", ValueError, "beta_2 must be less than 1, got 2"),
    ("SGD(0.1, max_gradient_norm=0)", ValueError, "max_gradient_norm must be positive and finite, got 0"),
    ("Adam(max_gradient_norm=INF)", ValueError, "max_gradient_norm must be positive and finite, got inf"),
    ("Lion(max_gradient_norm='1')", TypeError, "max_gradient_norm must be a number, got '1'"),
    ("SGD(0.1, decay_biases=0)", TypeError, "decay_biases must be True or False, got 0"),
    # --- schedules
    ("schedules.Constant('0.1')", TypeError, "rate must be a number, got '0.1'"),
    ("schedules.Step(0.1, every=0)", ValueError, "every must be at least 1, got 0"),
    ("schedules.Step(0.1, every=2.5)", TypeError, "every must be a whole number of steps, got 2.5"),
    ("schedules.Step(0.1, 10, factor=-1)", ValueError, "factor must be finite and not negative, got -1"),
    ("schedules.Step(0.1, every=2**70)", ValueError, "every must be at most 9223372036854775807, got 1180591620717"),
    ("schedules.InverseScaling(0.1, power=INF)", ValueError, "power must be finite and not negative, got inf"),
    ("schedules.Cosine(0.1, steps=True)", TypeError, "steps must be a whole number of steps, got True"),
    ("schedules.Cosine(0.1, 5, final=-0.1)", ValueError, "final must be finite and not negative, got -0.1"),
    ("schedules.WarmUp('slowly', 5)", TypeError, "then must be a number or a schedule, got 'slowly'"),
    ("schedules.WarmUp(0.1, -5)", ValueError, "steps must be at least 1, got -5"),
    # --- the rest of fit
    ("fit(batch_size=0)", ValueError, "batch_size must be at least 1, got 0"),
    ("fit(batch_size=32.0)", TypeError, "batch_size must be a whole number, got 32.0"),
    ("fit(batch_size='auto')", TypeError, "batch_size must be a whole number, got 'auto'"),
    ("fit(epochs=0)", ValueError, "epochs must be at least 1, got 0"),
    ("fit(epochs=True)", TypeError, "epochs must be a whole number, got True"),
    ("fit(epochs=2**40)", ValueError, "epochs must be at most 2147483648, got 1099511627776"),
    ("fit(shuffle='yes')", TypeError, "shuffle must be True or False, got 'yes'"),
    ("fit(drop_last=1)", TypeError, "drop_last must be True or False, got 1"),
    ("fit(seed=-1)", ValueError, "seed must be at least 0, got -1"),
    ("fit(callback=3)", TypeError, "callback must be a function, got 3"),
    ("fit(validation_data=0.2)", TypeError, "validation_data must be (X, y) or (X, y, sample_weight), got 0.2"),
    ("fit(validation_data=(X,))", ValueError, "validation_data must be (X, y) or (X, y, sample_weight), got 1 of them"),
    ("fit(validation_data=(X[:, :2], y))", ValueError, "validation X must have 3 columns, … got (20, 2)"),
    ("fit(validation_data=(X[:0], y[:0]))", ValueError, "validation X holds no rows"),
    ("fit(validation_data=(X, with_one(y, NAN)))", ValueError, "validation y holds nan at [3]: not a finite number"),
    ("fit(validation_data=(X, y, -y**2))", ValueError, "validation sample_weight must not be negative, got -"),
    (
        "classify(CLASSES, validation_data=(X, CLASSES + 1))",
        ValueError,
        "validation y must hold class numbers … got 3 at",
    ),
    # --- files and tensors
    ("net.save(3)", TypeError, "path must be a string or a path, got 3"),
    ("Network.load(None)", TypeError, "path must be a string or a path, got None"),
    ("Network.load(3)", TypeError, "path must be a string or a path, got 3"),  # and no file descriptor
    ("Network.load(this_file)", ValueError, "test_bad_input.py': it is no fastbp model"),
    ("Network.from_tensors(None, None)", ValueError, "this is not the description of a network"),
    ("without('weights.1')", ValueError, "this is not the description of a network: 'weights.1' is missing"),
    ("without('mean.biases.0')", ValueError, "this is not the description of a network: 'mean.biases.0' is missing"),
    ("with_tensor('weights.0', Ω[0] * np.float32(NAN))", ValueError, "weights[0] holds nan at [0, 0]: not a finite"),
    ("with_tensor('random', np.ones(3, np.uint64))", ValueError, "random must be 4 numbers of uint64, … of shape (3,)"),
    ("with_tensor('random', np.zeros(4, np.uint64))", ValueError, "random must … not all 0"),
    ("with_tensor('random', np.full(4, 0.5))", ValueError, "random must be 4 numbers of uint64, … got float64"),
    ("with_metadata(step=-1)", ValueError, "step must be at least 0, got -1"),
    ("with_metadata(dtype='int8')", ValueError, "dtype must be float32 or float64, got 'int8'"),
    (
        "with_metadata(activation='sigmoid')",
        ValueError,
        "activation must be one of relu, identity, tanh, logistic, leaky_relu, … got 'sigmoid'",
    ),
    ("with_metadata(layer_sizes=[3, 5, 1])", ValueError, "weights[0] must be of shape (5, 3), got (4, 3)"),
    (
        "with_metadata(optimizer={'optimizer': 'Adamant'})",
        ValueError,
        "optimizer must be the description of one, got {",
    ),
    (
        "with_metadata(optimizer=None)",
        ValueError,
        "this is not the description of a network: its optimizer keeps no moments of",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), TABLE, ids=[call for call, _, _ in TABLE])
def test_a_wrong_call_names_its_argument_and_changes_nothing(call, error, message, world):
    networks = [world[name] for name in ("net", "classifier", "double")]
    before = [bits(network) for network in networks]
    with pytest.raises(error, match=".*".join(map(re.escape, message.split(" … ")))) as raised:
        eval(call, world)
    assert type(raised.value) is error
    assert len(str(raised.value)) < 400
    assert [bits(network) for network in networks] == before


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("cell", ["red", "2"])
def test_a_frame_with_a_column_of_text_is_no_table_of_numbers(library, cell, world):
    frame = pytest.importorskip(library).DataFrame({"a": [1, 2], "b": [cell, cell], "c": [True, False]})
    with pytest.raises(TypeError, match=re.escape(f"X must hold numbers, got '{cell}' at [0, 1]")):
        world["net"].predict(frame)


def test_a_sparse_matrix_is_told_how_to_become_dense(world):
    matrix = pytest.importorskip("scipy.sparse").csr_array(X)
    with pytest.raises(TypeError, match=re.escape("X is sparse; fastbp takes dense arrays: X.toarray()")):
        world["net"].predict(matrix)


@pytest.mark.parametrize("rate", [NAN, INF, -0.1, HUGE, None, "0.1", 1j, np.ones(1)], ids=lambda rate: repr(rate)[:9])
def test_a_schedule_that_fails_before_the_first_step_changes_nothing(rate, world):
    before = bits(world["net"])
    with pytest.raises((TypeError, ValueError), match="learning_rate at step 0 must be"):
        world["fit"](optimizer=SGD(lambda _: rate), seed=3)
    assert bits(world["net"]) == before


def test_a_schedule_that_fails_later_is_named_with_its_step_and_leaves_a_network_that_continues(monkeypatch):
    monkeypatch.setattr("fastbp.runs.fitting._FIRST_SLICE", 1)
    net, twin = Network([3, 4, 1], seed=0), Network([3, 4, 1], seed=0)
    with pytest.raises(ValueError, match="learning_rate at step 2 must be finite and not negative, got nan"):
        net.fit(X, y, optimizer=SGD(lambda step: 0.1 if step < 2 else NAN), batch_size=20)
    assert 1 <= net.to_tensors()[1]["step"] <= 2
    net.fit(X, y, optimizer=SGD(lambda _: 0.1), batch_size=20, epochs=4 - net.to_tensors()[1]["step"])
    twin.fit(X, y, optimizer=SGD(lambda _: 0.1), batch_size=20, epochs=4)
    assert bits(net) == bits(twin)
