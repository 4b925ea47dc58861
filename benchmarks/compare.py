"""fastbp beside its peers, on the whole grid: `python -m benchmarks.compare`, which prints a table in Markdown.

Each implementation lives in a process of its own. Cell by cell and round by round they take turns, so that a machine
that changes its speed changes it for all; a cell's figure is the median of its rounds. Progress goes to stderr. This
file must not know how an implementation trains.
"""

import argparse
import dataclasses
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import (
    BATCH_SIZES,
    HIDDEN_LAYERS,
    WIDTHS,
    cell_problem,
    machine,
    microseconds,
    pin,
    step_flops,
    usable_cores,
)
from benchmarks.peers import IMPLEMENTATIONS, PEERS

ROOT = Path(__file__).parent.parent
# A BLAS's or OpenMP's idle threads may go on spinning for a while, on the cores of whoever is measured next.
SETTLE_SECONDS = 0.05
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(RuntimeError):
    """A worker ended before it had answered."""


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_options():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads",
        choices=("one", "default"),
        default="one",
        help="one: all on the same core, the default; default: nothing is set",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=positive, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a measurement, about; default 0.05")
    parser.add_argument("--K", type=positive, nargs="+", default=HIDDEN_LAYERS, help="numbers of hidden layers")
    parser.add_argument("--widths", type=positive, nargs="+", default=WIDTHS)
    parser.add_argument("--batches", type=positive, nargs="+", default=BATCH_SIZES, help="batch sizes")
    parser.add_argument("--peers", choices=PEERS, nargs="+", default=PEERS)
    parser.add_argument("--json", type=Path, metavar="PATH", help="keep the seconds of every round in this file")
    options = parser.parse_args()
    if options.json and not options.json.parent.is_dir():
        parser.error(f"argument --json: there is no directory {str(options.json.parent)!r}")
    return options


def start_worker(name, options):
    """Start an implementation's process, out of reach of the terminal's Ctrl-C: this process answers that."""
    command = [sys.executable, "-m", "benchmarks.worker", name, str(options.seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    if options.threads == "default":
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    cores = usable_cores()
    pin({max(cores)})  # it starts with this process's cores, and JAX makes its threads as it is imported
    try:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | ONE_THREAD, start_new_session=True, **pipes)
    finally:
        pin(cores)


def answer_of(name, worker):
    line = worker.stdout.readline()
    if not line:
        raise WorkerError(f"the process of {name} ended (exit status {worker.wait()}); see any message above")
    return json.loads(line)


def importable(workers):
    """Return the workers whose packages are there; say which are not."""
    present = {}
    for name, worker in workers.items():
        missing = answer_of(name, worker)["missing"]
        if missing is None:
            present[name] = worker
        else:
            print(f"skipped: {name} ({missing})", file=sys.stderr)
    return present


def measure(problem, workers, options):
    """Return each implementation's seconds per step, one for each round."""
    seconds = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            if options.threads == "default":
                time.sleep(SETTLE_SECONDS)
            try:
                worker.stdin.write(json.dumps(dataclasses.asdict(problem)) + "\n")
                worker.stdin.flush()
            except BrokenPipeError:
                pass  # answer_of says so
            seconds[name].append(answer_of(name, worker)["seconds"])
    return seconds


def times(ratio):
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2f}×"


def header(options, workers):
    command = shlex.join(["python", "-m", "benchmarks.compare", *sys.argv[1:]])
    packages = dict.fromkeys(["fastbp", "numba", "numpy", *(IMPLEMENTATIONS[name].package for name in workers)])
    one = options.threads == "one"
    left_out = [IMPLEMENTATIONS[name].title for name in options.peers if name not in workers]
    return (
        f"`{command}` on {machine(packages)}.\n\n"
        f"Microseconds per step of minibatch gradient descent in {options.dtype} and, in brackets, GFLOP/s on the true "
        f"sizes; for a peer then its time over fastbp's. Medians of {options.rounds} rounds. "
        + ("All are kept to one core." if one else "Everyone has its own default number of threads.")
        + (f" Not installed, so left out: {', '.join(left_out)}." if left_out else "")
    )


def row(cell, flops, seconds):
    """Return a line of the table, and the best peer's time over fastbp's."""
    medians = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    own = medians.pop("fastbp")
    best = min(medians, key=medians.get)
    shown = [f"{microseconds(own)} ({flops / own / 1e9:.3g})"]
    shown += [f"{microseconds(took)} ({flops / took / 1e9:.3g}) {times(took / own)}" for took in medians.values()]
    last = f"{times(medians[best] / own)} {IMPLEMENTATIONS[best].title}"
    return f"| {' | '.join([*map(str, cell), *shown, last])} |", medians[best] / own


def summary(ratios):
    """Return what the table comes to; `ratios` are the best peer's, by (K, width, batch)."""
    cell = min(ratios, key=ratios.get)
    lines = ["- least ratio to the best peer: {:.2f}×, at K {}, width {}, batch {}".format(ratios[cell], *cell)]
    for title, chosen in {
        "batch 32 and 256": [ratio for (_, _, batch), ratio in ratios.items() if batch in (32, 256)],
        "width 16": [ratio for (_, width, _), ratio in ratios.items() if width == 16],
        "all cells": list(ratios.values()),
    }.items():
        if chosen:
            mean = statistics.geometric_mean(chosen)
            lines.append(f"- geometric mean over {title} ({len(chosen)}): {mean:.2f}×")
    return "\n".join(lines)


def compare(workers, options):
    """Print the table, a line as soon as it is measured, and the summary; return the seconds."""
    titles = [IMPLEMENTATIONS[name].title for name in workers]
    columns = ["K", "width", "batch", *titles, "best peer"]
    print(f"{header(options, workers)}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    cells = list(itertools.product(options.K, options.widths, options.batches))
    ratios, kept, began = {}, [], time.monotonic()
    for done, cell in enumerate(cells, 1):
        problem = cell_problem(*cell, options.dtype)
        seconds = measure(problem, workers, options)
        line, ratios[cell] = row(cell, step_flops(problem.sizes, problem.batch_size), seconds)
        kept.append({"K": cell[0], "width": cell[1], "batch": cell[2], "seconds": seconds})
        print(line, flush=True)
        spent = time.monotonic() - began
        left = spent / done * (len(cells) - done)
        print(f"{done} of {len(cells)} cells in {spent:.0f} s, about {left / 60:.0f} min left", file=sys.stderr)
    print(f"\n{summary(ratios)}")
    return kept


def main():
    options = parse_options()
    workers = {name: start_worker(name, options) for name in dict.fromkeys(["fastbp", *options.peers])}
    try:
        present = importable(workers)
        if "fastbp" not in present or len(present) < 2:
            raise SystemExit("nothing to compare: fastbp and at least one of its peers must be installed")
        kept = compare(present, options)
    except WorkerError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    if options.json:
        options.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
