"""The first second of a process, each time in a new process. `python -m benchmarks.startup` prints more details."""

from benchmarks.startup import FIRST_FIT

NEW_CACHE = """
import os, tempfile
cache = tempfile.TemporaryDirectory()
os.environ["FASTBP_CACHE_DIR"] = cache.name
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
