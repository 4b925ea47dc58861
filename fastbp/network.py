"""`Network`, the face: it checks what it is given, owns the memory and calls kernels; it holds no mathematics."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import activations, checks
from fastbp.files import model_file
from fastbp.kernels import entries as training
from fastbp.kernels import layout
from fastbp.kernels.layout import Floats
from fastbp.kernels.rows import Table
from fastbp.losses import Loss, resolve
from fastbp.optimizers import SGD, Adam
from fastbp.results import Gradients, History, Trace
from fastbp.runs import fitting
from fastbp.runs.checkpoint import Memory, Tensors, initial
from fastbp.runs.prediction import Predictor

_BLOCK_ROWS = 240  # rows whose loss is taken at once; `layout.pitch` has nothing to add to them


class Network:
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
        self._sizes = checks.layer_sizes(layer_sizes)
        self._dtype = checks.float_dtype(dtype)
        code = checks.choice("activation", activation, activations.NAMES)
        self._memory = initial(self._sizes, self._dtype, checks.seed(seed), code)
        self._predictor = Predictor(self._sizes, self._dtype)

    def __repr__(self) -> str:
        activation = "" if self.activation == "relu" else f", activation={self.activation!r}"
        return f"Network({list(self._sizes)}, dtype={self._dtype.name!r}{activation})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_tensors, self.to_tensors()

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def K(self) -> int:  # noqa: N802 (the slides' name)
        """Number of hidden layers."""
        return len(self._sizes) - 2

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(D_0, D_1, …, D_{K+1})."""
        return self._sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def activation(self) -> str:
        """What stands between the layers."""
        return self._memory.activation

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self._sizes))

    @property
    def weights(self) -> tuple[Floats, ...]:
        """Ω_0, …, Ω_K, each (D_{i+1}, D_i): copies."""
        return layout.weight_matrices(self._memory.parameters)

    @property
    def biases(self) -> tuple[Floats, ...]:
        """β_0, …, β_K, each (D_{i+1},): copies."""
        return layout.bias_vectors(self._memory.parameters)

    def set_parameters(self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]) -> None:
        """Put weights and biases back, as `weights` and `biases` gave them out.

        Parameters
        ----------
        weights : sequence of array-like
            Ω_0, …, Ω_K, each (D_{i+1}, D_i).
        biases : sequence of array-like
            β_0, …, β_K, each (D_{i+1},).

        Raises
        ------
        TypeError, ValueError
            If there are not K + 1 of each, or one is not of its shape or not finite; nothing is changed then.
        """
        shapes = list(zip(self._sizes[1:], self._sizes[:-1], strict=True))
        matrices = checks.arrays("weights", weights, shapes, self._dtype)
        vectors = checks.arrays("biases", biases, [shape[:1] for shape in shapes], self._dtype)
        layout.write_parameters(self._memory.parameters, matrices, vectors)

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
        return self._predictor.predict(self._memory.parameters, X, checks.thread_count(n_threads))

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
        workspace = layout.workspace_for(self._sizes, len(x), self._dtype)
        training.trace(layout.padded_rows(x, self._dtype), self._memory.parameters, workspace, np.arange(len(x)))
        f = layout.gradient_matrices(workspace, len(x))[1:]
        return Trace(f, layout.activation_matrices(workspace, len(x))[:-1])

    def loss(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: str | Loss = "squared_error", sample_weight: Any = None
    ) -> float:
        """Return L, the (weighted) mean of the samples' losses.

        Parameters
        ----------
        X : array-like of shape (n, D_0)
        y : array-like of shape (n, D_{K+1})
            Or (n,) where D_{K+1} = 1, or class numbers (n,) for `cross_entropy`.
        loss : str or Loss, default "squared_error"
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
        resolved = resolve(loss)
        table = checks.table(X, y, sample_weight, self._sizes, resolved, self._dtype)
        return self._evaluator(table, resolved)()

    def _evaluator(self, table: Table, loss: Loss) -> Callable[[], float]:
        """Return a function that gives the mean loss over a table, with the parameters as they then are."""
        rows = min(table.rows, _BLOCK_ROWS)
        workspace = layout.workspace_for(self._sizes, rows, self._dtype, backward=False)
        order = np.arange(table.rows)
        return lambda: training.evaluate(table, self._memory.parameters, workspace, order, loss.code, loss.parameter)

    def gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, loss: str | Loss = "squared_error", sample_weight: Any = None
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
        resolved = resolve(loss)
        table = checks.table(X, y, sample_weight, self._sizes, resolved, self._dtype)
        n = table.rows
        workspace = layout.workspace_for(self._sizes, n, self._dtype)
        gradients = layout.zero_parameters(self._sizes, self._dtype)
        value = training.differentiate(
            table, self._memory.parameters, gradients, workspace, np.arange(n), resolved.code, resolved.parameter, True
        )
        x, *f = layout.gradient_matrices(workspace, n)
        return Gradients(value, layout.weight_matrices(gradients), layout.bias_vectors(gradients), tuple(f), x)

    # --- how it learns --------------------------------------------------------------------------------------

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        loss: str | Loss = "squared_error",
        optimizer: SGD | Adam = SGD(learning_rate=0.01),  # noqa: B008 (frozen)
        batch_size: int = 32,
        epochs: int = 10,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int | None = None,
        sample_weight: Any = None,
        validation: Sequence[Any] | None = None,
        callback: Callable[[int, History], object] | None = None,
        n_threads: int | None = None,
    ) -> History:
        """Train by minibatch gradient descent, from where the network stands.

        Called again with an optimizer equal to the last one, it goes on with that one's moments and step count, so
        two fits of 5 epochs are one of 10 to the bit; another optimizer starts afresh. One's own callable counts
        as equal to any other. Between steps, every tenth of a second, Ctrl-C is answered; the network then stands
        where the last step left it.

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
            Restarts the random stream of the shuffling; left out, it goes on.
        validation : (X, y) or (X, y, sample_weight), optional
            Rows whose loss is taken after each epoch.
        callback : callable, optional
            Called as `callback(epoch, history)` after each epoch, counted from 1; training ends if it returns True.
        n_threads : int, optional
            How many threads make each step together; left out, as many as make it fastest, up to the cores that this
            process may use: one, where a step is too small to share. The result is the same to the bit.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing is changed then.
        DivergenceError
            If a loss or a parameter left the finite numbers; the network keeps its last finite parameters.
        """
        resolved = resolve(loss)
        optimizer = checks.optimizer(optimizer, self._dtype)
        batch_size = checks.whole_number("batch_size", batch_size, 1, math.inf)
        epochs = checks.whole_number("epochs", epochs, 1, 2**31)
        shuffle, drop_last = checks.flag("shuffle", shuffle), checks.flag("drop_last", drop_last)
        seed = checks.seed(seed)
        checks.function("callback", callback)
        n_threads = checks.thread_count(n_threads)
        table = checks.table(X, y, sample_weight, self._sizes, resolved, self._dtype)
        validate = None
        if validation is not None:
            rows = checks.validation_rows(validation)
            held_out = checks.table(*rows, self._sizes, resolved, self._dtype, of="validation ")
            validate = self._evaluator(held_out, resolved)

        memory = self._memory.begun(optimizer, seed)
        batch_size = min(batch_size, table.rows)
        used = table.rows // batch_size * batch_size if drop_last else table.rows
        plan = training.Plan(batch_size, used, shuffle, resolved.code, resolved.parameter, optimizer.rule)
        state = memory.state(table.rows)

        def keep() -> None:
            """Take the run's optimizer and random state over, once a step has changed the parameters."""
            if state.counts[training.STEP] > memory.step:
                memory.step = int(state.counts[training.STEP])
                self._memory = memory

        def after_epoch(epoch: int, history: History) -> object:
            keep()  # so that a callback can save what can be continued
            return callback(epoch, history) if callback is not None else None

        watched = None if callback is None else after_epoch
        try:
            return fitting.run(table, plan, state, optimizer.learning_rate, epochs, validate, watched, n_threads)
        finally:
            keep()

    # --- how it is kept -------------------------------------------------------------------------------------

    def to_tensors(self) -> tuple[Tensors, dict[str, Any]]:
        """Return everything that the network is: arrays by name, and the rest as JSON can hold it."""
        return self._memory.to_tensors()

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: dict[str, Any]) -> "Network":
        """Return the network that `to_tensors` gave out, to the bit.

        Raises
        ------
        ValueError
            If the description is not whole.
        """
        network = cls.__new__(cls)
        network._memory = Memory.from_tensors(tensors, metadata)
        network._sizes, network._dtype = network._memory.sizes, network._memory.dtype
        network._predictor = Predictor(network._sizes, network._dtype)
        return network

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a model file: parameters, the optimizer's state and the random state.

        Parameters
        ----------
        path : path-like
            Replaced whole or not at all if it is there.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        tensors, metadata = self.to_tensors()
        model_file.write(checks.path(path), tensors, {"network": metadata})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Network":
        """Return the network in a model file, to the bit, ready to predict or to go on learning.

        Parameters
        ----------
        path : path-like
            A file that `save` or the command `fastbp train` wrote.

        Returns
        -------
        Network

        Raises
        ------
        ValueError
            If the file is truncated, altered, or no model file; the message says which.
        OSError
            If it cannot be read.
        """
        tensors, metadata = model_file.read(checks.path(path))
        try:
            return cls.from_tensors(tensors, metadata.get("network", {}))
        except ValueError as error:
            raise ValueError(f"the model file {os.fspath(path)!r} holds no network: {error}") from None
