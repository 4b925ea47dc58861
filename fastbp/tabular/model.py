"""What a training on a table leaves behind: networks, and how a table becomes their inputs and their answers.

It knows the network's face, frames, encodings and model files. It must not know text files, the terminal or training.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import __version__
from fastbp.files import model_file
from fastbp.network import Network
from fastbp.tabular.encoding.cells import Floats, Frame
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import Encoding
from fastbp.tabular.encoding.target import Classes, Quantity, Target, target_from_dict, target_to_dict
from fastbp.tabular.metrics import softmax

MOST_RESIDUALS = 10_000  # that a model keeps


@dataclass(frozen=True)
class TableModel:
    """Networks for tables of one kind, whose answers are averaged.

    Attributes
    ----------
    networks : tuple of Network
    encoding : Encoding
    target : Classes or Quantity
    n_rows : int
        How many rows it was trained on.
    temperature : float
        What logits are divided by.
    residuals : (m,) floats
        Of a quantity, |y − ŷ| for rows that a network did not see, ascending; of classes, none.
    about : dict
        What else is worth keeping, as JSON holds it: settings, scores, when and by which version it was trained.
    """

    networks: tuple[Network, ...]
    encoding: Encoding
    target: Target
    n_rows: int
    temperature: float = 1.0
    residuals: Floats = field(default_factory=lambda: np.zeros(0))
    about: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, X: Any) -> Floats:
        """Return each class's probability for every row, (n, C), in the order of the labels; X as for `predict`.

        The mean of the networks', a little `mixed`.
        """
        p = np.mean([softmax(output / self.temperature) for output in self.outputs(X)], axis=0)
        return mixed(p, self.n_rows)

    def values(self, X: Any) -> Floats:
        """Return the predicted quantity for every row, (n,); X as for `predict`."""
        assert isinstance(self.target, Quantity)
        return np.asarray(np.mean([self.target.values(output[:, 0]) for output in self.outputs(X)], axis=0))

    def margin(self, alpha: float) -> float:
        """Return how far from its prediction a quantity lies in all but a share `alpha` of cases.

        The quantile of the residuals at ⌈(m + 1)(1 − α)⌉ / m, by which the share would hold for rows drawn alike if the
        residuals had no part in the networks (split conformal prediction: Lei, G'Sell, Rinaldo, Tibshirani &
        Wasserman 2018, "Distribution-free predictive inference for regression", JASA); they chose their epochs.

        Raises
        ------
        ValueError
            If so small a share cannot be told from so many residuals.
        """
        m = len(self.residuals)
        rank = int(np.ceil((m + 1) * (1 - alpha) - 1e-9))  # 1 − α is rounded
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
        if rank > m:
            raise ValueError(f"alpha must be at least {1 / (m + 1):.3g}, as the model knows {m} residuals; got {alpha}")
        return float(self.residuals[max(rank, 1) - 1])

    def predict(
        self, X: Any, with_probabilities: bool = False, alpha: float | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Predict every row of a table.

        Parameters
        ----------
        X : mapping from names to columns, frame of pandas, polars or pyarrow, or array (n, D)
            With the columns of the training table, in any order; others are passed over. The columns of an array are
            called x0, x1, ….
        with_probabilities : bool
            Whether there is a column of probabilities for each class.
        alpha : float, optional
            Whether there are bounds that a quantity keeps to in all but this share of cases.

        Returns
        -------
        dict of str to (n,) arrays
            The column `prediction`, and for classes `confidence`, the probability of that class.

        Raises
        ------
        ValueError
            If a column is missing or holds something else than in training, or if classes are asked for bounds or a
            quantity for probabilities.
        """
        if isinstance(self.target, Classes):
            if alpha is not None:
                raise ValueError(f"an interval is for numbers, and the target {self.target.name!r} is classes")
            p = self.probabilities(X)
            of_each = {f"p_{label}": p[:, c] for c, label in enumerate(self.target.labels)}
            return self.target.decode(p) | (of_each if with_probabilities else {})
        if with_probabilities:
            raise ValueError(f"probabilities are for classes, and the target {self.target.name!r} is numbers")
        values = self.values(X)
        if alpha is None:
            return {"prediction": values}
        margin = self.margin(alpha)
        return {"prediction": values, "lower": values - margin, "upper": values + margin}

    def unknown_columns(self, frame: Frame) -> list[str]:
        """Say which columns of a frame were not there in training, in a sentence, or nothing if there are none."""
        unknown = [name for name in frame.names if name not in (*self.encoding.names, self.target.name)]
        if not unknown:
            return []
        names = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        return [f"the model does not know {'a column' if len(unknown) == 1 else 'columns'} of the table: {names}"]

    def outputs(self, X: Any) -> list[npt.NDArray[Any]]:
        """Return what each network says, (n, n_outputs); X as for `predict`."""
        inputs = self.encoding.encode(frame_of(X))
        return [network.predict(view_of(inputs, self.encoding, network.layer_sizes[0])) for network in self.networks]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all."""
        tensors, networks = {"residuals": self.residuals}, []
        for k, network in enumerate(self.networks):
            of_network, metadata = network.to_tensors()
            tensors |= {f"{k}.{name}": tensor for name, tensor in of_network.items()}
            networks.append(metadata)
        table = {
            "encoding": self.encoding.to_dict(),
            "target": target_to_dict(self.target),
            "n_rows": self.n_rows,
            "temperature": self.temperature,
            "about": self.about,
            "version": __version__,
        }
        model_file.write(path, tensors, {"networks": networks, "table": table})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableModel:
        """Read a model from a file that `save` wrote.

        Raises
        ------
        ValueError
            If the file is damaged, foreign, or holds a network without a table's encoding.
        """
        tensors, metadata = model_file.read(path)
        if "table" not in metadata:
            raise ValueError(f"{os.fspath(path)} holds a network but no encoding of a table: `fastbp train` saves both")
        table, networks = metadata["table"], []
        for k, of_network in enumerate(metadata["networks"]):
            own = {name.removeprefix(f"{k}."): tensor for name, tensor in tensors.items() if name.startswith(f"{k}.")}
            networks.append(Network.from_tensors(own, of_network))
        return cls(
            networks=tuple(networks),
            encoding=Encoding.from_dict(table["encoding"]),
            target=target_from_dict(table["target"]),
            n_rows=table["n_rows"],
            temperature=table["temperature"],
            residuals=tensors["residuals"],
            about=table["about"] | {"version": table["version"]},
        )


def mixed(probabilities: Floats, n_rows: int) -> Floats:
    """Return probabilities as if one row more had been seen that is of all classes alike.

    A model of n rows can be sure of nothing: no probability comes nearer to 0 than 1 / (C (n + 1)).
    """
    return np.asarray((n_rows * probabilities + 1 / probabilities.shape[1]) / (n_rows + 1))


def view_of(inputs: npt.NDArray[Any], encoding: Encoding, width: int) -> npt.NDArray[Any]:
    """Return the inputs that a network of so many sees: all, or those without the bins of numbers."""
    return inputs if width == encoding.width else np.ascontiguousarray(inputs[:, encoding.plain])
