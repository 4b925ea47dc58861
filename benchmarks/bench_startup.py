"""The first second of a process, each time in a new process. `python -m benchmarks.startup` prints more details."""

from benchmarks.startup import FIRST_FIT
from fastbp import startup

NEW_CACHE = """
import os, tempfile
cache = tempfile.TemporaryDirectory()
os.environ["FASTBP_CACHE_DIR"] = cache.name
"""
START_NUMBA = """
import numpy as np
from fastbp import startup
startup.PIECES[0].address(np.dtype("float64"))
"""


class Imports:
    """Seconds of an import, in addition to the import of NumPy."""

    number = 1  # a second import in the same process costs nothing
    repeat = (3, 10, 2.0)

    def timeraw_import(self):
        return "import fastbp", "import numpy"

    def timeraw_import_with_numba(self):
        return "import fastbp; fastbp.Network([1, 1])", "import numpy"


class FirstFit:
    """Seconds of the imports, a first fit and a first prediction."""

    params = ("float32", "float64")
    param_names = ("dtype",)
    number = 1
    repeat = 1
    timeout = 120

    def timeraw_cold(self, dtype):
        return FIRST_FIT.format(dtype=dtype), NEW_CACHE

    timeraw_cold.rounds = 1

    def timeraw_warm(self, dtype):
        return FIRST_FIT.format(dtype=dtype)

    timeraw_warm.repeat = (3, 10, 3.0)


class Pieces:
    """Seconds in which a loss, an activation, a step, a shuffle or dropout is compiled, after Numba has started."""

    params = tuple(piece.name for piece in startup.PIECES)
    param_names = ("piece",)
    number = 1
    repeat = 1
    timeout = 120

    def timeraw_cold(self, piece):
        find = f"next(piece for piece in startup.PIECES if piece.name == {piece!r})"
        return f"{find}.address(np.dtype('float32'))", NEW_CACHE + START_NUMBA

    timeraw_cold.rounds = 1
