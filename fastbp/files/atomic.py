"""Put bytes in a file's place, whole or not at all.

This file knows the file system. It must not know what the bytes mean.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable


def replace_file(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Write the chunks to `path`; whoever opens it sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same directory, which takes the target's place once it is on the
    disk. A process that is killed meanwhile leaves the old file as it was (and perhaps a `.fastbp-*.tmp`
    beside it). A symbolic link stays a link: the file it points at is replaced. A file that was there keeps
    its permissions; a new one gets those that the umask allows.

    Parameters
    ----------
    path : path-like
        Where to write.
    chunks : iterable of bytes or memoryview
        The new content, piece after piece.

    Raises
    ------
    ValueError
        If `path` is there and is not a regular file: a device or a pipe is not to be replaced by a file.
    OSError
        If the file cannot be written, is read-only, or is a directory. The error names `path`, and nothing is
        left behind.
    """
    try:
        target = os.path.realpath(path)
        permissions = _permissions_of_old_file(target)
        directory = os.path.dirname(target)
        temporary = os.path.join(directory, f".fastbp-{secrets.token_hex(8)}.tmp")
        try:
            _write(temporary, chunks, permissions)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(directory)
    except OSError as error:
        raise OSError(error.errno, f"cannot write the file: {error.strerror}", os.fspath(path)) from error


def _permissions_of_old_file(target: str) -> int | None:
    """Return the permissions of the file to be replaced, None without one; refuse what must stay."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(old.st_mode):
        raise ValueError(f"cannot write the file {target!r}: what is there is not a regular file")
    effective = os.access in os.supports_effective_ids
    if not os.access(target, os.W_OK, effective_ids=effective):  # os.replace would not ask
        raise PermissionError(errno.EACCES, "the file there is read-only")
    return stat.S_IMODE(old.st_mode)


def _write(path: str, chunks: Iterable[bytes | memoryview], permissions: int | None) -> None:
    with open(path, "xb") as file:
        if permissions is not None:
            os.chmod(path, permissions)  # before the first byte: a private file is private from the start
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: str) -> None:
    # Without this the new name itself may be lost when the power fails. Windows cannot open a directory and
    # some network file systems refuse to sync one; the file is whole either way.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
