"""Results of networks and fits: `Progress`, `Trace`, `Gradients`, `History`, `DivergenceError`.

This file must not know how any of these is computed.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from fastbp._typing import Floats

EndReason = Literal["epochs", "patience", "callback", "halving", "divergence"]


class Progress(NamedTuple):
    """The progress of a fit: the argument of a callback after each epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch that has ended, from 1. If `is_over`, the number of the network's best epoch.
    loss : float
        Mean training loss of the epoch.
    validation_loss : float, default NaN
        Loss of the held-out rows after the epoch. In a fit of `fastbp.tabular`, their error by the metric. NaN if no
        rows are held out.
    network : int, default 0
        Number of the network in an ensemble, or of those that `fastbp.train_many` trains, from 0.
    is_over : bool, default False
        Whether the training of this network is over. Only fits of `fastbp.tabular` make this additional call.
    model : Network, MLPClassifier, MLPRegressor or None
        The model after the epoch. None in a fit of `fastbp.tabular`.
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
        f_0, …, f_K, each (n, D_{i+1}): f_i = β_i + Ω_i h_i, before the activation.
    h : tuple of ndarray
        h_0 = x, h_1, …, h_K, each (n, D_i): h_i = a(f_{i-1}), with the activation a.
    """

    f: tuple[Floats, ...]
    h: tuple[Floats, ...]

    @property
    def output(self) -> Floats:
        """ŷ = f_K, (n, D_{K+1})."""
        return self.f[-1]


class Gradients(NamedTuple):
    """The loss of a batch and its gradients.

    Attributes
    ----------
    loss : float
        L, the weighted mean of the losses of the samples.
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
    """The history of a fit, with one entry per epoch in each list.

    Attributes
    ----------
    loss : list of float
        Weighted mean of the training loss over the minibatches of the epoch, each computed before its own step. NaN if
        all rows of an epoch have the weight 0, which can happen with `drop_last`.
    validation_loss : list of float
        Weighted mean loss of the validation rows at the end of the epoch. Empty without `validation_data`.
    learning_rate : list of float
        Learning rate of the last step of the epoch.
    seconds : list of float
        Training time of the epoch in seconds, without the time to load or compile code. Epochs that ran in one compiled
        call share its time evenly.
    ended_by : {"epochs", "patience", "callback", "halving", "divergence"}
        Why the training ended: all epochs were made, the patience was over, the callback returned True, `Halving` took
        other networks, or a number was not finite.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ended_by: EndReason = "epochs"

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses against the epoch.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. Default: the current axes of pyplot.

        Returns
        -------
        matplotlib.axes.Axes

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
    """A loss or a parameter became infinite or NaN.

    The network keeps its last finite parameters and the state of the optimizer at that step. With `patience` and
    `restore_best`, it keeps the parameters of the best epoch instead.

    Attributes
    ----------
    epoch : int
        Number of the epoch of the failed step, from 1.
    learning_rate : float
        Learning rate of the failed step.
    history : History
        The completed epochs.
    """

    def __init__(self, epoch: int, learning_rate: float, history: History) -> None:
        super().__init__(epoch, learning_rate, history)
        self.epoch = epoch
        self.learning_rate = learning_rate
        self.history = history

    def __str__(self) -> str:
        return (
            f"training diverged in epoch {self.epoch} at learning rate {self.learning_rate:g}: a loss or a parameter "
            f"is not finite. A lower learning rate, or inputs scaled to a standard deviation of 1, usually helps"
        )
