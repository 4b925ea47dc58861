"""One network trained for a table, by a published recipe: initial weights, learning rates, schedule and best epoch.

RealMLP-TD-S of Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data" (arXiv:2407.04491), table A.1, with another activation. It knows runs and their buffers. It must
not know frames, encodings, or how many networks there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array, Floats, Integers
from fastbp.activations import Activation, relu, resolve
from fastbp.kernels import packing
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.expansion import EXPANSION, span_table
from fastbp.kernels.layout import Parameters
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.shuffling import mersenne_twister
from fastbp.losses import Loss
from fastbp.network import Network
from fastbp.optimizers import Adam
from fastbp.results import DivergenceError, History, Progress
from fastbp.runs.checkpoint import untrained
from fastbp.runs.loss_check import check_custom_loss
from fastbp.runs.prediction import Predictor
from fastbp.runs.run import Patience, Run
from fastbp.schedules import LogarithmicCosine
from fastbp.tabular.encoding.coded import CodedRows, SeenRows
from fastbp.tabular.metrics import Parts
from fastbp.tabular.training.pace import EndedError, Pace
from fastbp.tabular.training.parts import FEW_ROWS, Recipe, Task, Trained, Workload, spread_over
from fastbp.tabular.training.subfolds import Subfolds

Watch = Callable[[int, float, float], bool]  # takes the epoch, the training loss and the error of the held-out rows

ErrorsOf = Callable[[Array, Parts], list[float]]

DTYPE = np.dtype(np.float32)
SCALE_RATE = 6.0  # factor of the learning rate for the inputs' factors
BIAS_RATE = 0.1  # factor of the learning rate for the biases
_BLOCK_ROWS = 65_536  # rows whose targets are made at once


def draw(sizes: list[int], seed: int) -> Parameters:
    """Return weights N(0, 1/fan_in) and biases N(0, 1), and zeros in the last layer.

    This is the neural-tangent parametrisation, f = Ω h / √D + β with all Ω and β N(0, 1), written as a plain network.
    """
    random = np.random.default_rng(seed)
    parameters = packing.zero_parameters(sizes, DTYPE)
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes[:-1]):
        weights.append(random.standard_normal((outputs, inputs)) / np.sqrt(inputs))
        biases.append(random.standard_normal(outputs))
    weights.append(np.zeros((sizes[-1], sizes[-2])))
    biases.append(np.zeros(sizes[-1]))
    packing.write_parameters(parameters, weights, biases)
    return parameters


def rate_factors(sizes: list[int]) -> npt.NDArray[np.float64]:
    """Return the factors of the learning rate for each layer's weights and biases, (2 (K + 1),).

    Adam's step does not depend on the size of a gradient, so a step of η in Ω is a step of η / √D in the weights
    Ω / √D.
    """
    return np.array([[1 / np.sqrt(inputs), BIAS_RATE] for inputs in sizes[:-1]]).reshape(-1)


def packed(X: CodedRows, targets: Floats, weights: Array, sees_bins: bool = True) -> TrainingRows:
    """Return rows as a run takes them, without a copy of X; `targets` are laid out by `packing.target_rows`."""
    spans = span_table(X.spans_for(sees_bins), X.codes.shape[1])
    codes, classes = X.codes.reshape(-1), np.zeros(0, np.int64)
    return TrainingRows(
        codes, targets, classes, weights.astype(DTYPE, copy=False), len(X), spans, EXPANSION.address(DTYPE)
    )


def train_to_the_end(epoch: int, loss: float, error: float) -> bool:  # noqa: ARG001 (a `Watch`)
    """Return False, so that the training does not end early."""
    return False


def train(
    rows: TrainingRows,
    chosen: Integers,
    held_out: SeenRows,
    subfold_of: Integers,
    errors_of: ErrorsOf,
    n_outputs: int,
    recipe: Recipe,
    loss: Loss,
    seed: int,
    watch: Watch = train_to_the_end,
    pace: Pace | None = None,
    activation: Activation = relu,
) -> Trained:
    """Train a network, and return it as it was after its best epoch. Of equally good epochs, the last one is best.

    Parameters
    ----------
    rows : TrainingRows
        Rows of which the network sees some.
    chosen : ndarray of shape (n_training,)
        Numbers of the rows that the network is trained on.
    held_out : SeenRows
        The held-out rows.
    subfold_of : ndarray of shape (n_held_out,)
        Which subfold each held-out row belongs to, from 0; see `parts.Trained.scored_output`.
    errors_of : callable
        Takes the network's output for the held-out rows, (n_held_out, n_outputs), and parts of these rows, and returns
        the error of each part. If the user ends the training before an epoch is judged, the output is of `FEW_ROWS`
        rows, `spread_over` the held-out rows.
    n_outputs : int
        Number of the network's outputs.
    recipe : Recipe
    loss : Loss
    seed : int
        Seed of the initial weights, the order of the rows and the dropout.
    watch : callable
        Called after each epoch with the epoch, the training loss and the error. The training ends if it returns True.
    pace : Pace, optional
        Ends the training between two slices. Default: there is time for all epochs.
    activation : Activation, default ReLU
        Activation of the hidden units.

    Raises
    ------
    DivergenceError
        If a loss or a parameter is not finite in the first epoch. A later divergence only ends the training.
    EndedError
        If the pace leaves the network out.
    """
    pace = Pace() if pace is None else pace
    sizes = [held_out.n_inputs, *recipe.hidden_layer_sizes, n_outputs]
    waves = LogarithmicCosine(recipe.learning_rate)
    optimizer = Adam(waves, beta_1=0.9, beta_2=0.95)
    run = Run(
        draw(sizes, seed),
        rows,
        activation=activation,
        loss=loss,
        rule=optimizer.rule,
        batch_size=recipe.batch_size,
        random=mersenne_twister(np.random.RandomState(seed)),  # its shuffle permutes `order` in place
        drop_last=True,
        order=chosen,
        dropout=recipe.dropout,
        rate_factors=rate_factors(sizes),
        input_factor_rate=SCALE_RATE if recipe.hidden_layer_sizes else None,
    )
    predictor, history = Predictor(sizes, DTYPE, activation), History()

    def output() -> Array:
        blocks = []
        for block in held_out.blocks():
            if pace.has_ended():
                few = held_out._replace(rows=spread_over(held_out.rows, FEW_ROWS))
                return np.concatenate([predictor.predict(run.parameters, block, None) for block in few.blocks()])
            blocks.append(predictor.predict(run.parameters, block, 1))
        return np.concatenate(blocks)

    def judge() -> float:
        outputs.append(output())
        are_few = len(outputs[-1]) < len(subfold_of)  # after the end by the user, for the only judging
        error, *of_parts = errors_of(outputs[-1], [slice(None), *([] if are_few else subfolds.others)])
        if of_parts:
            subfolds.judge(outputs[-1], of_parts)
        return error

    def after_epoch(progress: Progress) -> bool:
        outputs[:] = outputs[-1:] if patience.count == 0 else outputs[:1]
        return watch(progress.epoch, progress.loss, progress.validation_loss)

    subfolds = Subfolds(subfold_of)
    outputs: list[Array] = []  # of the best epoch, and behind it, of an epoch that is being judged
    patience = Patience(np.inf if recipe.patience is None else recipe.patience)
    divergence, began = None, time.perf_counter()
    try:
        run.fit(
            recipe.epochs,
            pace.plan(waves, recipe.epochs, run.steps_per_epoch, run.plan.batch_size, len(held_out.rows)),
            validate=lambda: pace.timed(judge),
            patience=patience,
            callback=after_epoch,
            n_threads=1,
            history=history,
            is_late=lambda: pace.is_late(run.step),
        )
    except DivergenceError as error:
        if not history.validation_loss:
            raise
        divergence = error
    except EndedError:
        if not outputs:
            raise
        del history.loss[len(history.validation_loss) :]  # of an epoch whose judging was broken off
    pace.count(run.step)
    run.restore_best()
    # A user's function is left out: the network's own one sees standardised numbers, and cannot be pickled.
    network = Network.from_checkpoint(untrained(run.parameters, seed, replace(loss, function=None), activation))
    best_epoch = max(1, len(history.validation_loss) - patience.count)  # the first epoch if every error is NaN
    passes = run.step / run.steps_per_epoch
    losses, errors, scored = history.loss, history.validation_loss, subfolds.scored_output(outputs[0])
    seconds = time.perf_counter() - began
    return Trained(network, best_epoch, outputs[0], losses, errors, divergence, scored, passes, pace.is_cut, seconds)


def train_task(workload: Workload, task: Task, watch: Watch = train_to_the_end, pace: Pace | None = None) -> Trained:
    """Train the network of one task, in any process: `workload`, `task` and the result can be pickled.

    Parameters
    ----------
    workload : Workload
    task : Task
    watch, pace
        As for `train`.

    Raises
    ------
    DivergenceError, EndedError
        As `train` does.
    """
    target, recipe = workload.target, workload.recipe
    if task.epochs is not None:
        recipe = replace(recipe, epochs=task.epochs)
    held_out = workload.folds[task.fold]
    y, weights = workload.scored_rows.targets(held_out)
    chosen = np.arange(len(workload.rows.y))
    if workload.validation is None:
        chosen = np.delete(chosen, held_out)

    def errors_of(output: Floats, parts: Parts) -> list[float]:
        of_rows = spread_over(y, len(output)), spread_over(weights, len(output))
        return target.validation_errors(output, *of_rows, recipe.metric, recipe.quantile, parts)

    loss = target.loss(recipe.metric, recipe.quantile, workload.rows.y)
    inputs = SeenRows(workload.scored_rows.X, held_out, task.sees_bins)
    rows = _training_rows(workload, task.sees_bins)
    subfold_of, activation = workload.subfolds[held_out], resolve(task.activation)
    shape = target.n_outputs, recipe, loss
    return train(rows, chosen, inputs, subfold_of, errors_of, *shape, task.seed, watch, pace, activation)


def check_loss(workload: Workload) -> None:
    """Compile a user's loss before the first task, so that threads share the compiled code.

    Raises
    ------
    TypeError, ValueError
        If the loss fails for some of the training targets, its derivative is wrong, or Numba cannot compile it.
    """
    target, recipe, y = workload.target, workload.recipe, workload.rows.y
    if isinstance(recipe.metric, Loss):
        check_custom_loss(recipe.metric, target.truth(y)[:, np.newaxis])
        loss_address(target.loss(recipe.metric, recipe.quantile, y), DTYPE)


def _training_rows(workload: Workload, sees_bins: bool) -> TrainingRows:
    """Return the training rows as a run takes them. All tasks with the same workload object share these arrays."""
    with workload.lock:
        if sees_bins not in workload.packed:
            if (other := workload.packed.get(not sees_bins)) is not None:
                targets, weights = other.y, other.sample_weights
            else:
                targets, weights = _targets(workload), workload.rows.weights
            workload.packed[sees_bins] = packed(workload.rows.X, targets, weights, sees_bins)
        return workload.packed[sees_bins]


def _targets(workload: Workload) -> Floats:
    """Return the training targets of all rows, laid out by `packing.target_rows`."""
    y, smoothing = workload.rows.y, workload.recipe.label_smoothing
    blocks = [
        packing.target_rows(workload.target.training_targets(y[first : first + _BLOCK_ROWS], smoothing), DTYPE)
        for first in range(0, len(y), _BLOCK_ROWS)
    ]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
