"""The command `python -m benchmarks.drop_in`: options, order of the tables, and their titles."""

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence

from sklearn.exceptions import ConvergenceWarning

from benchmarks.common import machine
from benchmarks.drop_in import fits, search, short_calls
from benchmarks.drop_in.problems import ACTIVATIONS, SETTINGS, TABLES, load
from benchmarks.drop_in.turns import THREADS, using

SECTIONS = {
    "short": "Short calls",
    "fits": "Fits with default parameters",
    "widths": f"Fits of {fits.EPOCHS} epochs on digits by width, with default parameters otherwise",
    "settings": "Fits by settings and activation",
    "search": "GridSearchCV",
}
DESCRIPTION = """Compare fastbp.sklearn with scikit-learn. The output is Markdown tables.

Both packages take turns in one process, with one thread and then with default threads. Times are medians over the
rounds. "kernel time" is the part of fastbp's time that is spent in compiled calls. "largest difference" is that of all
results of a fit, relative to the largest number of each array. If a difference is larger than rounding, the table
also shows how much scikit-learn's own result changes when X changes in the last digit, because some fits amplify every
rounding error.
"""


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drop_in",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all")
    parser.add_argument("--threads", nargs="+", choices=THREADS, default=list(THREADS), help="default: both")
    parser.add_argument("--rounds", type=int, default=3, help="turns of a fit; default 3")
    parser.add_argument(
        "--tables",
        nargs="+",
        choices=TABLES,
        default=TABLES,
        help=f"of fits and settings, and those of short calls that are among {', '.join(short_calls.TABLES)}",
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=ACTIVATIONS)
    return parser.parse_args(arguments)


def print_section(section: str, threads: str, options: argparse.Namespace) -> None:
    print(f"\n## {SECTIONS[section]}, {THREADS[threads]}\n")
    rounds = options.rounds
    with using(threads) as settle:
        if section == "short":
            tables = [table for table in short_calls.TABLES if table in options.tables]
            short_calls.print_short_calls(tables, rounds, settle)
            print()
            short_calls.print_network_calls(rounds, settle)
        elif section == "fits":
            fits.print_by_table(options.tables, rounds, settle)
        elif section == "widths":
            fits.print_by_width(fits.WIDTHS, rounds, settle)
        elif section == "settings":
            fits.print_by_settings(options.settings, options.activations, options.tables, rounds, settle)
        else:
            jobs = (None, 2) if threads == "default" else (None,)
            search.print_search(search.GRID, jobs, rounds, settle)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    command = shlex.join(["python", "-m", "benchmarks.drop_in", *(sys.argv[1:] if arguments is None else arguments)])
    where = machine(["fastbp", "scikit-learn", "numpy", "scipy", "numba"])
    print(f"`{command}` on {where}. Medians of {options.rounds} rounds.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        iris = load("iris")
        for setting in ("early_stopping", "lbfgs"):  # together, they load or compile all kernels
            iris.estimator("fastbp", max_iter=2, **SETTINGS[setting]).fit(iris.X, iris.y)
        for section in SECTIONS:
            for threads in THREADS:
                if section in options.only and threads in options.threads:
                    print_section(section, threads, options)


if __name__ == "__main__":
    main()
