"""The part of `Network` that computes something for given parameters: ŷ, every f_i and h_i, the loss, the gradients.

This file must not know how a network learns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastbp import checks, losses
from fastbp._typing import Floats, MaybeArray
from fastbp.kernels import entries, packing
from fastbp.kernels.custom_losses import loss_address
from fastbp.losses import Loss, LossName
from fastbp.results import Gradients, Trace
from fastbp.runs.chunks import Chunks, are_chunks, inputs_of_chunks
from fastbp.runs.network_state import NetworkState
from fastbp.runs.training_rows import checked_rows

if TYPE_CHECKING:
    from fastbp.runs.compiled import CompiledNetwork


class NetworkAnswers(NetworkState):
    """The methods of a network that leave its parameters as they are."""

    def predict(self, X: npt.ArrayLike | Chunks, n_threads: int | None = None) -> Floats:
        """Return the outputs ŷ = f_K, before any link function of the loss.

        Parameters
        ----------
        X : array-like of shape (n, D_0), or chunks
            Rows to predict. A memory map is read where it is. Chunks are an iterator, or a function that returns an
            iterable, of array-likes of shape (m, D_0), or of the tuples that `fit` takes.
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
        parameters, n_threads = self._checkpoint.parameters, checks.thread_count(n_threads)
        if are_chunks(X):
            outputs = [self._predictor.predict(parameters, x, n_threads) for x in inputs_of_chunks(X)]
            return np.concatenate([np.empty((0, self._sizes[-1]), self._dtype), *outputs])
        return self._predictor.predict(parameters, X, n_threads)

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

    def predict_proba(self, X: npt.ArrayLike | Chunks, n_threads: int | None = None) -> Floats:
        """Return probabilities: softmax(ŷ) after a fit with "cross_entropy", σ(ŷ) after "binary_cross_entropy".

        Parameters
        ----------
        X : array-like of shape (n, D_0), or chunks
            Rows to predict, as in `predict`.
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
        sums = packing.gradient_sums(self._sizes, self._dtype)
        address = loss_address(resolved, self._dtype)
        value = entries.differentiate(
            rows, parameters, self._between, sums, workspace, np.arange(n), 0, address, resolved.parameter, True
        )
        x, *f = packing.gradient_matrices(workspace, n)
        gradients = sums.gradients
        return Gradients(value, packing.weight_matrices(gradients), packing.bias_vectors(gradients), tuple(f), x)

    def jacobian(self, X: npt.ArrayLike, n_threads: int | None = None) -> Floats:
        """Return ∂ŷ/∂x at each row.

        ∂ŷ/∂x = Ω_K diag(a'(f_{K-1})) Ω_{K-1} … diag(a'(f_0)) Ω_0. For ReLU, a'(f) = I[f > 0].

        Parameters
        ----------
        X : array-like of shape (n, D_0)
            Rows.
        n_threads : int, optional
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, D_{K+1}, D_0)
            In the dtype of the network.

        Raises
        ------
        TypeError, ValueError
            If `X` has a wrong shape, or contains anything else than finite numbers.
        """
        from fastbp.runs.compiled import jacobians  # what only few users need, no first fit waits for

        n_threads = checks.thread_count(n_threads)
        x = np.ascontiguousarray(checks.matrix("X", X, self._sizes[0], self._dtype))
        return jacobians(self.compile(), x, n_threads)

    def compile(self) -> CompiledNetwork:
        """Return a copy of the network that users' own compiled functions can call, for one row or a block of rows.

        A function with `numba.njit` takes the copy as an argument, and calls `predict(x, out)` and `jacobian(x, out)`.
        A later `fit` of the network does not change the copy.

        Returns
        -------
        CompiledNetwork

        Raises
        ------
        TypeError
            If Numba cannot compile a user's activation.
        """
        from fastbp.runs.compiled import CompiledNetwork

        return CompiledNetwork(self.weights, self.biases, self._checkpoint.activation)
