"""A run of minibatch gradient descent: its plan, which stays the same, and its state, which each step changes.

A run is a function of these buffers. So a run can be stopped after any step and continued to the bit, and many runs can
go side by side. This file must not know how a step is computed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.activations import LayerActivations
from fastbp.kernels.input_factors import InputFactors
from fastbp.kernels.layout import Parameters
from fastbp.kernels.shuffling import RandomState
from fastbp.machine.jit import inlined
from fastbp.optimizers import Rule

STEP, EPOCH, ROW, STALE = range(4)  # the places in State.counts
LOSS, WEIGHT, BEST = range(3)  # the places in State.sums
ABANDONED = -1  # what `train` returns if one of its threads did not come


class Plan(NamedTuple):
    """What stays the same over a run."""

    batch_size: int
    rows: int  # of an epoch: n, or fewer if the last short batch is dropped
    shuffle: int  # the address of the piece that permutes the rows for each epoch; 0 if they keep their order
    loss: int  # the address of a piece, from `custom_losses.loss_address`
    loss_parameter: float
    rule: Rule
    step: int  # the address of the rule's piece; 0 for plain SGD
    loss_scale: float = 1.0  # what ℓ is multiplied by in an epoch's loss
    is_mean_of_batches: bool = False  # whether a batch's loss is weighted by its number of rows, not by its Σ w
    tolerance: float = 0.0  # an epoch improves if its loss is at least so much below the least loss before
    patience: float = np.inf  # a call ends after more epochs in a row than this that do not improve
    dropout: float = 0.0  # the share of hidden units that each step leaves out
    drop: int = 0  # the address of the piece that does so; 0 without dropout
    gradient_scale: int = 0  # the address of the piece that clips; 0 without clipping


class State(NamedTuple):
    """What a step changes, besides the workspace."""

    parameters: Parameters
    activations: LayerActivations
    gradients: Floats  # scratch, laid out as the parameters; empty for plain SGD
    mean: Floats  # m of Adam and Lion, or the velocity v; empty if the rule has no such moment
    square: Floats  # v of Adam and RMSprop, or Adagrad's s; empty if the rule has no such moment
    order: Integers  # (n,): this epoch's permutation of the rows
    random: RandomState  # of xoshiro256++ or of NumPy's Mersenne Twister
    counts: Integers  # (4,): steps of the optimizer, epochs of the run, rows of this epoch, epochs without improvement
    sums: npt.NDArray[np.float64]  # (3,): this epoch's Σ w ℓ and Σ w, and the least loss of an epoch
    rate_factors: npt.NDArray[np.float64]  # (2 (K + 1),): of η, for each layer's weights and biases; not for plain SGD
    input_factors: InputFactors  # need one thread, a hidden layer, and an optimizer other than plain SGD


class Tally(NamedTuple):
    """Where a call of `train` counts its steps and epochs. All arrays are addresses."""

    counts: Integers
    sums: npt.NDArray[np.float64]
    epoch_losses: npt.NDArray[np.float64]  # the mean loss of each epoch that ends in this call
    epochs_before: int  # epochs that ended in earlier calls


@inlined
def count_step(
    tally: Tally,
    plan: Plan,
    step: int,  # steps of the optimizer, with this one
    row: int,  # rows of the epoch behind this step; 0 at the epoch's end
    n: int,  # rows of the batch
    weight: float,  # Σ w of the batch
    loss: float,  # Σ w ℓ of the batch
    penalty: float,  # of the weights, before the step
) -> None:
    """Count a step. At an epoch's end, write the epoch's mean loss, and whether the epoch improves."""
    counts, sums = tally.counts, tally.sums
    counts[STEP], counts[ROW] = step, row
    counted = np.float64(n) if plan.is_mean_of_batches else weight
    sums[LOSS] += (loss * plan.loss_scale + penalty) * (counted / weight if weight > 0 else 0.0)
    sums[WEIGHT] += counted
    if row == 0:
        mean = sums[LOSS] / sums[WEIGHT]
        tally.epoch_losses[counts[EPOCH] - tally.epochs_before] = mean
        counts[EPOCH] += 1
        counts[STALE] = counts[STALE] + 1 if mean > sums[BEST] - plan.tolerance else 0
        sums[BEST] = mean if mean < sums[BEST] else sums[BEST]
        sums[LOSS] = sums[WEIGHT] = 0
