"""What `fastbp train` saves and `fastbp predict` loads: a network, and how a table becomes its inputs and its answers.

It knows the network's face, encodings and model files. It must not know text files or the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from fastbp import model_file, schedules
from fastbp.network import Network
from fastbp.optimizers import Adam
from fastbp.tabular.defaults import BATCH_SIZE, HIDDEN, LEARNING_RATE, default_weight_decay
from fastbp.tabular.encoding import Encoding
from fastbp.tabular.target import Target, target_from_dict, target_to_dict
from fastbp.tabular.training_data import TrainingData


@dataclass(frozen=True)
class TableModel:
    """A network for tables of one kind.

    Attributes
    ----------
    network : Network
    encoding : Encoding
    target : Classes or Quantity
    """

    network: Network
    encoding: Encoding
    target: Target

    @classmethod
    def untrained(cls, data: TrainingData, hidden: Sequence[int] = HIDDEN, seed: int = 0) -> TableModel:
        """Return a model of `data` with the hidden widths given and weights drawn with `seed`."""
        sizes = [data.encoding.width, *hidden, data.target.n_outputs]
        return cls(Network(sizes, dtype="float32", seed=seed), data.encoding, data.target)

    def fit(
        self,
        data: TrainingData,
        epochs: int,
        batch_size: int = BATCH_SIZE,
        learning_rate: float = LEARNING_RATE,
        callback: Callable[[int, Any], bool | None] | None = None,
    ) -> None:
        """Train by Adam with decoupled weight decay, the learning rate falling to 0 along half a cosine wave."""
        steps = epochs * -(-len(data.y) // batch_size)
        self.network.fit(
            data.X,
            data.y,
            loss=self.target.loss,
            optimizer=Adam(schedules.Cosine(learning_rate, steps), weight_decay=default_weight_decay(len(data.y))),
            batch_size=batch_size,
            epochs=epochs,
            validation=(data.X_held_out, data.y_held_out),
            callback=callback,
        )

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Predict every row of a typed frame.

        Parameters
        ----------
        frame : polars.DataFrame
            With the columns of the training table, in any order; others are passed over. The columns named in
            `encoding.categories` are text.

        Returns
        -------
        polars.DataFrame
            The column `prediction`, and for classes `confidence`, the probability the network gives the class.
        """
        return self.target.decode(self.network.predict(self.encoding.encode(frame)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all."""
        tensors, network = self.network.to_tensors()
        table = {"encoding": self.encoding.to_dict(), "target": target_to_dict(self.target)}
        model_file.write(path, tensors, {"network": network, "table": table})

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
        table = metadata["table"]
        network = Network.from_tensors(tensors, metadata["network"])
        return cls(network, Encoding.from_dict(table["encoding"]), target_from_dict(table["target"]))
