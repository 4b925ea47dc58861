"""`Network`: its construction and its training. `runs` holds the rest. This file must not compute anything itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy.typing as npt

from fastbp import activations, checks
from fastbp._typing import FloatDType, HeldOut, LayerSizes, MaybeArray
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss, LossName
from fastbp.optimizers import SGD, Optimizer
from fastbp.results import History, Progress
from fastbp.runs import checkpoint
from fastbp.runs.chunked_run import ChunkedRun
from fastbp.runs.chunks import ChunkedRows, Chunks, are_chunks, checked_chunks
from fastbp.runs.fit_settings import begin, checked_settings
from fastbp.runs.network_answers import NetworkAnswers
from fastbp.runs.run import Patience, Run
from fastbp.runs.run_progress import shown
from fastbp.runs.training_rows import checked_rows


class Network(NetworkAnswers):
    """A multilayer perceptron: h_{i+1} = ReLU(β_i + Ω_i h_i) for K hidden layers, and the output ŷ = β_K + Ω_K h_K.

    Initial weights are drawn from N(0, 2 / D_i) for ReLU and its relatives (He et al. 2015, "Delving deep into
    rectifiers", ICCV), and from N(0, 1 / D_i) for "identity", "tanh", "logistic", "selu", "softplus" and "hard_tanh".
    Initial biases are 0.

    Parameters
    ----------
    layer_sizes : sequence of int
        (D_0, D_1, …, D_{K+1}): numbers of inputs, of units per hidden layer, and of outputs. Two sizes make a linear
        model, K = 0.
    dtype : {"float32", "float64"}, default "float32"
        Dtype of the parameters and of all computations.
    seed : int, optional
        Seed of the initial weights, and of shuffling and dropout in `fit`. Default: random.
    activation : str, Activation or list of these, default "relu"
        Activation of the hidden layers: one of `activations.NAMES`, `activations.leaky_relu(negative_slope)`,
        `activations.elu(alpha)` or `activations.custom(function)`. A list has one for each hidden layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.Network([16, 64, 64, 1], seed=0)
    Network([16, 64, 64, 1], dtype='float32')
    """

    def __init__(
        self,
        layer_sizes: LayerSizes,
        dtype: FloatDType = "float32",
        seed: int | None = None,
        activation: activations.ActivationLike = "relu",
    ) -> None:
        sizes, kept_in = checks.layer_sizes(layer_sizes), checks.float_dtype(dtype)
        between = activations.resolve_layers(activation, len(sizes) - 2)
        super().__init__(checkpoint.initial(sizes, kept_in, checks.seed(seed), between))

    # --- how it learns --------------------------------------------------------------------------------------

    @overload
    def fit(self, X: Chunks, y: None = None, *options: Any, **named_options: Any) -> History: ...

    @overload
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        loss: LossName | Loss | None = None,
        optimizer: Optimizer = ...,
        batch_size: int = 32,
        epochs: int = 10,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int | None = None,
        sample_weight: MaybeArray = None,
        validation_data: HeldOut | None = None,
        callback: Callable[[Progress], object] | None = None,
        n_threads: int | None = None,
        *,
        dropout: float = 0.0,
        l2_penalty: float = 0.0,
        patience: int | None = None,
        restore_best: bool = True,
        verbose: bool | None = None,
    ) -> History: ...

    def fit(
        self,
        X: npt.ArrayLike | Chunks,
        y: MaybeArray = None,
        loss: LossName | Loss | None = None,
        optimizer: Optimizer = SGD(learning_rate=0.01),  # noqa: B008 (frozen)
        batch_size: int = 32,
        epochs: int = 10,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int | None = None,
        sample_weight: MaybeArray = None,
        validation_data: HeldOut | None = None,
        callback: Callable[[Progress], object] | None = None,
        n_threads: int | None = None,
        *,
        dropout: float = 0.0,
        l2_penalty: float = 0.0,
        patience: int | None = None,
        restore_best: bool = True,
        verbose: bool | None = None,
    ) -> History:
        """Train by minibatch gradient descent, starting from the current parameters.

        A call with an equal optimizer continues with the moments and the step count of the last call. So two fits of 5
        epochs equal one fit of 10 epochs to the bit, unless a schedule spans each call. A different optimizer starts
        with new moments. Learning rates that are functions of the user count as equal. Ctrl-C ends the training within
        about a tenth of a second, with the parameters of the last step.

        Parameters
        ----------
        X : array-like of shape (n, D_0), or chunks
            Rows. A memory map (`numpy.memmap`) in the dtype of the network is read where it is. Chunks are an iterator,
            or a function without arguments that returns an iterable for each epoch. Each chunk is (X, y) or
            (X, y, sample_weight), and only one chunk has to fit the memory. With `shuffle`, the rows of a chunk change
            places with each other only. Chunks of at least 10,000 rows take about a sixth more time than one table.
        y, loss, sample_weight
            As in `loss`. For chunks, `y` and `sample_weight` are None.
        optimizer : SGD, Adam, AdamW, RMSprop, Adagrad or Lion, default SGD(learning_rate=0.01)
        batch_size : int, default 32
            Rows per step. A larger number than n means n.
        epochs : int, default 10
            Number of passes over the rows.
        shuffle : bool, default True
            Whether each epoch takes the rows in a new random order.
        drop_last : bool, default False
            Whether the last batch of an epoch is left out if it has fewer than `batch_size` rows.
        seed : int, optional
            Restarts the random numbers of shuffling and dropout. Default: they continue.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows whose loss is computed after each epoch.
        callback : callable, optional
            Called as `callback(progress)` with a `fastbp.Progress` after each epoch. Training ends if it returns True.
        n_threads : int, optional
            Number of threads that share each step. Default: the fastest number, found by trials during the training.
            It is at most the number of available cores, and at most what `OMP_NUM_THREADS`, `NUMBA_NUM_THREADS` or an
            active limit of threadpoolctl allows when the training begins. The result does not depend on this number.
        dropout : float, default 0.0
            Probability in [0, 1) with which a step sets a hidden unit of a row to 0 (Srivastava et al. 2014, "Dropout:
            a simple way to prevent neural networks from overfitting", JMLR 15).
        l2_penalty : float, default 0.0
            λ ≥ 0 of the penalty λ/2 Σ_i ‖Ω_i‖² that is added to the training loss. Its gradient is a part of the
            gradient that the optimizer gets, unlike the decoupled `weight_decay` of `Adam` and `Lion`.
        patience : int, optional
            Training ends after this number of epochs in a row without improvement of the validation loss, or of the
            training loss without `validation_data`. Default: training makes all epochs.
        restore_best : bool, default True
            Whether a fit with `patience` ends with the parameters of its best epoch. The optimizer keeps the state of
            the last step.
        verbose : bool, optional
            Whether the progress is shown: epochs, rows, losses, and the time that is left. A notebook shows a bar, a
            terminal a line on stderr, and a log gets a line every five seconds. Default: only in a notebook, and only
            if the fit takes more than half a second.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid. The network is then unchanged, unless an invalid chunk came after valid ones.
        DivergenceError
            If a loss or a parameter is not finite. The network then keeps its last finite parameters, or the parameters
            of the best epoch with `patience` and `restore_best`.
        RuntimeError
            If another fit of this network is running. The network is unchanged by this call.
        """
        settings = checked_settings(
            self.trained_loss,
            self._dtype,
            loss,
            optimizer,
            batch_size,
            epochs,
            shuffle,
            drop_last,
            seed,
            dropout,
            l2_penalty,
            patience,
            restore_best,
        )
        checks.function("callback", callback)
        n_threads = checks.thread_count(n_threads)
        verbose = None if verbose is None else checks.flag("verbose", verbose)
        resolved, epochs, learning_rate = settings.loss, settings.epochs, settings.optimizer.learning_rate
        rows: TrainingRows | ChunkedRows
        run_over: type[Run] = Run
        shape = self._sizes, resolved, self._dtype
        if are_chunks(X):
            rows, run_over = checked_chunks(X, y, sample_weight, *shape, epochs, learning_rate), ChunkedRun
        else:
            rows = checked_rows(X, y, sample_weight, *shape)
        validate = None
        if validation_data is not None:
            held_out = checks.rows_with_targets("validation_data", validation_data)
            held_out_rows = checked_rows(*held_out, *shape, of="validation ")
            validate = self._evaluator(held_out_rows, resolved)

        with self._only_fit:
            begun, run = begin(settings, self._checkpoint, rows, run_over)

            def keep() -> None:
                """Store the state of the optimizer and of the random numbers if a step has changed the parameters."""
                if run.step > begun.step:
                    begun.step = run.step
                    self._checkpoint = begun

            def after_epoch(progress: Progress) -> object:
                keep()  # so that a callback can save a network whose training can be continued
                return callback(progress._replace(model=self)) if callback is not None else None

            history = History()
            try:
                with shown(run, epochs, history, verbose):
                    return run.fit(
                        epochs,
                        learning_rate,
                        validate=validate,
                        patience=None if settings.patience is None else Patience(settings.patience),
                        callback=None if callback is None else after_epoch,
                        n_threads=n_threads,
                        history=history,
                    )
            finally:
                keep()
                if settings.restore_best:
                    run.restore_best()
