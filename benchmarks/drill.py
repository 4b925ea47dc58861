"""Whether the suite sees a regression: `python -m benchmarks.drill`, some minutes.

In a scratch clone of this repository it compares the last commit with one that changes nothing, and with one in which
the forward pass of a hidden layer is computed twice. `asv continuous` must pass the first and refuse the second; the
exit status is 0 if it does both.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CELLS = r"bench_training\.Epoch\.time_epoch\(4, (64|256), 256"  # steady ones: a commit and itself differ by 6 %
FACTOR = "1.15"
KERNEL = "        linear_relu_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)\n"


def git(clone, *arguments):
    subprocess.run(["git", "-C", str(clone), "-c", "user.name=drill", "-c", "user.email=", *arguments], check=True)


def slow_down(clone):
    path = clone / "fastbp" / "propagation.py"
    source = path.read_text(encoding="utf-8")
    if source.count(KERNEL) != 1:
        raise SystemExit(f"error: {path.name} no longer calls the kernel as this drill knows it; mend KERNEL")
    path.write_text(source.replace(KERNEL, 2 * KERNEL), encoding="utf-8")


def continuous(clone, factor):
    """Compare the clone's last two commits; return the exit status."""
    command = ["asv", "continuous", "--interleave-rounds", "--factor", factor, "--bench", CELLS, "HEAD~1", "HEAD"]
    return subprocess.run([sys.executable, "-m", *command], cwd=clone, check=False).returncode


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__.splitlines()[0])
    parser.add_argument("--factor", default=FACTOR, help=f"a ratio that counts as a regression; {FACTOR} if left out")
    factor = parser.parse_args().factor
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "fastbp"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        git(clone, "commit", "--quiet", "--allow-empty", "--message", "Change nothing")
        clean = continuous(clone, factor)
        slow_down(clone)
        git(clone, "commit", "--quiet", "--all", "--message", "Compute the hidden layers twice")
        slowed = continuous(clone, factor)
    print(f"nothing changed: exit status {clean}, wanted 0; slowed on purpose: {slowed}, wanted 1")
    raise SystemExit(0 if (clean, slowed) == (0, 1) else 1)


if __name__ == "__main__":
    main()
