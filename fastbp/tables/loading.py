"""The bytes of a file, decompressed, with a limit in proportion to the memory of the machine.

It must not know formats of tables.
"""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MEMORY_PER_BYTE = 8  # at most, of the text while a table is read
DEFAULT_MEMORY = 8 << 30  # where the system does not tell

_PIECE = 1 << 22
_FIRST = 1 << 12
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file or a pipe, decompressed if gzip compressed it. "-" is standard input.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the content is more than `max_bytes`, starts with zeros alone, or is damaged gzip.
    """
    if str(path) == "-":
        return _decompressed(_read(sys.stdin.buffer, Path("standard input")), Path("standard input"))
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a file")
    with path.open("rb") as file:
        if path.is_file() and path.stat().st_size > max_bytes():
            raise ValueError(_too_large(path, f"has {_size(path.stat().st_size)}"))
        data = _read(file, path)
    return _decompressed(data, path)


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


def _read(file: BinaryIO, path: Path) -> bytes:
    data, limit = bytearray(), max_bytes()
    while piece := file.read(_PIECE):
        data += piece
        if len(data) >= _FIRST and not any(data[:_FIRST]):
            raise ValueError(f"{path} is no table: it holds binary data (its first {_FIRST:,} bytes are zeros)")
        if len(data) > limit:
            raise ValueError(_too_large(path, f"has more than {_size(limit)}"))
    return bytes(data)


def _decompressed(data: bytes, path: Path) -> bytes:
    """Return the content of gzip, which can have several members, or the same bytes if they are no gzip."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    content, limit = bytearray(), max_bytes()
    try:
        while data.startswith(b"\x1f\x8b"):
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                content += stream.decompress(data, _PIECE)
                if len(content) > limit:
                    raise ValueError(_too_large(path, f"has more than {_size(limit)} once it is decompressed"))
                if not stream.eof and not stream.unconsumed_tail:
                    raise ValueError(f"{path} is a damaged gzip file (its end is missing)")
                data = stream.unconsumed_tail
            data = stream.unused_data.lstrip(b"\0")  # zeros may fill up a member
    except zlib.error as error:
        raise ValueError(f"{path} is a damaged gzip file ({error})") from None
    if data:
        raise ValueError(f"{path} is a damaged gzip file (other bytes follow its end)")
    return bytes(content)


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
