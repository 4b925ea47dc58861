"""Guard the time of a first fit: `python -m benchmarks.first_fit` prints a table, and ends with 1 if the time crept up.

A new process with an empty cache makes a first fit and a first prediction. Another process compiles a fixed function
that knows nothing of fastbp and takes about as long. Both CPU times are the lowest of the rounds, which take turns, so
the ratio does not depend on the speed of the machine. This file must not know how code is compiled or kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile

LIMIT = 1.25  # CPU time of the first fit, divided by that of the reference
FIT = """
import numpy as np
import fastbp
X = np.random.default_rng(0).standard_normal((256, 16))
net = fastbp.Network([16, 64, 64, 1], seed=0)
net.fit(X, X[:, 0], epochs=1)
net.predict(X)
"""
REFERENCE = """
import numba
import numpy as np

@numba.njit
def reference(x, y):
    return np.sort(x)[0] + np.median(x) + np.argsort(y)[0] + np.interp(x, x, y)[0]

reference(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
"""
TIMED = "import sys, time; start = time.process_time(); exec(sys.argv[1]); print(time.process_time() - start)"
COMPILED = """
from fastbp import startup
for name, seconds in startup.diagnose().kept["float32"].items():
    print(f"| {name} | {seconds:.2f} |")
"""


def output_of(code, cache, *arguments):
    """Return what a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "FASTBP_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"error: a process failed\n{done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_fit", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="processes of each kind; default 2")
    fits, references = [], []
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as cache:
            fits.append(float(output_of(TIMED, cache, FIT)))
            compiled = output_of(COMPILED, cache)
            references.append(float(output_of(TIMED, cache, REFERENCE)))
    print(f"| compiled for a first fit | seconds |\n| --- | --- |\n{compiled}")
    fit, reference = min(fits), min(references)
    ratio = fit / reference
    print(f"First fit and prediction: {fit:.2f} s of CPU time, {ratio:.2f} times the reference ({reference:.2f} s).")
    if ratio > LIMIT:
        raise SystemExit(f"error: a first fit takes more than {LIMIT} times as long as the reference")


if __name__ == "__main__":
    main()
