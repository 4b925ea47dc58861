"""What a fit or a network hands back: `Progress`, `Trace`, `Gradients`, `History`, `DivergenceError`.

This file must not know how any of them is computed.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastbp._typing import Floats


class Progress(NamedTuple):
    """How far a fit has come: what a callback is called with after each epoch.

    Attributes
    ----------
    epoch : int
        The epoch that has ended, counted from 1. In the last call for a network of an ensemble: its best epoch.
    loss : float
        The epoch's mean training loss.
    validation_loss : float
        The loss of the rows held out after that epoch; in a fit of `fastbp.tabular`, their error by the metric. NaN
        where no rows are held out.
    network : int
        Which network of an ensemble the epoch belongs to, counted from 0.
    is_over : bool
        Whether this is the last call for this network. Only fits of `fastbp.tabular` make such a call.
    model : Network, MLPClassifier, MLPRegressor or None
        What is being trained, as it is after the epoch. None in a fit of `fastbp.tabular`.
    """

    epoch: int
    loss: float
    validation_loss: float = float("nan")
    network: int = 0
    is_over: bool = False
    model: Any = None


class Trace(NamedTuple):
    """A forward pass, layer by layer.

    Attributes
    ----------
    f : tuple of ndarray
        f_0, …, f_K, each (n, D_{i+1}): β_i + Ω_i h_i, before ReLU.
    h : tuple of ndarray
        h_0 = x, h_1, …, h_K, each (n, D_i): h_i = ReLU(f_{i-1}).
    """

    f: tuple[Floats, ...]
    h: tuple[Floats, ...]

    @property
    def output(self) -> Floats:
        """ŷ = f_K, (n, D_{K+1})."""
        return self.f[-1]


class Gradients(NamedTuple):
    """The loss of a batch and its gradient.

    Attributes
    ----------
    loss : float
        L, the (weighted) mean of the samples' losses.
    weights : tuple of ndarray
        ∂L/∂Ω_i, each (D_{i+1}, D_i).
    biases : tuple of ndarray
        ∂L/∂β_i, each (D_{i+1},).
    f : tuple of ndarray
        ∂L/∂f_i, each (n, D_{i+1}).
    x : ndarray
        ∂L/∂x, (n, D_0).
    """

    loss: float
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    f: tuple[Floats, ...]
    x: Floats


@dataclass
class History:
    """One entry an epoch.

    Attributes
    ----------
    loss : list of float
        The weighted mean training loss over the epoch's minibatches, each taken before its own step.
        NaN where all rows that `drop_last` left in an epoch weigh 0.
    validation_loss : list of float
        The weighted mean loss over the validation rows at the epoch's end; empty without `validation`.
    learning_rate : list of float
        The learning rate of the epoch's last step.
    seconds : list of float
        The epoch's training time, in seconds; epochs that ran in one compiled call share its time evenly. The first
        fit of a process also loads its compiled code, or compiles it, within its first epochs.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses against the epoch.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; the current axes of pyplot when left out.

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install matplotlib") from error
        ax = plt.gca() if ax is None else ax
        epochs = range(1, len(self.loss) + 1)
        ax.plot(epochs, self.loss, label="training")
        if self.validation_loss:
            ax.plot(epochs, self.validation_loss, label="validation")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.legend()
        return ax


class DivergenceError(ValueError):
    """Training left the range of finite numbers.

    The network keeps the last parameters that were finite, and the optimizer's state that belongs to them.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 1, of the step that failed.
    learning_rate : float
        Its learning rate.
    history : History
        The epochs before.
    """

    def __init__(self, epoch: int, learning_rate: float, history: History) -> None:
        super().__init__(epoch, learning_rate, history)
        self.epoch = epoch
        self.learning_rate = learning_rate
        self.history = history

    def __str__(self) -> str:
        return (
            f"training diverged in epoch {self.epoch} at learning rate {self.learning_rate:g}; the network keeps its "
            f"last finite parameters. A lower learning rate, or inputs scaled to about 1, usually helps"
        )
