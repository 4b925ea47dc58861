"""The cells of the column to predict, before anything is learned from them.

It knows cells. It must not know targets or networks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastbp.tabular.encoding.cells import Cells, spelled, texts


def clean_target(cells: Cells) -> Cells:
    """Return the target with infinite numbers marked as missing, and with one spelling of truth values.

    Raises
    ------
    ValueError
        If the column holds neither numbers nor Booleans nor texts.
    """
    if cells.kind == "text":
        levels = [str(level) for level in cells.distinct()[0]]
        words = set(map(spelled, levels))
        if cells.is_truth or len(words) == len(levels) or words - {"false", "true"}:
            return cells
        of_levels = [spelled(level) for level in cells.levels]
        return texts(cells.name, [None if code < 0 else of_levels[code] for code in cells.codes()])
    if cells.kind == "numbers":
        return replace(cells, missing=cells.missing | ~np.isfinite(cells.values))
    raise ValueError(f"the target {cells.name!r} holds {cells.kind}, neither classes nor numbers")
