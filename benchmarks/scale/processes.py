"""Jobs in new processes, and what each took: seconds, CPU seconds and the most memory. This file must not know jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MIB = 2**20
# For the system, the peak of a process begins with the memory of the process that started it. So a small one does.
_LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
found = {"status": os.waitstatus_to_exitcode(status), "wall": time.perf_counter() - began}
print("\\n" + json.dumps({**found, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss}))
"""


class MissingError(Exception):
    """A package that a job needs is not installed."""


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what `work` returns, with the seconds and CPU seconds that this process took for it."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measured(job: str, **arguments: Any) -> dict[str, Any]:
    """Run a function of `jobs` in a new process; return its answer, and as "peak" the most memory of the process.

    Raises
    ------
    MissingError
        If a package is not installed.
    """
    code = [sys.executable, "-m", "benchmarks.scale.jobs", job, json.dumps(arguments)]
    done = finished(code)
    answer = json.loads(done["output"].rstrip().splitlines()[-1])
    if "missing" in answer:
        raise MissingError(answer["missing"])
    return {**answer, "peak": done["peak"]}


def commanded(*arguments: str) -> dict[str, Any]:
    """Run the command `fastbp`; return its "output", seconds as "wall" and "cpu", and its most memory as "peak"."""
    return finished([sys.executable, "-m", "fastbp", *arguments])


def finished(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; return its "output", seconds as "wall" and "cpu", and its most memory, in bytes, as "peak"."""
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # idle threads of the peers would count as CPU seconds
    output = subprocess.run(launcher, env=environment, text=True, stdout=subprocess.PIPE, check=True).stdout
    output, _, last = output.removesuffix("\n").rpartition("\n")
    found = json.loads(last)
    if status := found.pop("status"):
        raise SystemExit(f"error: {' '.join(command)} ended with status {status}")
    found["peak"] *= 1 if sys.platform == "darwin" else 1024
    return {"output": output, **found}


def digits(value: float, n: int = 3) -> str:
    """Return a number with n significant digits, or more if it has more digits before the point."""
    return f"{value:.0f}" if abs(value) >= 10 ** (n - 1) else f"{value:.{n}g}"


def print_lines(header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table line by line, as the lines are measured."""
    for line in (header, ["---"] * len(header)):
        print(f"| {' | '.join(line)} |")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)
