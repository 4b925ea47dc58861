"""The bytes of a file, decompressed, with a limit in proportion to the memory of the machine.

It must not know formats of tables.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, cast

Report = Callable[[int, int], None]  # takes how many bytes or rows are done, and how many there are, or 0

MEMORY_PER_BYTE = 8  # at most, of the text while a table is read
DEFAULT_MEMORY = 8 << 30  # where the system does not tell

_PIECE = 1 << 22
_FIRST = 1 << 12
_GZIP = b"\x1f\x8b"
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def read_bytes(path: Path, report: Report | None = None) -> bytes:
    """Return the content of a file or a pipe, decompressed if gzip compressed it. "-" is standard input.

    Parameters
    ----------
    path : Path
    report : function of two integers, optional
        Is told how many bytes are read, and the size of the file, or 0 for a pipe.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the content is more than `max_bytes`, starts with zeros alone, or is damaged gzip.
    """
    if str(path) == "-":
        path = Path("standard input")
        return _decompressed(_read(sys.stdin.buffer, path, 0, report), path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a file")
    with path.open("rb") as file:
        size = path.stat().st_size if path.is_file() else 0
        if size > max_bytes():
            raise ValueError(_too_large(path, f"has {_size(size)}"))
        data = _read(file, path, size, report)
    return _decompressed(data, path)


class Source:
    """A file that can be read more than once, in pieces. What a pipe holds is kept in a temporary file.

    Parameters
    ----------
    path : Path
        "-" is standard input.
    report : function of two integers
        Is told how many bytes of a pipe are read.

    Attributes
    ----------
    path : Path
        Named in messages.
    size : int
        Of the file, in bytes.
    held : ExitStack
        What ends when the file is closed, such as a temporary directory.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path = Path("standard input") if str(path) == "-" else path
        if path.is_dir():
            raise ValueError(f"{path} is a directory, not a file")
        self.held = ExitStack()
        with ExitStack() as opened:
            given = sys.stdin.buffer if str(path) == "-" else opened.enter_context(path.open("rb"))
            if self.is_regular:
                self._file = given
            else:
                self._file = cast(BinaryIO, opened.enter_context(tempfile.TemporaryFile()))
                limit = max(max_bytes(), shutil.disk_usage(tempfile.gettempdir()).free // 2)
                for piece in _pieces(given, self.path, limit, 0, report):
                    self._file.write(piece)
            self.size = self._file.seek(0, os.SEEK_END)
            self.held = opened.pop_all()

    @property
    def is_regular(self) -> bool:
        """Whether `path` is the name of a file."""
        return self.path.is_file()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()

    @property
    def start(self) -> bytes:
        """The first bytes of the file, as they are."""
        self._file.seek(0)
        return self._file.read(_FIRST)

    def content(self) -> bytes:
        """Return the whole content, decompressed, as `read_bytes` does."""
        if self.size > max_bytes():
            raise ValueError(_too_large(self.path, f"has {_size(self.size)}"))
        self._file.seek(0)
        return _decompressed(self._file.read(), self.path)

    def pieces(self, n_bytes: int, report: Report) -> Iterator[bytes]:
        """Return the content, decompressed, in pieces of at most `n_bytes`. `report` is told the bytes of the file."""
        self._file.seek(0)
        given = self._given(n_bytes, report)
        return decompressed(given, self.path, n_bytes) if self.start.startswith(_GZIP) else given

    def _given(self, n_bytes: int, report: Report) -> Iterator[bytes]:
        place = 0
        while True:
            self._file.seek(place)
            if not (piece := self._file.read(n_bytes)):
                return
            place += len(piece)
            yield piece
            report(place, self.size)


def max_bytes() -> int:
    """Return how many bytes a table may have: an eighth of the memory."""
    return memory() // MEMORY_PER_BYTE


def memory() -> int:
    """Return the memory of the machine in bytes, or the memory that its container may use if that is less."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no os.sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for place in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(place).read_text(encoding="ascii")))
    return min((limit for limit in limits if limit > 0), default=DEFAULT_MEMORY)


def memory_error(path: Path) -> str:
    """Return the message about a table that was allowed and still did not fit into the memory."""
    return f"{path} does not fit into the memory that is free (the machine has {_size(memory())}): take fewer rows"


def _read(file: BinaryIO, path: Path, size: int, report: Report | None) -> bytes:
    data = bytearray()
    for piece in _pieces(file, path, max_bytes(), size, report):
        data += piece
    return bytes(data)


def _pieces(file: BinaryIO, path: Path, limit: int, size: int, report: Report | None) -> Iterator[bytes]:
    n_read = 0
    while piece := file.read(_PIECE):
        if n_read == 0 and len(piece) >= _FIRST and not any(piece[:_FIRST]):
            raise ValueError(f"{path} is no table: it holds binary data (its first {_FIRST:,} bytes are zeros)")
        n_read += len(piece)
        if n_read > limit:
            raise ValueError(_too_large(path, f"has more than {_size(limit)}"))
        yield piece
        if report is not None:
            report(n_read, size)


def _decompressed(data: bytes, path: Path) -> bytes:
    """Return the content of gzip, or the same bytes if they are no gzip."""
    if not data.startswith(_GZIP):
        return data
    content, limit = bytearray(), max_bytes()
    for piece in decompressed([data], path, _PIECE):
        content += piece
        if len(content) > limit:
            raise ValueError(_too_large(path, f"has more than {_size(limit)} once it is decompressed"))
    return bytes(content)


def decompressed(pieces: Iterable[bytes], path: Path, n_bytes: int) -> Iterator[bytes]:
    """Return the content of gzip, which can have several members, in pieces of at most `n_bytes`.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    given = iter(pieces)
    data = next(given, b"")
    try:
        while True:
            while len(data) < len(_GZIP) and (more := next(given, None)) is not None:
                data += more
            if not data.startswith(_GZIP):
                break
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                yield stream.decompress(data, n_bytes)
                data = stream.unconsumed_tail
                if not stream.eof and not data:
                    if (more := next(given, None)) is None:
                        raise ValueError(f"{path} is a damaged gzip file (its end is missing)")
                    data = more
            data = stream.unused_data.lstrip(b"\0")  # zeros may fill up a member
            while not data and (more := next(given, None)) is not None:
                data = more.lstrip(b"\0")
    except zlib.error as error:
        raise ValueError(f"{path} is a damaged gzip file ({error})") from None
    if data:
        raise ValueError(f"{path} is a damaged gzip file (other bytes follow its end)")


def _too_large(path: Path, found: str) -> str:
    share = f"an eighth of this machine's memory of {_size(memory())}"
    return f"{path} {found}, and a table may have {_size(max_bytes())}, {share}: take fewer rows or columns"


def _size(n_bytes: int) -> str:
    size, unit = float(n_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"
