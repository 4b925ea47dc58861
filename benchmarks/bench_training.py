"""Training for many depths, widths and batch sizes, with other implementations, and with every loss and optimizer.

The learning rates are so small that every sample does the same work. asv calls `setup` before each sample, so its
results are cached.
"""

import functools

import numpy as np

import fastbp
from benchmarks.common import HIDDEN_LAYERS, WIDTHS, cell_problem, pin, step_flops, usable_cores
from benchmarks.peers import IMPLEMENTATIONS, prepare
from benchmarks.timing import seconds_of, warm_up

DTYPES = ("float32", "float64")
BATCH_SIZES = (32, 256)


def pin_to_one_core():
    """Keep this process on one core, so that no library uses threads. Call this before a peer is imported."""
    pin({max(usable_cores())})


@functools.cache
def warm_trainer(name, problem):
    train = prepare(name, problem).train
    train(1)
    return train


class Epoch:
    """Seconds of a fit of one epoch; `common.cell_problem` decides the number of steps."""

    params = ((1, 4), (16, 64, 256), BATCH_SIZES, DTYPES)
    param_names = ("K", "width", "batch", "dtype")
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, K, width, batch, dtype):
        pin_to_one_core()
        self.train = warm_trainer("fastbp", cell_problem(K, width, batch, dtype))

    def time_epoch(self, *_):
        self.train(1)


class Throughput:
    """Samples per second, and the fraction of the core's peak; for both, more is better.

    All cells take turns in one process, and each sample follows a measurement of the peak. A value is the median of
    the rounds. asv.conf.json excludes these values from asv's search for regressions, which takes values as times.
    """

    params = (HIDDEN_LAYERS, WIDTHS, BATCH_SIZES, DTYPES)
    param_names = ("K", "width", "batch", "dtype")

    def setup_cache(self):
        from benchmarks.peak import beside_peak  # here, because the import of Numba is slow

        pin_to_one_core()
        seconds, rounds = 0.02, 5

        @functools.cache
        def trainer(problem):
            train = prepare("fastbp", problem).train
            return train, warm_up(train, seconds)

        def step_seconds(*cell):
            problem = cell_problem(*cell)
            train, epochs = trainer(problem)
            return seconds_of(train, epochs) / (epochs * problem.steps)

        def flops(*cell):
            problem = cell_problem(*cell)
            return step_flops(problem.sizes, problem.batch_size)

        found = {}
        for dtype in DTYPES:
            cells = [(K, width, batch, dtype) for K in HIDDEN_LAYERS for width in WIDTHS for batch in BATCH_SIZES]
            found |= beside_peak(cells, flops, step_seconds, dtype, rounds)
        return found

    setup_cache.timeout = 300

    def track_samples_per_second(self, found, K, width, batch, dtype):
        took, _ = found[K, width, batch, dtype]
        return batch / took

    track_samples_per_second.unit = "samples/s, more is better"

    def track_fraction_of_peak(self, found, *cell):
        _, fraction = found[cell]
        return fraction

    track_fraction_of_peak.params = ((1, 4), (16, 64, 256), BATCH_SIZES, DTYPES)  # fewer, as each starts a process
    track_fraction_of_peak.unit = "of the core's peak, more is better"


class Implementations:
    """Seconds of the same epoch with fastbp and each peer. Peers that are not installed are skipped."""

    params = (tuple(IMPLEMENTATIONS), (2,), (16, 64, 256))
    param_names = ("implementation", "K", "width")
    repeat = (5, 50, 0.3)

    def setup(self, implementation, K, width):
        pin_to_one_core()
        try:
            self.train = warm_trainer(implementation, cell_problem(K, width, 32, "float32"))
        except ImportError as error:
            raise NotImplementedError(f"{implementation} is not installed") from error

    def time_epoch(self, *_):
        self.train(1)


@functools.cache
def network_and_rows(outputs):
    """Return a network of 2 × 64 hidden units, inputs, and targets that are valid for every loss."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4096, 16)).astype(np.float32)
    y = rng.integers(outputs, size=4096) if outputs > 1 else rng.integers(2, size=4096)
    return fastbp.Network([16, 64, 64, outputs], dtype="float32", seed=0), X, y


class Losses:
    """Seconds of an epoch of 128 steps of 32 rows, with 2 × 64 hidden units."""

    params = (
        "squared_error",
        "binary_cross_entropy",
        "cross_entropy",
        "poisson",
        "huber",
        "absolute_error",
        "quantile",
    )
    param_names = ("loss",)
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, loss):
        pin_to_one_core()
        self.network, self.X, self.y = network_and_rows(10 if loss == "cross_entropy" else 1)
        self.time_epoch(loss)

    def time_epoch(self, loss):
        self.network.fit(self.X, self.y, loss=loss, optimizer=fastbp.SGD(1e-6), epochs=1)


class Optimizers:
    """Seconds of an epoch of 128 steps of 32 rows, with 2 × 64 hidden units."""

    params = (
        "SGD",
        "SGD with momentum",
        "SGD with Nesterov momentum and decay",
        "SGD, clipped",
        "Adam",
        "Adam, clipped",
        "RMSprop",
        "Adagrad",
        "Lion",
    )
    param_names = ("optimizer",)
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, optimizer):
        pin_to_one_core()
        self.network, self.X, self.y = network_and_rows(1)
        self.optimizer = {
            "SGD": fastbp.SGD(1e-6),
            "SGD with momentum": fastbp.SGD(1e-7, momentum=0.9),
            "SGD with Nesterov momentum and decay": fastbp.SGD(1e-7, momentum=0.9, nesterov=True, weight_decay=1e-4),
            "SGD, clipped": fastbp.SGD(1e-6, max_gradient_norm=1.0),
            "Adam": fastbp.Adam(1e-10),
            "Adam, clipped": fastbp.Adam(1e-10, max_gradient_norm=1.0),
            "RMSprop": fastbp.RMSprop(1e-10),
            "Adagrad": fastbp.Adagrad(1e-10),
            "Lion": fastbp.Lion(1e-10),
        }[optimizer]
        self.time_epoch(optimizer)

    def time_epoch(self, _):
        self.network.fit(self.X, self.y, optimizer=self.optimizer, epochs=1)
