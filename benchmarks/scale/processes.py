"""Jobs in new processes, and what each took: seconds, CPU seconds and the most memory. This file must not know jobs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MIB = 2**20


class MissingError(Exception):
    """A package that a job needs is not installed."""


def peak_bytes(usage: resource.struct_rusage) -> int:
    """Return the most memory that a process had."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
    done = _run(code, stdout=subprocess.PIPE)
    answer = json.loads(done["output"].splitlines()[-1])
    if "missing" in answer:
        raise MissingError(answer["missing"])
    return {**answer, "peak": done["peak"]}


def commanded(*arguments: str) -> dict[str, Any]:
    """Run the command `fastbp`; return its "output", seconds as "wall" and "cpu", and its most memory as "peak"."""
    return _run([sys.executable, "-m", "fastbp", *arguments], stdout=subprocess.PIPE)


def _run(command: Sequence[str], **options: Any) -> dict[str, Any]:
    # A process begins with the peak of the process that started it, so this process must stay small.
    began = time.perf_counter()
    process = subprocess.Popen(command, text=True, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with status {process.returncode}")
    return {
        "output": output,
        "wall": time.perf_counter() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": peak_bytes(usage),
    }


def digits(value: float, n: int = 3) -> str:
    """Return a number with n significant digits, or more if it has more digits before the point."""
    return f"{value:.0f}" if abs(value) >= 10 ** (n - 1) else f"{value:.{n}g}"


def print_lines(header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table line by line, as the lines are measured."""
    for line in (header, ["---"] * len(header)):
        print(f"| {' | '.join(line)} |")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)
