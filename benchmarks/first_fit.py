"""Guard the time of a first fit: `python -m benchmarks.first_fit` prints a table, and ends with 1 if the time crept up.

A new process with an empty cache makes a first fit and a first prediction. Another process compiles a fixed function
that knows nothing of fastbp and takes about as long. Both CPU times are the lowest of the rounds, which take turns, so
the ratio does not depend on the speed of the machine. This file must not know how code is compiled or kept.
"""

import argparse
import tempfile

from benchmarks.startup import FIRST_FIT, output_of, seconds

LIMIT = 1.25  # CPU time of the first fit, divided by that of the reference
REFERENCE = """
import numba
import numpy as np

@numba.njit
def reference(x, y):
    return np.sort(x)[0] + np.median(x) + np.argsort(y)[0] + np.interp(x, x, y)[0]

reference(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
"""
COMPILED = """
from fastbp import startup
for name, seconds in startup.diagnose().kept["float32"].items():
    print(f"| {name} | {seconds:.2f} |")
"""


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_fit", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="processes of each kind; default 2")
    fits, references = [], []
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as cache:
            fits.append(seconds("", FIRST_FIT.format(dtype="float32"), cache)[1])
            compiled = output_of(COMPILED, cache)
            references.append(seconds("", REFERENCE, cache)[1])
    print(f"| compiled for a first fit | seconds |\n| --- | --- |\n{compiled}")
    fit, reference = min(fits), min(references)
    ratio = fit / reference
    print(f"First fit and prediction: {fit:.2f} s of CPU time, {ratio:.2f} times the reference ({reference:.2f} s).")
    if ratio > LIMIT:
        raise SystemExit(f"error: a first fit takes more than {LIMIT} times as long as the reference")


if __name__ == "__main__":
    main()
