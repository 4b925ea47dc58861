"""Folds: which rows are held out from the training of each network.

It knows row numbers, class numbers and groups. It must not know networks or columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbp._typing import Array, Integers

MIN_FOLDS = 5
MAX_FOLDS = 10
N_SUBFOLDS = 5


def folds(
    n: int,
    k: int,
    n_networks: int,
    seed: int,
    classes: Integers | None = None,
    groups: Array | None = None,
) -> list[Integers]:
    """Return the rows that are held out from each network. Every row is held out once before a row is held out twice.

    Parameters
    ----------
    n : int
        Number of rows, at least two.
    k : int
        Wanted number of folds. The number of folds that is used lies between `MIN_FOLDS` and `MAX_FOLDS`.
    n_networks : int
        Number of networks.
    seed : int
        Seed of the random order of the rows.
    classes : ndarray of shape (n,), optional
        Class numbers. Every fold has its share of each class. The only row of a class is never held out, unless every
        class has one row only.
    groups : ndarray of shape (n,), optional
        Rows of one group are held out together.

    Returns
    -------
    list of ndarray of shape (n_held_out,)
        Row numbers in ascending order, one array per network.

    Raises
    ------
    ValueError
        If all rows are of one group.
    """
    random, k = np.random.default_rng(seed), max(MIN_FOLDS, min(MAX_FOLDS, k))
    numbers = np.zeros(n, np.int64) if classes is None or np.bincount(classes).max() < 2 else classes
    chosen: list[Integers] = []
    while len(chosen) < n_networks:
        fold_of = _fold_of_rows(numbers, min(n, k), random) if groups is None else _fold_of_groups(groups, k, random)
        chosen += [np.flatnonzero(fold_of == fold) for fold in range(fold_of.max() + 1)]
    return chosen[:n_networks]


def subfolds(
    held_out: Sequence[Integers], n: int, seed: int, classes: Integers | None, groups: Array | None
) -> Integers:
    """Return which part of its fold each of n rows belongs to, from 0 to `N_SUBFOLDS` − 1.

    Parameters
    ----------
    held_out : sequence of ndarray
        The folds. A row of several folds is split as in the first one of them.
    n : int
        Number of rows.
    seed : int
    classes : ndarray of shape (n,), optional
        Class numbers. Each subfold has its share of each class.
    groups : ndarray of shape (n,), optional
        Rows of one group are in the same subfold, if the fold has several groups.
    """
    random, subfold_of = np.random.default_rng(seed), np.full(n, -1)
    numbers = np.zeros(n, np.int64) if classes is None else classes
    for rows in held_out:
        left = rows[subfold_of[rows] < 0]
        if groups is not None and len(np.unique(groups[left])) > 1:
            subfold_of[left] = _fold_of_groups(groups[left], N_SUBFOLDS, random)
        elif len(left):
            order = random.permutation(len(left))
            ordered = left[order[np.argsort(numbers[left[order]], kind="stable")]]
            subfold_of[ordered] = np.arange(len(left)) % N_SUBFOLDS
    return subfold_of


def _fold_of_rows(classes: Integers, k: int, random: np.random.Generator) -> Integers:
    """Assign the rows of each class to the folds in turn; −1 marks the only row of a class."""
    order = random.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    order = order[np.bincount(classes)[classes[order]] > 1]
    fold_of = np.full(len(classes), -1)
    fold_of[order] = np.arange(len(order)) % k
    return fold_of


def _fold_of_groups(groups: Array, k: int, random: np.random.Generator) -> Integers:
    """Assign each group to the smallest fold so far, the largest group first."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise ValueError("groups holds only one group: at least two are needed, one of them to be held out")
    k = min(k, len(counts))
    sizes, fold_of_group = np.zeros(k), np.zeros(len(counts), np.int64)
    order = random.permutation(len(counts))
    for group in order[np.argsort(-counts[order], kind="stable")]:
        fold_of_group[group] = sizes.argmin()
        sizes[sizes.argmin()] += counts[group]
    return fold_of_group[numbers]
