"""Measure the first second of a process: `python -m benchmarks.startup` prints a Markdown table.

Every sample is measured by a new process itself. The processes take turns in each round, so a change of the machine's
speed affects all of them. A number is the median of its rounds. A cold process has an empty cache of compiled code. A
warm process has the cache that a cold process filled. This file must not know how code is compiled or kept.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.common import machine

FIRST_FIT = """
import numpy as np
import fastbp
X = np.random.default_rng(0).standard_normal((256, 16))
net = fastbp.Network([16, 64, 64, 1], dtype={dtype!r}, seed=0)
net.fit(X, X[:, 0], epochs=1)
net.predict(X)
"""
SECOND_FIT = """
net = fastbp.Network([16, 64, 64, 3], dtype={dtype!r}, seed=0)
net.fit(X, np.arange(256) % 3, loss="cross_entropy", optimizer=fastbp.Adam(), epochs=1)
net.predict(X)
"""
IMPORTS = {
    "import numpy": ("numpy", "import numpy"),
    "import fastbp": ("fastbp", "import fastbp"),
    "import fastbp, and Numba with the first network": ("fastbp", "import fastbp; fastbp.Network([1, 1])"),
    "import torch": ("torch", "import torch"),
    "import sklearn.neural_network": ("sklearn", "import sklearn.neural_network"),
    "import jax": ("jax", "import jax"),
}
# The code that a process runs before the timing, and the code that is timed.
FITS = {
    "import, first fit and predict, float32": ("", FIRST_FIT.format(dtype="float32")),
    "import, first fit and predict, float64": ("", FIRST_FIT.format(dtype="float64")),
    "then another dtype": (FIRST_FIT.format(dtype="float32"), SECOND_FIT.format(dtype="float64")),
    "then another loss and optimizer": (FIRST_FIT.format(dtype="float32"), SECOND_FIT.format(dtype="float32")),
}
TIMED = """
import sys, time
before, timed = sys.argv[1:]
exec(before)
wall, cpu = time.perf_counter(), time.process_time()
exec(timed)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def output_of(code, cache, *arguments):
    """Return what a new process with a directory for compiled code prints."""
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


def seconds(before, timed, cache):
    """Return the wall-clock time and the CPU time of `timed` in a new process, in seconds."""
    wall, cpu = map(float, output_of(TIMED, cache, before, timed).split())
    return wall, cpu


def measure(rounds):
    """Return the seconds of all rounds by title: of imports, and of fits in cold and in warm processes."""
    present = {title: code for title, (package, code) in IMPORTS.items() if importlib.util.find_spec(package)}
    imports = {title: [] for title in present}
    fits = {title: ([], []) for title in FITS}
    began = time.monotonic()
    for done in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as kept:
            for title, code in present.items():
                imports[title].append(seconds("", code, kept))
            for number, (title, code) in enumerate(FITS.items()):
                cache = os.path.join(kept, str(number))
                for found in fits[title]:  # first cold, then warm
                    found.append(seconds(*code, cache))
        print(f"{done} of {rounds} rounds in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return imports, fits


def median(found):
    """Return the medians of the wall-clock times and of the CPU times, as text."""
    wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
    return f"{wall:.2f} ({cpu:.2f})"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes per number; default 5")
    imports, fits = measure(parser.parse_args().rounds)
    print(f"{machine(['fastbp', 'numpy', 'numba', 'llvmlite', 'scikit-learn', 'torch', 'jax'])}\n")
    print("| seconds (of CPU) | cold | warm |\n| --- | --- | --- |")
    for title, found in imports.items():
        print(f"| {title} | | {median(found)} |")
    for title, (cold, warm) in fits.items():
        print(f"| {title} | {median(cold)} | {median(warm)} |")


if __name__ == "__main__":
    main()
