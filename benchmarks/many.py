"""Compare ways to train 64 networks over one table: `python -m benchmarks.many` prints a Markdown table.

The networks are a grid: 16 to 128 units, one or two hidden layers, four learning rates. Each way trains all of them
with Adam, for the same epochs and batch size, on 1,600 rows of 30 columns, on all cores, and computes the loss of 400
held-out rows after each epoch. The ways take turns in each round, and a number is the median of the rounds. The losses
of the held-out rows show that all ways learn alike.

scikit-learn computes a score after each epoch with `early_stopping`. It gets 2,000 rows, and sets 400 of them aside for
this. PyTorch trains networks of equal size as one batched computation (`torch.func.vmap`), whose networks share the
order of the rows. This file must not know how fastbp trains.
"""

import argparse
import importlib.util
import itertools
import statistics
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastbp
from benchmarks.common import machine
from fastbp.runs.threads import cores

ROWS, HELD_OUT, COLUMNS = 1600, 400, 30
WIDTHS = (16, 32, 48, 64, 80, 96, 112, 128)
HIDDEN_LAYERS = (1, 2)
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def settings():
    """Return the hidden layers, the width and the learning rate of each network."""
    return list(itertools.product(HIDDEN_LAYERS, WIDTHS, LEARNING_RATES))


def table():
    """Return X and y of the training rows, of the held-out rows, and of the rows that scikit-learn sets aside."""
    rng, n = np.random.default_rng(0), ROWS + 2 * HELD_OUT
    X = rng.standard_normal((n, COLUMNS)).astype(np.float32)
    y = (np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n)).astype(np.float32)
    return [(X[rows], y[rows]) for rows in np.split(np.arange(n), [ROWS, ROWS + HELD_OUT])]


def _networks():
    """Return networks whose initial parameters are drawn as PyTorch draws them, so that all ways learn alike."""
    rng, networks = np.random.default_rng(0), []
    for k, (K, width, _) in enumerate(settings()):
        network = fastbp.Network([COLUMNS, *K * [width], 1], seed=k)
        limits = [1 / np.sqrt(weights.shape[1]) for weights in network.weights]
        arrays = zip((*network.weights, *network.biases), 2 * limits, strict=True)
        drawn = [rng.uniform(-limit, limit, array.shape) for array, limit in arrays]
        network.set_parameters(drawn[: K + 1], drawn[K + 1 :])
        networks.append(network)
    return networks


def train_many(train, held_out, _, epochs, batch_size):
    own = [{"optimizer": fastbp.Adam(rate)} for _, _, rate in settings()]
    common = {"epochs": epochs, "batch_size": batch_size, "validation_data": held_out}
    histories = fastbp.train_many(_networks(), *train, settings=own, **common)
    return [history.validation_loss[-1] for history in histories]


def halving(train, held_out, _, epochs, batch_size):
    own = [{"optimizer": fastbp.Adam(rate)} for _, _, rate in settings()]
    common = {"epochs": epochs, "batch_size": batch_size, "validation_data": held_out}
    histories = fastbp.train_many(_networks(), *train, settings=own, halving=fastbp.Halving(first=5), **common)
    return [history.validation_loss[-1] for history in histories if history.ended_by == "epochs"]


def fits_in_threads(train, held_out, _, epochs, batch_size):
    def fit(network, rate):
        common = {"epochs": epochs, "batch_size": batch_size, "validation_data": held_out}
        return network.fit(*train, optimizer=fastbp.Adam(rate), n_threads=1, **common)

    with ThreadPoolExecutor(cores()) as executor:
        histories = list(executor.map(fit, _networks(), [rate for _, _, rate in settings()]))
    return [history.validation_loss[-1] for history in histories]


def grid_search(train, held_out, set_aside, epochs, batch_size):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPRegressor

    X, y = (np.concatenate(parts) for parts in zip(train, set_aside, held_out, strict=True))
    split = PredefinedSplit(np.repeat([-1, 0], [ROWS + HELD_OUT, HELD_OUT]))
    grid = {
        "hidden_layer_sizes": [K * (width,) for K in HIDDEN_LAYERS for width in WIDTHS],
        "learning_rate_init": LEARNING_RATES,
    }
    watched = {"early_stopping": True, "validation_fraction": HELD_OUT / (ROWS + HELD_OUT), "n_iter_no_change": epochs}
    model = MLPRegressor(batch_size=batch_size, max_iter=epochs, alpha=0, random_state=0, **watched)
    search = GridSearchCV(model, grid, cv=split, n_jobs=cores(), refit=False, scoring="neg_mean_squared_error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that makes all its epochs, as here, warns
        search.fit(X, y)
    return -search.cv_results_["mean_test_score"] / 2


def torch_vmap(train, held_out, _, epochs, batch_size):
    import torch

    torch.set_num_threads(1)  # several threads for one small matrix take longer than one
    data = [torch.from_numpy(array) for array in (*train, *held_out)]

    def fit(shape):
        K, width = shape
        return _fit_stacked([COLUMNS, *K * [width], 1], *data, epochs, batch_size)

    with ThreadPoolExecutor(cores()) as executor:
        return [loss for losses in executor.map(fit, itertools.product(HIDDEN_LAYERS, WIDTHS)) for loss in losses]


def _fit_stacked(sizes, X, y, held_X, held_y, epochs, batch_size):
    """Train networks of these sizes, one for each learning rate, as one computation; return their held-out losses."""
    import torch
    from torch.func import functional_call, grad, stack_module_state, vmap

    models = [_torch_model(sizes) for _ in LEARNING_RATES]
    parameters = {name: value.detach() for name, value in stack_module_state(models)[0].items()}
    means, squares = ({name: torch.zeros_like(value) for name, value in parameters.items()} for _ in range(2))
    rates = torch.tensor(LEARNING_RATES)

    def loss_of(of_one, x, target):
        return ((functional_call(models[0], of_one, (x,)).squeeze(-1) - target) ** 2).mean() / 2

    gradients_of = vmap(grad(loss_of), in_dims=(0, None, None))
    step = 0
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for x, target in zip(X[order].split(batch_size), y[order].split(batch_size), strict=True):
            step += 1
            scale = rates * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            for name, gradient in gradients_of(parameters, x, target).items():
                mean = means[name].mul_(0.9).add_(gradient, alpha=0.1)
                square = squares[name].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                shape = (-1, *[1] * (mean.ndim - 1))
                parameters[name] -= scale.reshape(shape) * mean / square.sqrt().add_(1e-8)
        losses = vmap(loss_of, in_dims=(0, None, None))(parameters, held_X, held_y)
    return losses.tolist()


def _torch_model(sizes):
    import torch

    layers = [torch.nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes)]
    return torch.nn.Sequential(layers[0], *(part for layer in layers[1:] for part in (torch.nn.ReLU(), layer)))


WAYS = {
    "fastbp.train_many": ("fastbp", train_many),
    "fastbp.train_many, with Halving(first=5)": ("fastbp", halving),
    "64 Network.fit in a ThreadPoolExecutor": ("fastbp", fits_in_threads),
    "PyTorch, torch.func.vmap": ("torch", torch_vmap),
    "scikit-learn, GridSearchCV of MLPRegressor": ("sklearn", grid_search),
}
TO_INSTALL = {"torch": "torch", "sklearn": "scikit-learn"}


def measure(rounds, epochs, batch_size):
    """Return the seconds of each round, and the held-out losses of the networks, by the title of the way."""
    present = {title: way for title, (package, way) in WAYS.items() if importlib.util.find_spec(package)}
    rows = table()
    for way in present.values():
        way(*rows, 1, batch_size)  # loads and compiles code, and starts the worker processes of joblib
    seconds, losses = {title: [] for title in present}, {}
    for _ in range(rounds):
        for title, way in present.items():
            started = time.perf_counter()
            losses[title] = way(*rows, epochs, batch_size)
            seconds[title].append(time.perf_counter() - started)
    return seconds, losses


def report(seconds, losses, epochs, batch_size):
    """Return the lines of a Markdown table."""
    first = next(iter(seconds.values()))
    lines = [
        f"| {len(settings())} networks, {epochs} epochs, batch size {batch_size} | seconds | × | best | median loss |"
    ]
    lines.append("| --- | --: | --: | --: | --: |")
    for title, taken in seconds.items():
        times = statistics.median(own / ours for own, ours in zip(taken, first, strict=True))
        best, middle = min(losses[title]), statistics.median(losses[title])
        lines.append(f"| {title} | {statistics.median(taken):.2f} | {times:.2f} | {best:.4f} | {middle:.4f} |")
    return lines


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 200])
    options = parser.parse_args(arguments)
    print(machine(["fastbp", "numpy", "scikit-learn", "torch"]), end="\n\n")
    for batch_size in options.batch_size:
        print(*report(*measure(options.rounds, options.epochs, batch_size), options.epochs, batch_size), sep="\n")
        print()
    for package, name in TO_INSTALL.items():
        if importlib.util.find_spec(package) is None:
            print(f"{name} is not installed, and is left out: pip install {name}")


if __name__ == "__main__":
    main()
