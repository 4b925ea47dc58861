"""The command `python -m benchmarks.scale`: options, order of the tables, and their titles."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence

from benchmarks.common import machine
from benchmarks.scale import engines, files, frames, growth, simulation
from benchmarks.scale.processes import MissingError, measured, print_lines

SECTIONS = {
    "frames": "Models of frames of 19 mixed columns",
    "network": f"`Network` on {frames.NETWORK_COLUMNS} columns of float32",
    "files": "The command on files of 19 mixed columns and a target",
    "engines": "The same networks on four engines",
    "growth": "A model of time and memory",
    "simulation": "Larger machines, by simulation",
}
DEFAULT = ("frames", "network", "files", "engines")
DESCRIPTION = """Show how time and memory grow with the table. The output is Markdown tables.

The rows come from a seeded generator. Every measurement is a new process with default threads; kernels are compiled
before. Models have their defaults. Seconds of a fit or of a prediction do not include the imports and the making of
the rows; those of the command include everything. The peak is that of the whole process, with libraries and the frame.
Predictions are made for as many fresh rows, and the scores are theirs. The whole takes about ten minutes on two cores.
"""


def counts(text: str) -> list[int]:
    """Return numbers of rows, such as those of "1e4,1e5"."""
    return [int(float(part)) for part in text.split(",") if part]


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(DEFAULT), help="default: the first four")
    parser.add_argument("--rows", type=counts, default=counts("1e4,1e5,1e6"), help="default 1e4,1e5,1e6")
    parser.add_argument("--network-rows", type=counts, default=counts("1e6,1e7"), help="default 1e6,1e7")
    parser.add_argument(
        "--budget", type=float, default=60.0, help=f"seconds of a fit of {frames.BUDGET_ROWS:,} rows; default 60"
    )
    parser.add_argument("--file-budget", type=float, default=15.0, help="seconds of training on a file; default 15")
    parser.add_argument("--engine-rows", type=int, default=20_000, help="default 20000")
    parser.add_argument(
        "--simulate", action="store_const", const=["simulation"], dest="only", help="the last one alone"
    )
    return parser.parse_args(arguments)


def print_engines(n_rows: int) -> bool:
    """Print the table of engines; return whether all models are the same."""
    hashes = {}

    def lines() -> Iterator[list[str]]:
        for engine in engines.ENGINES:
            try:
                found = measured("engine_fit", engine=engine, n_rows=n_rows, n_estimators=4, epochs=5)
            except MissingError as missing:
                yield [engine, f"not installed: `pip install {missing}`", "", ""]
                continue
            hashes[engine] = found["hash"]
            yield engines.line(engine, found)

    print_lines(engines.HEADER, lines())
    is_same = len(set(hashes.values())) == 1
    print(f"\nThe {len(hashes)} models are {'the same to the bit' if is_same else 'NOT the same'}.")
    return is_same


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(arguments)
    print(f"`python -m benchmarks.scale` on {machine(['fastbp', 'scikit-learn', 'lightgbm', 'numpy', 'numba'])}.")
    if options.only != ["simulation"]:
        measured("warm_up")
    is_same = True
    with tempfile.TemporaryDirectory() as folder:
        for section in (each for each in SECTIONS if each in options.only):
            print(f"\n## {SECTIONS[section]}\n")
            if section == "frames":
                print_lines(frames.HEADER, frames.model_lines(options.rows, options.budget, folder))
            elif section == "network":
                print_lines(frames.HEADER, frames.network_lines(options.network_rows, folder))
            elif section == "files":
                print_lines(files.HEADER, files.lines(options.rows, options.file_budget, folder))
            elif section == "engines":
                is_same = print_engines(options.engine_rows)
            elif section == "growth":
                growth.print_study(folder)
            else:
                simulation.print_tables()
    if not is_same:
        raise SystemExit("error: the engines trained different models")


if __name__ == "__main__":
    main()
