"""Test whether the asv suite detects a regression: `python -m benchmarks.drill` takes some minutes.

In a temporary clone of this repository, the last commit is compared with an empty commit. The empty commit is compared
with a commit that computes the forward pass of each hidden layer twice. `asv continuous` must accept the empty commit
and reject the slow commit. The exit status is 0 if it does both.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CELLS = r"bench_training\.Epoch\.time_epoch\(4, (64|256), 256"  # low noise: equal commits differ by up to 6 %
FACTOR = "1.15"
FILE = Path("fastbp", "kernels", "propagation.py")
CALL = re.compile(r"^ +linear_relu_forward\(.*\)\n", re.MULTILINE)  # of the forward pass


def git(clone, *arguments):
    subprocess.run(["git", "-C", str(clone), "-c", "user.name=drill", "-c", "user.email=", *arguments], check=True)


def slow_down(clone):
    path = clone / FILE
    source = path.read_text(encoding="utf-8")
    if len(CALL.findall(source)) != 1:
        raise SystemExit(f"error: {path.name} does not contain one line like CALL; update drill.py")
    path.write_text(CALL.sub(lambda call: 2 * call[0], source), encoding="utf-8")


def continuous(clone, factor):
    """Compare the clone's last two commits; return the exit status."""
    command = ["asv", "continuous", "--interleave-rounds", "--factor", factor, "--bench", CELLS, "HEAD~1", "HEAD"]
    return subprocess.run([sys.executable, "-m", *command], cwd=clone, check=False).returncode


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__.splitlines()[0])
    parser.add_argument("--factor", default=FACTOR, help=f"lowest ratio that is a regression; default {FACTOR}")
    factor = parser.parse_args().factor
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "fastbp"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        git(clone, "commit", "--quiet", "--allow-empty", "--message", "Change nothing")
        clean = continuous(clone, factor)
        slow_down(clone)
        git(clone, "commit", "--quiet", "--all", "--message", "Compute the hidden layers twice")
        slowed = continuous(clone, factor)
    print(f"exit status for the empty commit: {clean}, expected 0; for the slow commit: {slowed}, expected 1")
    raise SystemExit(0 if (clean, slowed) == (0, 1) else 1)


if __name__ == "__main__":
    main()
