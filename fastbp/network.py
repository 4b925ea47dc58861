"""`Network`: checks arguments, owns memory and calls kernels. This file must not compute anything itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks, losses, optimizers
from fastbp._typing import FloatDType, Floats, HeldOut, LayerSizes, MaybeArray
from fastbp.kernels import entries, packing
from fastbp.kernels.custom_losses import loss_address
from fastbp.losses import Loss, LossName
from fastbp.optimizers import SGD, Optimizer
from fastbp.results import Gradients, History, Progress, Trace
from fastbp.runs import checkpoint
from fastbp.runs.network_state import NetworkState
from fastbp.runs.run import Patience, Run
from fastbp.runs.training_rows import checked_rows


class Network(NetworkState):
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

    # --- what it computes -----------------------------------------------------------------------------------

    def predict(self, X: npt.ArrayLike, n_threads: int | None = None) -> Floats:
        """Return the outputs ŷ = f_K, before any link function of the loss.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
            Rows to predict.
        n_threads : int, optional
            Number of threads. Default: as many as save time, up to the number of available cores. The result does not
            depend on this number.

        Returns
        -------
        ndarray of shape (n, D_{K+1})
            In the dtype of the network.

        Raises
        ------
        TypeError, ValueError
            If `X` has a wrong shape, or contains anything else than finite numbers.
        """
        return self._predictor.predict(self._checkpoint.parameters, X, checks.thread_count(n_threads))

    def forward(self, X: npt.ArrayLike) -> Trace:
        """Return every f_i and h_i of a forward pass.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
            Rows of a batch.

        Returns
        -------
        Trace

        Raises
        ------
        TypeError, ValueError
            If `X` has a wrong shape, or contains anything else than finite numbers.
        """
        x = checks.matrix("X", X, self._sizes[0], self._dtype)
        workspace = packing.workspace_for(self._sizes, len(x), self._dtype)
        operands = self._checkpoint.parameters, self._between, workspace, np.arange(len(x))
        entries.trace(packing.padded_rows(x, self._dtype), *operands)
        f = packing.gradient_matrices(workspace, len(x))[1:]
        return Trace(f, packing.activation_matrices(workspace, len(x))[:-1])

    def predict_proba(self, X: npt.ArrayLike, n_threads: int | None = None) -> Floats:
        """Return probabilities: softmax(ŷ) after a fit with "cross_entropy", σ(ŷ) after "binary_cross_entropy".

        Parameters
        ----------
        X : array-like of shape (n, D_0)
            Rows to predict.
        n_threads : int, optional
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_classes)
            After "cross_entropy", one column per output. After "binary_cross_entropy" with one output, the columns are
            class 0 and class 1. With several outputs, each column is the probability that the label of an output is 1.

        Raises
        ------
        ValueError
            If the network was not trained with these or a `losses.custom` of such a link, or `X` is invalid.
        TypeError
            If `X` does not contain numbers.
        """
        loss = self.trained_loss
        if loss is None or not loss.is_of_probabilities:
            was = "it was not trained yet" if loss is None else f"it was trained with {loss}"
            known = "cross_entropy, binary_cross_entropy or losses.custom(function, link='logistic' or 'softmax')"
            raise ValueError(f"predict_proba needs a network trained with {known}; {was}")
        p = loss.expectation(self.predict(X, n_threads))
        return np.hstack([1 - p, p]) if p.shape[1] == 1 and not loss.takes_classes else p

    def loss(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: LossName | Loss | None = None, sample_weight: MaybeArray = None
    ) -> float:
        """Return L, the weighted mean of the losses of the samples.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
            Rows of a batch.
        y : array-like of shape (n, D_{K+1})
            Targets. The shape may be (n,) if D_{K+1} = 1, or for class numbers with "cross_entropy".
        loss : str or Loss, optional
            "squared_error", "binary_cross_entropy", "cross_entropy", "poisson", "huber", "absolute_error", "quantile",
            `losses.huber(delta)` or `losses.quantile(q)`. `fastbp.losses` has the formulas. Default: the loss of the
            last fit, or "squared_error" before the first fit.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, at least 0. Default: 1 for each row.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid.
        """
        resolved = losses.resolve_or_trained(loss, self.trained_loss)
        rows = checked_rows(X, y, sample_weight, self._sizes, resolved, self._dtype)
        return self._evaluator(rows, resolved)()

    def gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: LossName | Loss | None = None, sample_weight: MaybeArray = None
    ) -> Gradients:
        """Return the loss and its gradients by backpropagation.

        ∂L/∂β_i = ∂L/∂f_i, ∂L/∂Ω_i = ∂L/∂f_i h_iᵀ and ∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i). For another
        activation a, the factor I[f_{i-1} > 0] is a'(f_{i-1}).

        Parameters
        ----------
        X, y, loss, sample_weight
            As in `loss`.

        Returns
        -------
        Gradients

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid.
        """
        resolved = losses.resolve_or_trained(loss, self.trained_loss)
        rows = checked_rows(X, y, sample_weight, self._sizes, resolved, self._dtype)
        n, parameters = rows.rows, self._checkpoint.parameters
        workspace = packing.workspace_for(self._sizes, n, self._dtype)
        gradients = packing.zero_parameters(self._sizes, self._dtype)
        address = loss_address(resolved, self._dtype)
        value = entries.differentiate(
            rows, parameters, self._between, gradients, workspace, np.arange(n), address, resolved.parameter, True
        )
        x, *f = packing.gradient_matrices(workspace, n)
        return Gradients(value, packing.weight_matrices(gradients), packing.bias_vectors(gradients), tuple(f), x)

    # --- how it learns --------------------------------------------------------------------------------------

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
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
    ) -> History:
        """Train by minibatch gradient descent, starting from the current parameters.

        A call with an equal optimizer continues with the moments and the step count of the last call. So two fits of 5
        epochs equal one fit of 10 epochs to the bit, unless a schedule spans each call. A different optimizer starts
        with new moments. Learning rates that are functions of the user count as equal. Ctrl-C ends the training within
        about a tenth of a second, with the parameters of the last step.

        Parameters
        ----------
        X, y, loss, sample_weight
            As in `loss`. A memory map (`numpy.memmap`) in the dtype of the network is read where it is.
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

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid. The network is then unchanged.
        DivergenceError
            If a loss or a parameter is not finite. The network then keeps its last finite parameters, or the parameters
            of the best epoch with `patience` and `restore_best`.
        RuntimeError
            If another fit of this network is running. The network is unchanged by this call.
        """
        resolved = losses.resolve_or_trained(loss, self.trained_loss)
        optimizer = optimizers.checked(optimizer, self._dtype)
        batch_size = checks.whole_number("batch_size", batch_size, 1, math.inf)
        epochs = checks.whole_number("epochs", epochs, 1, 2**31)
        shuffle, drop_last = checks.flag("shuffle", shuffle), checks.flag("drop_last", drop_last)
        seed = checks.seed(seed)
        checks.function("callback", callback)
        n_threads = checks.thread_count(n_threads)
        dropout, penalty = checks.fraction("dropout", dropout), checks.not_negative("l2_penalty", l2_penalty)
        limit = None if patience is None else checks.whole_number("patience", patience, 1)
        restore_best = checks.flag("restore_best", restore_best)
        rows = checked_rows(X, y, sample_weight, self._sizes, resolved, self._dtype)
        validate = None
        if validation_data is not None:
            held_out = checks.validation_data(validation_data)
            held_out_rows = checked_rows(*held_out, self._sizes, resolved, self._dtype, of="validation ")
            validate = self._evaluator(held_out_rows, resolved)

        with self._only_fit():
            begun = self._checkpoint.for_fit(optimizer, resolved, seed)
            run = Run(
                begun.parameters,
                rows,
                activation=begun.activation,
                loss=resolved,
                rule=optimizer.rule._replace(penalty=penalty) if penalty > 0 else optimizer.rule,
                batch_size=batch_size,
                random=begun.random,
                shuffle=shuffle,
                drop_last=drop_last,
                step=begun.step,
                mean=begun.mean,
                square=begun.square,
                dropout=dropout,
            )

            def keep() -> None:
                """Store the state of the optimizer and of the random numbers if a step has changed the parameters."""
                if run.step > begun.step:
                    begun.step = run.step
                    self._checkpoint = begun

            def after_epoch(progress: Progress) -> object:
                keep()  # so that a callback can save a network whose training can be continued
                return callback(progress._replace(model=self)) if callback is not None else None

            try:
                return run.fit(
                    epochs,
                    optimizer.learning_rate,
                    validate=validate,
                    patience=None if limit is None else Patience(limit),
                    callback=None if callback is None else after_epoch,
                    n_threads=n_threads,
                )
            finally:
                keep()
                if restore_best:
                    run.restore_best()
