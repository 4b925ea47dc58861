"""What code is compiled with and for: versions, the CPU's features, and settings that make slow code.

This file must not know what is compiled, or who asks.
"""

import llvmlite
import numba
from llvmlite.binding import get_host_cpu_features
from numba.core import config

from fastbp.machine import cache, compiler

FEATURES = ("avx512f", "avx2", "avx", "fma", "sve", "neon")  # that kernels use


def versions() -> dict[str, str]:
    """Return the versions of the compiler's packages."""
    return {"Numba": numba.__version__, "llvmlite": llvmlite.__version__}


def cpu_features() -> list[str]:
    """Return the features of this CPU that kernels use."""
    found = get_host_cpu_features()
    return [name for name in FEATURES if found.get(name)]


def problems() -> list[str]:
    """Return what makes compilation or compiled code slow here, one sentence each."""
    found = []
    if not (cache.IS_SUPPORTED and compiler.ENTRY):
        found.append(f"fastbp does not know the inner parts of Numba {numba.__version__}, and uses Numba's own cache")
    if config.OPT != 3:
        found.append(f"NUMBA_OPT is {int(config.OPT)}, which makes slow code: unset it")
    if config.BOUNDSCHECK:
        found.append("NUMBA_BOUNDSCHECK is set, which makes slow code: unset it")
    return found
