"""One implementation in a process of its own: problems come in on stdin, seconds per step go out on stdout, as JSON.

`benchmarks.compare` starts it as `python -m benchmarks.worker NAME SECONDS`; it ends when stdin does. This file must
not know of the other implementations or of the grid.
"""

import importlib
import json
import os
import sys

from benchmarks.common import Problem
from benchmarks.peers import IMPLEMENTATIONS, prepare
from benchmarks.timing import seconds_of, warm_up


def serve(name, seconds, answer):
    """Answer each problem on stdin with one measurement; the first of a problem prepares it."""
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
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def answer(message):
        os.write(replies, json.dumps(message).encode() + b"\n")

    try:
        serve(name, float(seconds), answer)
    except BrokenPipeError:  # whoever asked has ended
        return


if __name__ == "__main__":
    main()
