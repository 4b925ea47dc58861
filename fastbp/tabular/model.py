"""A model of a table: networks, the encoding of their inputs, and the target that turns their outputs into answers.

It knows `Network`, frames, encodings and model files. It must not know text files, the terminal or how a model is
trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp._typing import Array, Floats
from fastbp._version import __version__
from fastbp.files import model_file
from fastbp.network import Network
from fastbp.tabular import exporting, stored
from fastbp.tabular.encoding.cells import Frame
from fastbp.tabular.encoding.coded import BLOCK_ROWS, CodedRows
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import Coder, Encoding
from fastbp.tabular.encoding.target import Classes, Target, target_from_dict, target_to_dict

_BLOCK_ROWS = 4 * BLOCK_ROWS  # rows that are coded and predicted at once


@dataclass(frozen=True)
class TableModel:
    """Networks for one kind of table, whose answers are averaged.

    Attributes
    ----------
    networks : tuple of Network
    encoding : Encoding
    target : Classes or Quantity
    n_rows : int
        Number of training rows.
    temperature : float
        Divisor of the logits. 1 for a regression.
    residuals : ndarray of shape (m,)
        |y − ŷ| of held-out rows in ascending order. Empty for a classification.
    about : dict
        Facts about the training, as JSON can hold them: settings, scores, notices, epochs and the version of fastbp.
    """

    networks: tuple[Network, ...]
    encoding: Encoding
    target: Target
    n_rows: int
    temperature: float = 1.0
    residuals: Floats = field(default_factory=lambda: np.zeros(0))
    about: dict[str, Any] = field(default_factory=dict)

    def answers(self, X: Any) -> Floats:
        """Return the answers of the ensemble for every row.

        Parameters
        ----------
        X : frame, mapping or array
            As for `predict`.

        Returns
        -------
        ndarray
            Probabilities of shape (n, C), in the order of the target's labels, for a classification. Predicted numbers
            of shape (n,) for a regression.

        Raises
        ------
        ValueError
            If a column is missing or holds another kind of cells than in training.
        """
        frame = frame_of(X)
        coder, starts = Coder(self.encoding, frame), range(0, max(1, len(frame)), _BLOCK_ROWS)
        return np.concatenate([self._answers(coder.rows(slice(first, first + _BLOCK_ROWS))) for first in starts])

    @property
    def leaderboard(self) -> list[dict[str, Any]]:
        """The networks of the ensemble, the one with the smallest error first.

        Each entry has the keys `network` (its number, from 0), `layer_sizes`, `activation`, `sees_bins` (whether the
        bins of numbers are among its inputs), `epoch` (the best one, from 1), `epochs` (that it was trained for),
        `error` (of its held-out rows after the best epoch, which these rows chose; None if nobody knows it) and
        `weight` (its share of the answers).
        """
        found = [
            {
                "network": k,
                "layer_sizes": network.layer_sizes,
                "activation": network.activation,
                **{"error": None, **known},
                "weight": 1 / len(self.networks),
            }
            for k, (network, known) in enumerate(zip(self.networks, self.about["networks"], strict=True))
        ]
        return sorted(found, key=lambda one: np.inf if one["error"] is None else one["error"])

    def margin(self, coverage: float) -> float:
        """Return the half-width of an interval around a predicted number.

        This is the ⌈(m + 1) coverage⌉-th smallest of the m residuals, as in split conformal prediction (Lei, G'Sell,
        Rinaldo, Tibshirani & Wasserman 2018, "Distribution-free predictive inference for regression", JASA). The
        residuals are of held-out rows, each after an epoch that other rows chose.

        Parameters
        ----------
        coverage : float
            Wanted probability that the interval covers the true value, in (0, 1).

        Returns
        -------
        float
            In the unit of the target.

        Raises
        ------
        ValueError
            If the coverage is out of range, or larger than m residuals can give.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, got {coverage}")
        m = len(self.residuals)
        rank = int(np.ceil((m + 1) * coverage - 1e-9))  # 100 · 0.07 is 7.000000000000001
        if rank > m:
            raise ValueError(
                f"coverage must be at most {m / (m + 1):.3g}, because the model has {m} residuals; got {coverage}"
            )
        return float(self.residuals[max(rank, 1) - 1])

    def predict(self, X: Any, with_probabilities: bool = False, coverage: float | None = None) -> dict[str, Array]:
        """Predict every row of a table.

        Parameters
        ----------
        X : mapping from names to columns, frame of pandas, polars or pyarrow, or array of shape (n, D)
            Has the columns of the training table, in any order. Other columns are ignored. The columns of an array are
            called x0, x1, ….
        with_probabilities : bool, default False
            Whether to add the column `p_LABEL`, the probability of each class.
        coverage : float or None, default None
            Adds the columns `lower` and `upper`, an interval that covers the true number with about this probability.

        Returns
        -------
        dict of str to ndarray of shape (n,)
            The column `prediction`. For a classification also `confidence`, the probability of the predicted class.

        Raises
        ------
        ValueError
            If a column is missing or holds another kind of cells than in training, if `coverage` is given for classes
            or `with_probabilities` for numbers, or if `margin` raises.
        """
        name = self.target.name
        if isinstance(self.target, Classes):
            if coverage is not None:
                raise ValueError(f"coverage needs a target of numbers, and {name!r} holds classes")
            p = self.answers(X)
            of_each = {f"p_{label}": p[:, c] for c, label in enumerate(self.target.label_texts)}
            return self.target.decode(p) | (of_each if with_probabilities else {})
        if with_probabilities:
            raise ValueError(f"probabilities need a target of classes, and {name!r} holds numbers")
        margin = None if coverage is None else self.margin(coverage)
        values = self.answers(X)
        bounds = {} if margin is None else {"lower": values - margin, "upper": values + margin}
        return self.target.decode(values) | bounds

    def unknown_columns(self, frame: Frame) -> list[str]:
        """Return one sentence about the columns of a frame that training did not have, or an empty list."""
        known = {*self.encoding.names, self.target.name}
        unknown = [name for name in frame.names if name not in known]
        if not unknown:
            return []
        names = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        return [f"the model does not know {'a column' if len(unknown) == 1 else 'columns'} of the table: {names}"]

    def _answers(self, rows: CodedRows) -> Floats:
        """Return the answers of the ensemble for a block of rows."""
        inputs = rows.inputs()
        outputs = [
            network.predict(self.encoding.for_width(inputs, network.layer_sizes[0])) for network in self.networks
        ]
        of_each = [self.target.answers(output, self.temperature) for output in outputs]
        return self.target.combined(np.asarray(sum(of_each) / len(of_each)), self.n_rows)

    def to_onnx(self, path: str | os.PathLike[str], coverage: float | None = None) -> None:
        """Write the whole model as an ONNX graph: raw columns in, answers out.

        Each used column is an input of shape (n,) with the column's name. Numbers and days since 1970 are float64, and
        NaN is missing. Texts are strings, and truth values are "true" and "false". Whole numbers beyond 2⁵³ are int64
        or uint64. The metadata `columns` names each input, and the value that marks a missing cell.

        Parameters
        ----------
        path : path-like
            An existing file is replaced completely or not at all.
        coverage : float or None, default None
            As for `predict`: adds the outputs `lower` and `upper` beside `prediction`. A model of classes has the
            outputs `label` and `probabilities`.

        Raises
        ------
        ImportError
            If onnx is not installed.
        ValueError
            If `coverage` is given for classes, if `margin` raises, or if an activation is a user's function.
        """
        if coverage is not None and isinstance(self.target, Classes):
            raise ValueError(f"coverage needs a target of numbers, and {self.target.name!r} holds classes")
        exporting.write_onnx(path, self, None if coverage is None else self.margin(coverage))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file. An existing file is replaced completely or not at all.

        Parameters
        ----------
        path : path-like
        """
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

        Parameters
        ----------
        path : path-like

        Returns
        -------
        TableModel

        Raises
        ------
        ValueError
            If the file is damaged, of another program, or holds a network without the encoding of a table, or if a
            field is wrong. The message names the field.
        """
        tensors, metadata = model_file.read(path)
        if "table" not in metadata:
            raise ValueError(f"{os.fspath(path)} holds a network but no encoding of a table: `fastbp train` saves both")
        try:
            held = stored.checked(tensors, metadata)
            encoding, target = Encoding.from_dict(held.table["encoding"]), target_from_dict(held.table["target"])
            networks = stored.networks_for(held, encoding, target)
        except ValueError as error:
            name = os.fspath(path)
            raise ValueError(f"the model file {name!r} holds no valid model: {error}; train the model again") from None
        return cls(
            networks=networks,
            encoding=encoding,
            target=target,
            n_rows=held.table["n_rows"],
            temperature=held.table["temperature"],
            residuals=held.residuals,
            about=held.table["about"] | {"version": held.table["version"]},
        )
