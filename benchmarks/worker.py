"""One implementation in its own process: it reads problems from stdin and writes seconds per step to stdout, as JSON.

`benchmarks.compare` starts this file as `python -m benchmarks.worker NAME SECONDS`. The process ends when stdin is
closed. This file must not know the other implementations or the grid.
"""

import importlib
import json
import os
import sys

from benchmarks.common import Problem
from benchmarks.peers import IMPLEMENTATIONS, prepare
from benchmarks.timing import seconds_of, warm_up


def serve(name, seconds, answer):
    """Answer each problem on stdin with one measurement. A new problem is prepared first."""
    try:
        importlib.import_module(IMPLEMENTATIONS[name].module)
    except ImportError as error:
        answer({"missing": str(error)})
        return
    answer({"missing": None})
    current = train = epochs = None
    for line in sys.stdin:
        asked = json.loads(line)
        problem = Problem(**{**asked, "sizes": tuple(asked["sizes"])})
        if problem != current:
            current, train = problem, prepare(name, problem).train
            epochs = warm_up(train, seconds)
        answer({"seconds": seconds_of(train, epochs) / (epochs * problem.steps)})


def main():
    name, seconds = sys.argv[1:]
    replies = os.dup(1)
    os.dup2(2, 1)  # output of libraries goes to stderr, so that it is not taken as an answer

    def answer(message):
        os.write(replies, json.dumps(message).encode() + b"\n")

    try:
        serve(name, float(seconds), answer)
    except BrokenPipeError:  # the parent process has ended
        return


if __name__ == "__main__":
    main()
