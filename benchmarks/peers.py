"""The same minibatch gradient descent with fastbp and other libraries, each as an expert in the library would write it.

All implementations start from the same parameters, shuffle the rows in each epoch, and use no momentum, no weight decay
and no validation. The code is the fastest of the known ways, and comments name slower ways. Each function imports its
own library. This file must not know how time is measured.
"""

import itertools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.common import initial_parameters, step_flops, table

LEARNING_RATE = 1e-6  # so small that every round does the same work


class Trainer(NamedTuple):
    """A network with a table to train on."""

    train: Callable  # train(epochs) returns when the epochs are done
    parameters: Callable  # parameters() returns Ω_i (outputs, inputs) and β_i (outputs,)


def fastbp_fit(problem, learning_rate, shuffle):
    import fastbp

    X, y = table(problem)
    network = fastbp.Network(problem.sizes, dtype=problem.dtype, seed=0)
    network.set_parameters(*initial_parameters(problem))
    optimizer = fastbp.SGD(learning_rate)

    def train(epochs):
        network.fit(X, y, optimizer=optimizer, batch_size=problem.batch_size, epochs=epochs, shuffle=shuffle)

    return Trainer(train, lambda: (network.weights, network.biases))


def numpy_by_hand(problem, learning_rate, shuffle):
    """An epoch allocates no memory. All parameters are views of one array, and all gradients of another array."""
    X, y = table(problem)
    batch_size, dtype, sizes = problem.batch_size, problem.dtype, problem.sizes
    weights, biases = initial_parameters(problem)
    # Weights have the shape (inputs, outputs), so the forward pass needs no transposition.
    parameters = np.concatenate([*(matrix.T.ravel() for matrix in weights), *biases])
    gradients = np.empty_like(parameters)
    Ω, β = _views(parameters, sizes)
    dΩ, dβ = _views(gradients, sizes)
    h = [None, *(np.empty((batch_size, size), dtype) for size in sizes[1:])]
    df = [None, *(np.empty((batch_size, size), dtype) for size in sizes[1:])]  # df[i] belongs to h[i]
    active = [None, *(np.empty((batch_size, size), dtype) for size in sizes[1:])]
    ones = np.ones(batch_size, dtype)
    order, rng = np.arange(problem.rows), np.random.default_rng(0)
    shuffled_X, shuffled_y = np.empty_like(X), np.empty_like(y)
    batches = list(zip(_batches(shuffled_X, batch_size), _batches(shuffled_y, batch_size), strict=True))
    last = len(Ω)

    # np.dot is half a microsecond faster than np.matmul. ones @ df is a faster sum over rows than np.sum. The sign of
    # h ≥ 0 is the derivative of ReLU; unlike a mask of bool, it needs no conversion to the network's dtype.
    def step(x, target):
        h[0] = x
        for i in range(last):
            np.dot(h[i], Ω[i], out=h[i + 1])
            np.add(h[i + 1], β[i], out=h[i + 1])
            if i + 1 < last:
                np.maximum(h[i + 1], 0, out=h[i + 1])
        np.subtract(h[last], target, out=df[last])
        np.multiply(df[last], learning_rate / batch_size, out=df[last])  # so the rate is in all gradients
        for i in reversed(range(last)):
            np.dot(h[i].T, df[i + 1], out=dΩ[i])
            np.dot(ones, df[i + 1], out=dβ[i])
            if i:
                np.dot(df[i + 1], Ω[i].T, out=df[i])
                np.sign(h[i], out=active[i])
                np.multiply(df[i], active[i], out=df[i])
        np.subtract(parameters, gradients, out=parameters)

    def train(epochs):
        for _ in range(epochs):
            if shuffle:
                rng.shuffle(order)
            np.take(X, order, axis=0, out=shuffled_X, mode="clip")  # "raise" would use a temporary buffer
            np.take(y, order, axis=0, out=shuffled_y, mode="clip")
            for x, target in batches:
                step(x, target)

    return Trainer(train, lambda: ([matrix.T.copy() for matrix in Ω], [vector.copy() for vector in β]))


def _views(parameters, sizes):
    """Return views of one array: first matrices, (inputs, outputs), and then vectors."""
    shapes = [*itertools.pairwise(sizes), *((size,) for size in sizes[1:])]
    ends = list(itertools.accumulate(int(np.prod(shape)) for shape in shapes))
    pieces = np.split(parameters, ends[:-1])
    views = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    return views[: len(sizes) - 1], views[len(sizes) - 1 :]


def _batches(rows, batch_size):
    return [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]


def sklearn_regressor(problem, learning_rate, shuffle):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    X, y = table(problem)
    y = y.ravel() if y.shape[1] == 1 else y
    model = MLPRegressor(
        hidden_layer_sizes=problem.sizes[1:-1],
        solver="sgd",
        alpha=0,
        batch_size=problem.batch_size,
        learning_rate_init=learning_rate,
        momentum=0,
        shuffle=shuffle,
        random_state=0,
        tol=0,
        n_iter_no_change=np.inf,
        warm_start=True,  # otherwise each call would draw new weights
    )

    def fit(rows, epochs):
        with warnings.catch_warnings():
            # A fit that makes all its epochs, as here, warns that it did not converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(max_iter=epochs).fit(X[:rows], y[:rows])

    fit(problem.batch_size, epochs=1)  # creates the arrays of the parameters
    weights, biases = initial_parameters(problem)
    for i in range(len(weights)):
        model.coefs_[i][...] = weights[i].T
        model.intercepts_[i][...] = biases[i]

    def parameters():
        return [matrix.T.copy() for matrix in model.coefs_], [vector.copy() for vector in model.intercepts_]

    return Trainer(lambda epochs: fit(problem.rows, epochs), parameters)


def torch_eager(problem, learning_rate, shuffle):
    import torch

    torch.manual_seed(0)
    X, y = (torch.from_numpy(array) for array in table(problem))
    layers = [
        torch.nn.Linear(inputs, outputs, dtype=getattr(torch, problem.dtype))
        for inputs, outputs in itertools.pairwise(problem.sizes)
    ]
    with torch.no_grad():
        for layer, weights, biases in zip(layers, *initial_parameters(problem), strict=True):
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.copy_(torch.from_numpy(biases))
    model = torch.nn.Sequential(layers[0], *(part for layer in layers[1:] for part in (torch.nn.ReLU(), layer)))
    # MSELoss is also a mean over outputs, and has no factor ½. The learning rate compensates both at no cost.
    loss_of, rate = torch.nn.MSELoss(), learning_rate * problem.sizes[-1] / 2
    # foreach=True and fused=True are up to a tenth slower for small networks, and not faster for large ones.
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, foreach=False)

    def train(epochs):
        for _ in range(epochs):
            order = torch.randperm(problem.rows) if shuffle else torch.arange(problem.rows)
            # Gathering once per epoch is faster than once per batch.
            shuffled = X.index_select(0, order), y.index_select(0, order)
            for x, target in zip(*(array.split(problem.batch_size) for array in shuffled), strict=True):
                optimizer.zero_grad()
                loss_of(model(x), target).backward()
                optimizer.step()

    def parameters():
        arrays = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in layers]
        return tuple(zip(*arrays, strict=True))

    return Trainer(train, parameters)


def jax_scan(problem, learning_rate, shuffle):
    """An epoch is one compiled call, which reuses the memory of the parameters (donation)."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    if problem.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    X, y = (jnp.asarray(array) for array in table(problem))
    # Weights have the shape (inputs, outputs), which is faster than the transpose.
    state = [(jnp.asarray(weights.T), jnp.asarray(b)) for weights, b in zip(*initial_parameters(problem), strict=True)]
    steps, batch_size = problem.steps, problem.batch_size
    unroll = 4 if step_flops(problem.sizes, batch_size) < 1e6 else 1  # a third faster at batch 1

    def loss_of(parameters, x, target):
        h = x
        for Ω, β in parameters[:-1]:
            h = jax.nn.relu(h @ Ω + β)
        Ω, β = parameters[-1]
        return jnp.sum((h @ Ω + β - target) ** 2) / (2 * batch_size)

    def step(parameters, batch):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, *batch)
        return jax.tree.map(lambda value, slope: value - learning_rate * slope, parameters, gradients), loss

    def epoch(parameters, X, y, order):
        batches = [rows[order].reshape(steps, batch_size, -1) for rows in (X, y)]
        parameters, losses = jax.lax.scan(step, parameters, batches, unroll=unroll)
        return parameters, losses.mean()

    compiled = jax.jit(epoch, donate_argnums=0)
    order, rng = np.arange(problem.rows, dtype=np.int32), np.random.default_rng(0)

    def train(epochs):
        nonlocal state
        for _ in range(epochs):
            # The permutation of jax.random sorts, so an epoch of a small network with batch size 256 would take several
            # times as long. The array is new for each epoch, because JAX may read it later without a copy.
            state, _ = compiled(state, X, y, rng.permutation(order) if shuffle else order)
        jax.block_until_ready(state)

    def parameters():
        return [np.asarray(Ω).T for Ω, _ in state], [np.asarray(β) for _, β in state]

    return Trainer(train, parameters)


class Implementation(NamedTuple):
    """A library, with the function that prepares its training."""

    title: str
    package: str  # to install
    module: str  # to import
    prepare: Callable


IMPLEMENTATIONS = {
    "fastbp": Implementation("fastbp", "fastbp", "fastbp", fastbp_fit),
    "numpy": Implementation("NumPy", "numpy", "numpy", numpy_by_hand),
    "sklearn": Implementation("scikit-learn", "scikit-learn", "sklearn.neural_network", sklearn_regressor),
    "torch": Implementation("PyTorch", "torch", "torch", torch_eager),
    "jax": Implementation("JAX", "jax", "jax", jax_scan),
}
PEERS = [name for name in IMPLEMENTATIONS if name != "fastbp"]


def prepare(name, problem, learning_rate=LEARNING_RATE, shuffle=True):
    """Return a Trainer; raise ImportError if the package is missing."""
    return IMPLEMENTATIONS[name].prepare(problem, learning_rate, shuffle)
