"""A compiled run goes the way of its naive twin, keeps padding zero, and allocates nothing."""

import platform
from dataclasses import replace

import numpy as np
import pytest
import reference
from numba.core.runtime import _nrt_python, rtsys

import fastbp
from fastbp import activations, losses, optimizers
from fastbp.kernels import entries as training
from fastbp.kernels import packing, run_state, shuffling
from fastbp.kernels import rows as batches
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.input_factors import input_factors_of
from fastbp.machine.barrier import ThreadGroup, new_barrier
from fastbp.machine.denormals import flush_denormals, restore_mode
from fastbp.machine.jit import entry
from fastbp.runs.checkpoint import initial
from fastbp.runs.run import Run

OPTIMIZERS = [
    fastbp.SGD(0.05),
    fastbp.SGD(0.05, weight_decay=0.1),
    fastbp.SGD(0.05, momentum=0.9, weight_decay=0.1),
    fastbp.SGD(0.05, momentum=0.9, nesterov=True),
    fastbp.Adam(0.01, weight_decay=0.1),
    fastbp.RMSprop(0.01, alpha=0.9, momentum=0.5, weight_decay=0.1),
    fastbp.Adagrad(0.05, weight_decay=0.1, initial_accumulator_value=0.1, decay_biases=False),
    fastbp.Lion(0.01, weight_decay=0.1),
    fastbp.SGD(0.05, max_gradient_norm=0.2, weight_decay=0.1, decay_biases=False),
    fastbp.AdamW(0.01, epsilon=1e-2, max_gradient_norm=0.2),
]

ALONE = ThreadGroup(0, 1, new_barrier())


def first_moments(arrays, optimizer):
    """Return [mean, square] of each array before the first step."""
    return [[np.zeros(a.shape), np.full(a.shape, optimizer.rule.initial_square)] for a in arrays]


def twin_fit(net, X, y, loss, optimizer, batch_size, epochs, sample_weight, random):
    """Train in plain NumPy, over the rows in the order in which the compiled run takes them."""
    arrays = [a.astype(np.float64) for a in (*net.weights, *net.biases)]
    moments = first_moments(arrays, optimizer)
    shuffle, order, step, history = shuffling.shuffle, np.zeros(len(X), np.int64), 0, []
    for _ in range(epochs):
        shuffle(order, order.size, random)
        total = total_weight = 0.0
        for first in range(0, len(X), batch_size):
            rows = order[first : first + batch_size]
            weights, biases = arrays[: net.K + 1], arrays[net.K + 1 :]
            f, h = reference.forward(weights, biases, X[rows])
            value, weight, g = reference.loss_and_gradient(
                loss.name, f[-1], y[rows], sample_weight[rows], loss.parameter
            )
            by_weights, by_biases, _ = reference.backward(weights, h, g)
            step += 1
            gradients = reference.clipped(by_weights + by_biases, optimizer.max_gradient_norm)
            for i, gradient in enumerate(gradients):
                arrays[i], *moments[i] = reference.step_of(optimizer, arrays[i], gradient, *moments[i], step, i > net.K)
            total, total_weight = total + value, total_weight + weight
        history.append(total / total_weight)
    return arrays, history


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize(("sizes", "n", "batch_size"), [([3, 17, 5, 2], 50, 16), ([5, 3], 33, 33), ([2, 8, 1], 20, 1)])
def test_training_goes_the_way_of_its_twin(sizes, n, batch_size, loss, optimizer):
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((n, sizes[0])), rng.random((n, sizes[-1])), rng.random(n) + 0.1
    y /= y.sum(1, keepdims=True)
    net = fastbp.Network(sizes, dtype="float64", seed=1)
    options = {"batch_size": batch_size, "epochs": 5, "sample_weight": w}
    random = shuffling.random_state(4)
    arrays, history = twin_fit(net, X, y, losses.resolve(loss), optimizer, batch_size, 5, w, random)
    got = net.fit(X, y, loss=loss, optimizer=optimizer, seed=4, **options)
    np.testing.assert_allclose(got.loss, history, rtol=1e-11)
    for a, wanted in zip((*net.weights, *net.biases), arrays, strict=True):
        np.testing.assert_allclose(a, wanted, rtol=1e-9, atol=1e-11)


def make_run(sizes, optimizer, dtype, n=70, batch_size=13, activation=activations.relu):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, sizes[0])), rng.standard_normal((n, sizes[-1]))
    rows = packing.padded_rows(x, dtype), packing.target_rows(y, dtype)
    table = batches.TrainingRows(*rows, np.zeros(0, np.int64), np.zeros(0, dtype), n)
    parameters, random = initial(sizes, dtype, 0, activation).parameters, shuffling.random_state(0)
    options = {
        "activation": activation,
        "loss": losses.squared_error,
        "rule": optimizer.rule,
        "batch_size": batch_size,
        "random": random,
    }
    run = Run(parameters, table, **options)
    return run.rows, run.plan, run.state, packing.workspace_for(sizes, batch_size, dtype)


def is_padding(parameters):
    """Tell, for each number in the buffer, whether it is no parameter."""
    marks = parameters._replace(data=np.zeros_like(parameters.data))
    sizes = parameters.sizes.tolist()
    ones = [np.ones(shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)], [np.ones(size) for size in sizes[1:]]
    packing.write_parameters(marks, *ones)
    return marks.data == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS[2:], ids=str)
@pytest.mark.parametrize("sizes", [[3, 17, 5, 2], [18, 33, 1], [16, 16, 20]])
def test_factors_of_inputs_and_rates_go_the_way_of_their_twin(sizes, optimizer):
    """A network whose table is multiplied by learned factors, each array with a learning rate of its own."""
    table, plan, state, workspace = make_run(sizes, optimizer, "float64")
    plan = plan._replace(rule=plan.rule._replace(penalty=0.03))
    n_layers, n, d = len(sizes) - 1, table.rows, sizes[0]
    rate_factors = np.linspace(0.5, 2, 2 * n_layers)
    input_factors = input_factors_of(state.parameters, 6.0, optimizer.rule.initial_square)
    state = state._replace(rate_factors=rate_factors, input_factors=input_factors)
    x = table.x.reshape(n, -1)[:, :d].copy()
    y = table.y.reshape(n, -1)[:, : sizes[-1]]
    weights, biases = packing.weight_matrices(state.parameters), packing.bias_vectors(state.parameters)
    arrays = [*weights, *biases, np.ones(d)]
    rates = [*rate_factors[::2], *rate_factors[1::2], 6.0]
    moments = first_moments(arrays, optimizer)
    order, random, batch_size = np.arange(n), state.random.copy(), plan.batch_size
    for step in range(15):
        first = step * batch_size % (batch_size * -(-n // batch_size))
        if first == 0:
            shuffling.shuffle(order, n, random)
        rows = order[first : first + batch_size]
        weights, biases, s = arrays[:n_layers], arrays[n_layers:-1], arrays[-1]
        f, h = reference.forward(weights, biases, x[rows] * s)
        _, _, g = reference.loss_and_gradient("squared_error", f[-1], y[rows], np.ones(len(rows)))
        by_weights, by_biases, (of_scaled, *_) = reference.backward(weights, h, g)
        of_s = (of_scaled * x[rows]).sum(axis=0)
        by_weights = [g + 0.03 * Ω for g, Ω in zip(by_weights, weights, strict=True)]
        gradients = reference.clipped([*by_weights, *by_biases, of_s], optimizer.max_gradient_norm)
        for i, gradient in enumerate(gradients):
            rated, is_bias = replace(optimizer, learning_rate=0.01 * rates[i]), n_layers <= i < 2 * n_layers
            arrays[i], *moments[i] = reference.step_of(rated, arrays[i], gradient, *moments[i], step + 1, is_bias)
    run = table, plan, state, workspace
    assert training.train(*run, np.full(15, 0.01), np.zeros(15), ALONE) == 15
    arrays[0] = arrays[0] * arrays[-1]  # V, which the network keeps
    got = (
        *packing.weight_matrices(state.parameters),
        *packing.bias_vectors(state.parameters),
        state.input_factors.factors[:d],
    )
    for a, wanted in zip(got, arrays, strict=True):
        np.testing.assert_allclose(a, wanted, rtol=1e-9, atol=1e-11)
    assert not state.input_factors.factors[d:].any()
    assert not state.parameters.data[is_padding(state.parameters)].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [activations.resolve(name) for name in activations.NAMES], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_padding_is_exactly_zero_after_100_steps(optimizer, activation, dtype):
    run = make_run((3, 17, 5, 2), optimizer, dtype, activation=activation)
    state = run[2]
    assert training.train(*run, np.full(100, 0.01), np.zeros(100), ALONE) == 100
    padding = is_padding(state.parameters)
    assert 0 < padding.sum() < padding.size
    for buffer in (state.parameters.data, state.mean, state.square):
        first = optimizer.rule.initial_square if buffer is state.square else 0
        assert (buffer[padding[: buffer.size]] == np.asarray(first, dtype)).all()


def compiled_allocations(run, steps):
    """Return how often a run asks Numba's runtime for memory."""
    rates, losses_out = np.full(steps, 0.01), np.zeros(steps)
    rtsys.initialize(None)
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats().alloc
    assert training.train(*run, rates, losses_out, ALONE) == steps
    return rtsys.get_allocation_stats().alloc - before


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_step_allocates_nothing(optimizer):
    """A call allocates for its arguments, and a thousand steps no more than one."""
    run = make_run((3, 17, 5, 2), optimizer, "float32")
    assert compiled_allocations(run, 1000) == compiled_allocations(run, 1)


@pytest.mark.skipif(
    platform.machine().lower() not in {"x86_64", "amd64", "aarch64", "arm64"}, reason="no known flush-to-zero mode"
)
def test_flush_to_zero_ends_with_the_run():
    @entry
    def product_within(a, b, out):
        mode = flush_denormals()
        out[0] = a[0] * b[0]
        restore_mode(mode)
        out[1] = a[0] * b[0]

    a, b, out = np.array([1e-30], np.float32), np.array([1e-10], np.float32), np.zeros(2, np.float32)
    product_within(a, b, out)
    assert out[0] == 0
    assert out[1] > 0
    net = fastbp.Network([1, 2, 1], seed=0)
    net.fit(a[:, None], b)
    assert (a * b)[0] > 0


def test_denormal_weights_do_not_slow_a_run():
    """Weights that decay into the subnormal range become zero."""
    net = fastbp.Network([1, 1], seed=0)
    X, y = np.zeros((32, 1)), np.zeros(32)
    net.fit(X, y, optimizer=fastbp.SGD(0.5, weight_decay=1.0), epochs=200)
    assert net.weights[0] == 0


def activations_for(n_hidden):
    return layer_activations(activations.tanh, n_hidden, np.dtype("float32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_hidden", [0, 2])
def test_activations_of_another_depth_are_an_error_and_change_nothing(n_hidden, dtype):
    table, plan, state, workspace = make_run((3, 5, 2), fastbp.Adam(0.1), dtype)
    state = state._replace(activations=activations_for(n_hidden))
    run = table, plan, state, workspace
    loss, message = loss_address(losses.squared_error, np.dtype(dtype)), "one piece for each hidden layer"
    operands = state.parameters, state.activations
    before = [array.copy() for array in (state.parameters.data, state.mean, state.random, state.counts)]
    order, sums = np.arange(table.rows), packing.gradient_sums((3, 5, 2), dtype)
    whole = packing.workspace_for((3, 5, 2), table.rows, dtype)
    alone_in_two = ThreadGroup(0, 2, new_barrier())  # for which no other thread comes
    for group in (ALONE, alone_in_two):
        with pytest.raises(ValueError, match=message):
            training.train(*run, np.full(10, 0.01), np.zeros(10), group)
    with pytest.raises(ValueError, match=message):
        training.evaluate(table, *operands, workspace, order, loss, 0.0)
    with pytest.raises(ValueError, match=message):
        training.differentiate(table, *operands, sums, whole, order, 0, loss, 0.0, True)
    after = state.parameters.data, state.mean, state.random, state.counts
    assert all(map(np.array_equal, before, after))
    denormal = np.float32(1e-30) * np.float32(1e-10)
    assert denormal > 0  # so flush-to-zero is off


@pytest.mark.parametrize("n_hidden", [0, 2])
def test_a_forward_pass_with_activations_of_another_depth_is_an_error(n_hidden):
    _, _, state, workspace = make_run((3, 5, 2), fastbp.SGD(0.1), "float32")
    operands = state.parameters, activations_for(n_hidden), workspace
    with pytest.raises(ValueError, match="one piece for each hidden layer"):
        training.predict(np.zeros((4, 3), np.float32), *operands, np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="one piece for each hidden layer"):
        training.trace(packing.padded_rows(np.zeros((4, 3)), "float32"), *operands, np.arange(4))


@pytest.mark.parametrize("kind", [optimizers.PLAIN_SGD, optimizers.MOMENTUM, optimizers.ADAM])
def test_a_run_stops_before_the_step_whose_loss_is_not_finite(kind):
    optimizer = [fastbp.SGD(0.1), fastbp.SGD(0.1, momentum=0.9), fastbp.Adam(0.1)][kind]
    run = make_run((3, 5, 2), optimizer, "float32", n=26)
    table, _, state, _ = run
    table.y[5 * 2] = np.nan  # row 5 is in the first or second batch of each epoch
    rates, out = np.full(10, 0.01), np.zeros(10)
    made = training.train(*run, rates, out, ALONE)
    assert made < 2
    assert state.counts[run_state.STEP] == made
    assert np.isfinite(state.parameters.data).all()


def test_a_run_stops_before_a_step_whose_gradients_have_no_finite_norm():
    run = make_run((1, 1, 1), fastbp.SGD(0.1, max_gradient_norm=1.0), "float64")
    table, _, state, _ = run
    packing.write_parameters(state.parameters, [np.array([[1e-200]]), np.array([[1e200]])], [np.zeros(1), np.zeros(1)])
    table.x[:: state.parameters.lanes] = 1e150  # the loss is finite, and ∂L/∂Ω_0 is not
    before = state.parameters.data.copy()
    assert training.train(*run, np.full(10, 0.01), np.zeros(10), ALONE) == 0
    np.testing.assert_array_equal(state.parameters.data, before)
