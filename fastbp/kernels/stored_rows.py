"""Rows that are stored in another way than as whole lines: a piece fills the panels of a minibatch with their inputs.

`expansion` and `strided` hold these pieces. Only runs with such rows compile them. This file must not know how the rows
are stored.
"""

from typing import Any

import numpy as np

from fastbp._typing import Floats, Integers
from fastbp.kernels.layout import Panels
from fastbp.machine.jit import inlined
from fastbp.machine.piece import WHOLE, address_type, caller, tuple_type


def types_of(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of such a piece: those of `gather_stored`, without the address."""
    numbers, places = address_type(dtype), address_type(np.int64)
    return numbers, places, places, WHOLE, tuple_type(Panels, numbers, *4 * [WHOLE])


_call_piece = caller(types_of)


@inlined
def gather_stored(
    address: int,  # of the piece
    source: Floats,  # the rows as they are stored
    storage: Integers,  # what the piece must know about them
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    out: Panels,  # (n, D)
) -> None:
    """out[r] = the inputs of row order[first + r], by the piece with this address."""
    _call_piece(address, (source, storage, order, first, out))
