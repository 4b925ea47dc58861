"""A Parquet file in blocks of rows, and blocks of rows written to one.

Another process decodes and encodes, because some damaged files abort the process that decodes them, and because Ctrl-C
can end another process at once. Arrow files in a temporary directory lie between the processes.

May import the other files that read. It must not know models.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from fastbp.tables.blocks import BLOCK_BYTES, BLOCK_ROWS, NotInBlocksError
from fastbp.tables.loading import Report, Source
from fastbp.tables.typed import START_OF_POLARS, parquet_index

_SLICE_BYTES = 1 << 26  # of memory, decoded at once; a row group is decoded anew for each slice of its rows

_END = """
except KeyboardInterrupt:
    sys.exit(130)
except BaseException as error:  # a panic of polars is no Exception
    sys.exit("\\n" + (str(error).strip() or type(error).__name__).split("\\n", 1)[0])
"""
_DECODE = f"""{START_OF_POLARS}
parquet, folder, n_block, n_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
try:
    table = polars.scan_parquet(parquet, glob=False)
    n_rows = table.select(polars.len()).collect().item()
    start = table.head(n_block).collect()
    start.clear().write_ipc(f"{{folder}}/empty.arrow")
    n_slice = max(1, n_bytes // max(1, start.estimated_size())) * n_block
    for place in range(0, n_rows, n_slice):
        rows = table.slice(place, n_slice).collect()
        for row in range(0, rows.height, n_block):
            rows[row : row + n_block].write_ipc(f"{{folder}}/{{(place + row) // n_block}}.arrow")
            print(min(place + row + n_block, n_rows), n_rows, flush=True)
{_END}"""
_ENCODE = f"""{START_OF_POLARS}
folder, n_blocks, parquet = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    polars.scan_ipc([f"{{folder}}/{{k}}.arrow" for k in range(n_blocks)]).sink_parquet(parquet)
{_END}"""


class ParquetBlocks:
    """The rows of a Parquet file. The whole file is decoded first, so that a damaged file gives no rows.

    Parameters
    ----------
    source : Source
    report : function of two integers
        Is told how many bytes of a pipe are taken, and then how many rows are decoded, and how many there are.

    Attributes
    ----------
    empty : polars.DataFrame of shape (0, n_columns)
    n_rows : int
    index : tuple of str
        Names of the columns that hold pandas' index.

    Raises
    ------
    ValueError
        If the file is damaged.
    """

    def __init__(self, source: Source, report: Report) -> None:
        if not sys.executable:  # Python runs inside another program
            raise NotInBlocksError("no other process can decode it")
        self._folder = Path(source.held.enter_context(tempfile.TemporaryDirectory()))
        parquet = source.path.absolute()
        if not source.is_regular:
            parquet = self._folder / "table.parquet"
            with parquet.open("wb") as file:
                file.writelines(source.pieces(BLOCK_BYTES, report))
        self.n_rows = 0
        arguments = [str(parquet), str(self._folder), str(BLOCK_ROWS), str(_SLICE_BYTES)]
        with _ended(_DECODE, arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                done, self.n_rows = map(int, line.split())
                report(done, self.n_rows)
            failure = _failure(process)
        if failure is not None:
            raise ValueError(f"{source.path} is a damaged Parquet file ({failure}): write the file again")
        if self.n_rows == 0:
            raise ValueError(f"{source.path} has a header but no rows")
        self.empty = _arrow(self._folder / "empty.arrow")
        self.index = parquet_index(parquet, self.empty)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Return the rows in blocks."""
        for k in range(-(-self.n_rows // BLOCK_ROWS)):
            yield _arrow(self._folder / f"{k}.arrow")


def parquet_bytes(frames: Iterable[pl.DataFrame], report: Report) -> Iterator[bytes]:
    """Return the content of a Parquet file in pieces.

    Parameters
    ----------
    frames : iterable of polars.DataFrame
        The rows in blocks, with the same columns.
    report : function of two integers
        Is told when the last block is taken, and then how many bytes are returned, and how many there are.

    Raises
    ------
    ValueError
        If the rows cannot be written as Parquet.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = iter(frames)
        first, second = next(given), next(given, None)
        if second is None:
            buffer = io.BytesIO()
            first.write_parquet(buffer)
            yield buffer.getvalue()
            return
        n_blocks = 0
        for frame in chain([first, second], given):
            frame.write_ipc(Path(folder, f"{n_blocks}.arrow"))
            n_blocks += 1
        parquet = Path(folder, "table.parquet")
        report(0, 0)
        with _ended(_ENCODE, [folder, str(n_blocks), str(parquet)]) as process:
            failure = _failure(process)
        if failure is not None:
            raise ValueError(f"the table cannot be written as Parquet: {failure}")
        with parquet.open("rb") as file:
            while piece := file.read(BLOCK_BYTES):
                yield piece
                report(file.tell(), parquet.stat().st_size)


def _arrow(path: Path) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(path.read_bytes()))


class _ended:  # noqa: N801 (used as a function)
    """A process of Python that is killed where the block ends before the process does."""

    def __init__(self, code: str, arguments: list[str]) -> None:
        command = [sys.executable, "-c", code, *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _failure(process: subprocess.Popen[str]) -> str | None:
    """Wait until a process ends, and return why it failed, or None."""
    _, errors = process.communicate()
    lines = errors.strip().split("\n")
    if process.returncode == 0:
        return None
    return lines[-1] if process.returncode == 1 else f"its decoder ended with status {process.returncode}"
