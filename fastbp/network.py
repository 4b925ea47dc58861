"""`Network`, the face of the core: it checks arguments, owns memory and calls kernels. It holds no mathematics."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks, losses, optimizers
from fastbp._typing import Floats
from fastbp.kernels import entries, packing
from fastbp.losses import Loss
from fastbp.optimizers import SGD, Optimizer
from fastbp.results import Gradients, History, Progress, Trace
from fastbp.runs import checkpoint
from fastbp.runs.evaluation import evaluator
from fastbp.runs.network_state import NetworkState
from fastbp.runs.run import Patience, Run
from fastbp.runs.training_rows import checked_rows


class Network(NetworkState):
    """K hidden layers with ReLU between them, and a linear output: h_{i+1} = ReLU(β_i + Ω_i h_i), ŷ = β_K + Ω_K h_K.

    Weights are drawn from N(0, 2 / D_i) (He et al. 2015, "Delving deep into rectifiers", ICCV), for other activations
    from N(0, 1 / D_i); biases are 0.

    Parameters
    ----------
    layer_sizes : sequence of int
        (D_0, D_1, …, D_{K+1}): inputs, hidden widths, outputs. Two sizes make a linear model, K = 0.
    dtype : {"float32", "float64"}, default "float32"
        What parameters are kept and computed in.
    seed : int, optional
        Of the weights, and of the shuffling of `fit`. Left out, both differ from run to run.
    activation : {"relu", "identity", "tanh", "logistic"}, default "relu"
        What stands between the layers. The logistic function is 1 / (1 + exp(−f)).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.Network([16, 64, 64, 1], seed=0)
    Network([16, 64, 64, 1], dtype='float32')
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        dtype: npt.DTypeLike = "float32",
        seed: int | None = None,
        activation: str = "relu",
    ) -> None:
        sizes, kept_in = checks.layer_sizes(layer_sizes), checks.float_dtype(dtype)
        between = activations.resolve(activation)
        super().__init__(checkpoint.initial(sizes, kept_in, checks.seed(seed), between))

    # --- what it computes -----------------------------------------------------------------------------------

    def predict(self, X: npt.ArrayLike, n_threads: int | None = None) -> Floats:
        """Return ŷ.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
        n_threads : int, optional
            How many threads share the rows; left out, as many as pay, up to the cores that this process may use. The
            result is the same to the bit.

        Returns
        -------
        ndarray of shape (n, D_{K+1})

        Raises
        ------
        TypeError, ValueError
            If `X` is not finite numbers of that shape.
        """
        return self._predictor.predict(self._checkpoint.parameters, X, checks.thread_count(n_threads))

    def forward(self, X: npt.ArrayLike) -> Trace:
        """Return every f_i and h_i of a forward pass.

        Parameters
        ----------
        X : array-like of shape (n, D_0)

        Returns
        -------
        Trace

        Raises
        ------
        TypeError, ValueError
            If `X` is not finite numbers of that shape.
        """
        x = checks.matrix("X", X, self._sizes[0], self._dtype)
        workspace = packing.workspace_for(self._sizes, len(x), self._dtype)
        entries.trace(packing.padded_rows(x, self._dtype), self._checkpoint.parameters, workspace, np.arange(len(x)))
        f = packing.gradient_matrices(workspace, len(x))[1:]
        return Trace(f, packing.activation_matrices(workspace, len(x))[:-1])

    def predict_proba(self, X: npt.ArrayLike, n_threads: int | None = None) -> Floats:
        """Return the probability of each class: softmax(ŷ), or σ(ŷ), by the loss that the network was trained with.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
        n_threads : int, optional
            As for `predict`.

        Returns
        -------
        ndarray of shape (n, n_classes)
            After "cross_entropy", one column an output. After "binary_cross_entropy" with one output, the columns of
            class 0 and class 1; with several outputs, one column an output, the probability that its label is 1.

        Raises
        ------
        ValueError
            If the network was not trained with one of the two cross-entropies, or `X` is not as described.
        TypeError
            If `X` does not hold numbers.
        """
        loss = self.trained_loss
        if loss is None or not loss.is_of_probabilities:
            was = "it was not trained yet" if loss is None else f"it was trained with {loss}"
            known = "cross_entropy or binary_cross_entropy"
            raise ValueError(f"predict_proba needs a network trained with {known}; {was}")
        p = loss.expectation(self.predict(X, n_threads))
        return np.hstack([1 - p, p]) if p.shape[1] == 1 and not loss.takes_classes else p

    def loss(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: str | Loss | None = None, sample_weight: Any = None
    ) -> float:
        """Return L, the (weighted) mean of the samples' losses.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
        y : array-like of shape (n, D_{K+1})
            Or (n,) where D_{K+1} = 1, or class numbers (n,) for `cross_entropy`.
        loss : str or Loss, optional
            Default: the loss of the last fit, or "squared_error" before a first fit.
            "squared_error" ½ Σ (ŷ − y)²; "binary_cross_entropy", ŷ a logit and y in [0, 1]; "cross_entropy" of
            softmax(ŷ); "poisson" Σ exp(ŷ) − y ŷ; "huber", "absolute_error" or "quantile". `losses.huber(delta)` and
            `losses.quantile(q)` set their parameters.
        sample_weight : array-like of shape (n,), optional
            Not negative; all 1 when left out.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        resolved = self._resolved(loss)
        rows = checked_rows(X, y, sample_weight, self._sizes, resolved, self._dtype)
        return evaluator(rows, self._checkpoint.parameters, resolved)()

    def _resolved(self, loss: str | Loss | None) -> Loss:
        """Return the loss that is asked for, or else that of the last fit, or else the squared error."""
        return losses.resolve(loss) if loss is not None else self.trained_loss or losses.squared_error

    def gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: str | Loss | None = None, sample_weight: Any = None
    ) -> Gradients:
        """Return the loss and its gradient by backpropagation.

        ∂L/∂β_i = ∂L/∂f_i, ∂L/∂Ω_i = ∂L/∂f_i h_iᵀ and ∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i), as in the slides;
        for another activation a, a'(f_{i-1}) stands for I[f_{i-1} > 0].

        Parameters
        ----------
        X, y, loss, sample_weight
            As for `loss`.

        Returns
        -------
        Gradients

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        resolved = self._resolved(loss)
        rows = checked_rows(X, y, sample_weight, self._sizes, resolved, self._dtype)
        n, parameters = rows.rows, self._checkpoint.parameters
        workspace = packing.workspace_for(self._sizes, n, self._dtype)
        gradients = packing.zero_parameters(self._sizes, self._dtype)
        value = entries.differentiate(
            rows, parameters, gradients, workspace, np.arange(n), resolved.code, resolved.parameter, True
        )
        x, *f = packing.gradient_matrices(workspace, n)
        return Gradients(value, packing.weight_matrices(gradients), packing.bias_vectors(gradients), tuple(f), x)

    # --- how it learns --------------------------------------------------------------------------------------

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        loss: str | Loss | None = None,
        optimizer: Optimizer = SGD(learning_rate=0.01),  # noqa: B008 (frozen)
        batch_size: int = 32,
        epochs: int = 10,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int | None = None,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
        callback: Callable[[Progress], object] | None = None,
        n_threads: int | None = None,
        *,
        dropout: float = 0.0,
        l2_penalty: float = 0.0,
        patience: int | None = None,
        restore_best: bool = True,
    ) -> History:
        """Train by minibatch gradient descent, from where the network stands.

        A second call with an equal optimizer goes on with that optimizer's moments and step count, so two fits of 5
        epochs are one fit of 10 to the bit. (A schedule that spans a run spans each call by itself.) Another optimizer
        starts afresh. One's own callable counts as equal to any other. Ctrl-C is answered between steps, every tenth of
        a second; the network then stands where the last step left it.

        Parameters
        ----------
        X, y, loss, sample_weight
            As for `loss`.
        optimizer : SGD or Adam, default SGD(learning_rate=0.01)
        batch_size : int, default 32
            Rows a step; more than n means n.
        epochs : int, default 10
        shuffle : bool, default True
            Permute the rows anew for each epoch.
        drop_last : bool, default False
            Leave out an epoch's last batch where it is short.
        seed : int, optional
            Restarts the random stream of the shuffling and the dropout. Left out, the stream goes on.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows whose loss is taken after each epoch.
        callback : callable, optional
            Called with a `fastbp.results.Progress` after each epoch. Training ends if it returns True.
        n_threads : int, optional
            How many threads make each step together. Left out, as many as make it fastest, up to the cores that this
            process may use: one, where a step is too small to share. The result is the same to the bit.
        dropout : float, default 0.0
            The share of hidden units that each step leaves out, in [0, 1) (Srivastava et al. 2014, "Dropout: a simple
            way to prevent neural networks from overfitting", JMLR 15).
        l2_penalty : float, default 0.0
            λ: the training loss gains λ/2 Σ_i ‖Ω_i‖², on weights and not on biases. Its gradient goes through the
            optimizer as that of the loss does, unlike the decoupled `weight_decay` of `Adam`.
        patience : int, optional
            Epochs in a row without improvement after which training ends: of the validation loss, or of the training
            loss where there is no `validation_data`. Left out, all epochs are made.
        restore_best : bool, default True
            With `patience`, put the parameters of the best epoch back when training ends. The optimizer's state stays
            that of the last step.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing is changed then.
        DivergenceError
            If a loss or a parameter is not finite; the network keeps its last finite parameters, or those of the best
            epoch with `patience` and `restore_best`.
        """
        resolved = self._resolved(loss)
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
            validate = evaluator(held_out_rows, self._checkpoint.parameters, resolved)

        begun = self._checkpoint.for_fit(optimizer, resolved, seed)
        run = Run(
            begun.parameters,
            rows,
            loss=resolved,
            rule=optimizer.rule._replace(penalty=penalty),
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
            """Take the run's optimizer and random state over, once a step has changed the parameters."""
            if run.step > begun.step:
                begun.step = run.step
                self._checkpoint = begun

        def after_epoch(progress: Progress) -> object:
            keep()  # so that a callback can save a network that can be continued
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
