"""How the inputs of a row are stored as few numbers, and which inputs each of these numbers stands for.

Nothing in this file is compiled. `expansion` makes inputs of the stored numbers.
"""

from typing import NamedTuple

VALUE, BINS, LEVELS = range(3)  # the kinds of spans
STORED = {VALUE: 1, BINS: 2, LEVELS: 1}  # how many numbers of a row a span takes


class Span(NamedTuple):
    """Inputs that are next to each other, and that are stored together.

    VALUE is one input, stored as it is. BINS are inputs of which only input k can lie between −1 and 1: those before
    are 1, and those behind are −1. k and input k are stored. All of them are 0 if k is −1. LEVELS are inputs that are
    all 0 except for input k, which is 1. k is stored, and is −1 if there is none.
    """

    kind: int
    place: int  # of the first stored number, in the row of stored numbers
    width: int  # number of inputs
