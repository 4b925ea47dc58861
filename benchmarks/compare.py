"""Compare the training speed of fastbp and other libraries: `python -m benchmarks.compare` prints a Markdown table.

Each implementation has its own process. The processes take turns in each cell and each round, so a change of the
machine's speed affects all of them. A cell shows the median of its rounds. Progress goes to stderr. This file must not
know how an implementation trains.
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
# Idle threads of BLAS or OpenMP may spin for a while, on the cores of the library that is measured next.
SETTLE_SECONDS = 0.05
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(RuntimeError):
    """A worker process ended before it answered."""


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
        help="one (the default): all libraries on the same core; default: each library's own number",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=positive, default=3, help="measurements per cell; default 3")
    parser.add_argument("--seconds", type=float, default=0.05, help="duration of a measurement, about; default 0.05")
    parser.add_argument("--K", type=positive, nargs="+", default=HIDDEN_LAYERS, help="numbers of hidden layers")
    parser.add_argument("--widths", type=positive, nargs="+", default=WIDTHS)
    parser.add_argument("--batches", type=positive, nargs="+", default=BATCH_SIZES, help="batch sizes")
    parser.add_argument("--peers", choices=PEERS, nargs="+", default=PEERS)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the seconds of every round to this file")
    options = parser.parse_args()
    if options.json and not options.json.parent.is_dir():
        parser.error(f"argument --json: there is no directory {str(options.json.parent)!r}")
    return options


def start_worker(name, options):
    """Start the process of an implementation. Ctrl-C reaches only the parent process, which then ends the others."""
    command = [sys.executable, "-m", "benchmarks.worker", name, str(options.seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    if options.threads == "default":
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    cores = usable_cores()
    pin({max(cores)})  # the worker inherits these cores, and JAX starts its threads at import
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
    """Return the workers whose packages are installed; print the names of the others."""
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
                pass  # the worker ended; answer_of raises the error
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
        f"Each cell has the microseconds per step of minibatch gradient descent in {options.dtype} and, in brackets, "
        "the GFLOP/s without\npadding. The last number of a peer is the peer's time divided by fastbp's time. "
        f"Medians of {options.rounds} rounds.\n"
        + ("All libraries use one core." if one else "Each library uses its own default number of threads.")
        + (f" Left out because not installed: {', '.join(left_out)}." if left_out else "")
    )


def row(cell, flops, seconds):
    """Return a line of the table, and the time of the fastest peer divided by the time of fastbp."""
    medians = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    own = medians.pop("fastbp")
    best = min(medians, key=medians.get)
    shown = [f"{microseconds(own)} ({flops / own / 1e9:.3g})"]
    shown += [f"{microseconds(took)} ({flops / took / 1e9:.3g}) {times(took / own)}" for took in medians.values()]
    last = f"{times(medians[best] / own)} {IMPLEMENTATIONS[best].title}"
    return f"| {' | '.join([*map(str, cell), *shown, last])} |", medians[best] / own


def summary(ratios):
    """Return the lines below the table; `ratios` are those of the fastest peer, by (K, width, batch)."""
    cell = min(ratios, key=ratios.get)
    lines = ["- lowest ratio to the best peer: {:.2f}×, at K {}, width {}, batch {}".format(ratios[cell], *cell)]
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
    """Print each line of the table when it is measured, and then the summary; return the seconds."""
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
