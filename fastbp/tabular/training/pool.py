"""Several networks trained side by side, each with other rows held out, on as many cores as there are.

It knows tasks and threads. It must not know columns, or what an error is made of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.losses import Loss
from fastbp.runs.fitting import DivergenceError
from fastbp.runs.threads import available
from fastbp.tabular.training.recipe import Recipe, Task, Trained, train

Integers = npt.NDArray[np.int64]

FEWEST_FOLDS = 5
MOST_FOLDS = 10


class Progress(NamedTuple):
    """What is told after each epoch of each network, and once more when its training is over.

    Attributes
    ----------
    network : int
        Counted from 0.
    epoch : int
        Counted from 1; when it is over, the best one.
    loss : float
        On the rows trained on, the epoch's mean.
    error : float
        On the rows held out, by the metric.
    is_over : bool
    """

    network: int
    epoch: int
    loss: float
    error: float
    is_over: bool = False


class Ensemble(NamedTuple):
    """The networks that there was time for.

    Attributes
    ----------
    trained : list of Trained
    tasks : list of int
        Which of the tasks each is of.
    is_interrupted : bool
        Whether Ctrl-C ended their training.
    """

    trained: list[Trained]
    tasks: list[int]
    is_interrupted: bool


def folds(
    n: int,
    k: int,
    n_networks: int,
    seed: int,
    classes: Integers | None = None,
    groups: npt.NDArray[Any] | None = None,
) -> list[Integers]:
    """Choose the rows that each network does without: each row once before any is chosen twice.

    Parameters
    ----------
    n : int
        Rows, two at least.
    k : int
        One part in k is held out, between a fifth and a tenth.
    n_networks : int
    seed : int
    classes : (n,) integers, optional
        Class numbers, of which each fold gets its share. A class's only row is not held out, unless all are such.
    groups : (n,) array, optional
        Rows of a group are held out together.

    Returns
    -------
    list of (n_held_out,) integers
        Row numbers, ascending, a list for each network.

    Raises
    ------
    ValueError
        If there is one group alone.
    """
    random, k = np.random.default_rng(seed), max(FEWEST_FOLDS, min(MOST_FOLDS, k))
    numbers = np.zeros(n, np.int64) if classes is None or np.bincount(classes).max() < 2 else classes
    chosen: list[Integers] = []
    while len(chosen) < n_networks:
        fold_of = _fold_of_rows(numbers, min(n, k), random) if groups is None else _fold_of_groups(groups, k, random)
        chosen += [np.flatnonzero(fold_of == fold) for fold in range(fold_of.max() + 1)]
    return chosen[:n_networks]


def _fold_of_rows(classes: Integers, k: int, random: np.random.Generator) -> Integers:
    """Deal the rows of one class after another to the folds in turn; −1 for a class's only row."""
    order = random.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    order = order[np.bincount(classes)[classes[order]] > 1]
    fold_of = np.full(len(classes), -1)
    fold_of[order] = np.arange(len(order)) % k
    return fold_of


def _fold_of_groups(groups: npt.NDArray[Any], k: int, random: np.random.Generator) -> Integers:
    """Give each group, the largest first, to the fold that is smallest so far."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise ValueError("groups holds one group alone: there must be another one to hold out")
    k = min(k, len(counts))
    sizes, fold_of_group = np.zeros(k), np.zeros(len(counts), np.int64)
    order = random.permutation(len(counts))
    for group in order[np.argsort(-counts[order], kind="stable")]:
        fold_of_group[group] = sizes.argmin()
        sizes[sizes.argmin()] += counts[group]
    return fold_of_group[numbers]


def train_all(
    tasks: Sequence[Task],
    n_outputs: int,
    recipe: Recipe,
    loss: Loss,
    n_threads: int | None = None,
    time_budget: float | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Ensemble:
    """Train a network for each task.

    Each is the same to the bit however many threads there are, unless time runs out.

    Parameters
    ----------
    tasks : sequence of Task
    n_outputs : int
    recipe : Recipe
    loss : Loss
    n_threads : int, optional
        How many networks are trained at once; left out, as many as there are cores.
    time_budget : float, optional
        Seconds after which networks end with the epoch they are in, and no others begin but the first.
    progress : callable, optional
        Called in this thread after each epoch of each network.

    Raises
    ------
    DivergenceError
        If all networks left the finite numbers.
    KeyboardInterrupt
        On a second Ctrl-C. A first one ends each network with the epoch it is in.
    """
    todo, events, ended = SimpleQueue[int](), SimpleQueue[Any](), threading.Event()
    deadline = np.inf if time_budget is None else time.monotonic() + time_budget
    for k in range(len(tasks)):
        todo.put(k)

    def fit(k: int) -> Trained | None:
        def watch(epoch: int, loss_value: float, error: float) -> bool:
            events.put(Progress(k, epoch, loss_value, error))
            return ended.is_set() or time.monotonic() > deadline

        is_late = ended.is_set() or time.monotonic() > deadline
        return None if is_late and k > 0 else train(tasks[k], n_outputs, recipe, loss, watch)

    def work() -> None:
        with suppress(Empty):
            while True:
                k = todo.get_nowait()
                try:
                    events.put((k, fit(k)))
                except BaseException as error:
                    events.put((k, error))

    threads = [threading.Thread(target=work, name="fastbp", daemon=True) for _ in tasks[: n_threads or available()]]
    outcome: dict[int, Any] = {}
    is_interrupted = False
    try:
        for thread in threads:
            thread.start()
        while len(outcome) < len(tasks):
            try:
                event = events.get()
                if not isinstance(event, Progress):
                    k, outcome[k] = event
                    event = _last_of(k, outcome[k])
                if progress is not None and event is not None:
                    progress(event)
            except KeyboardInterrupt:
                if is_interrupted:
                    raise
                is_interrupted = True
                ended.set()
    finally:
        ended.set()  # so that no thread goes on for nobody
    trained = {k: outcome[k] for k in sorted(outcome) if isinstance(outcome[k], Trained)}
    errors = [error for error in outcome.values() if isinstance(error, BaseException)]
    unexpected = [error for error in errors if not isinstance(error, DivergenceError)]
    diverged = [network.divergence for network in trained.values() if network.divergence is not None]
    if unexpected or len(diverged) == len(trained):
        raise (unexpected + errors + diverged)[0]
    return Ensemble(list(trained.values()), list(trained), is_interrupted)


def _last_of(k: int, outcome: Any) -> Progress | None:
    """Return what is to be told of a network whose training is over."""
    if not isinstance(outcome, Trained):
        return None
    return Progress(k, outcome.epoch, outcome.losses[outcome.epoch - 1], outcome.errors[outcome.epoch - 1], True)
