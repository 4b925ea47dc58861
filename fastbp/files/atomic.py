"""Atomic replacement of a file: completely or not at all.

This file knows the file system. It must not know what the bytes mean.
"""

import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.fastbp-[0-9a-f]{16}\.tmp")
_SECONDS_TO_REMAIN = 3600


def replace_file(
    path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview], permissions: int | None = None
) -> None:
    """Write the chunks to `path`. Other processes see either the old file or the complete new file.

    The bytes are written to a temporary file in the same directory. When the bytes are on the disk, the temporary file
    replaces the target. If the process is killed before, the old file is unchanged, but a temporary file
    `.fastbp-*.tmp` may remain. The next call for this directory that is at least an hour later removes it. If `path` is
    a symbolic link, the file that the link points to is replaced.

    Parameters
    ----------
    path : path-like
        File to write.
    chunks : iterable of bytes or memoryview
        Parts of the content, in order.
    permissions : int, optional
        Permissions of the file, for example 0o600, for any umask. Default: the permissions of the file that is
        replaced; for a new file, those that the umask allows.

    Raises
    ------
    ValueError
        If `path` exists and is not a regular file, such as a device or a pipe.
    OSError
        If the file cannot be written, is read-only, or is a directory. The error names `path`, and no temporary file
        remains.
    """
    try:
        target = os.path.realpath(path)
        old_permissions = _permissions_of_old_file(target)
        directory = os.path.dirname(target)
        temporary = os.path.join(directory, f".fastbp-{secrets.token_hex(8)}.tmp")
        try:
            _write(temporary, chunks, old_permissions if permissions is None else permissions)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(directory)
        _remove_remains(directory)
    except OSError as error:
        raise OSError(error.errno, f"cannot write the file: {error.strerror}", os.fspath(path)) from error


def _permissions_of_old_file(target: str) -> int | None:
    """Return the permissions of the file to replace, or None if there is no file; raise if it must not be replaced."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(old.st_mode):
        raise ValueError(f"cannot write the file {target!r}: it exists and is not a regular file")
    effective = os.access in os.supports_effective_ids
    if not os.access(target, os.W_OK, effective_ids=effective):  # os.replace ignores this permission
        raise PermissionError(errno.EACCES, "the file there is read-only")
    return stat.S_IMODE(old.st_mode)


def _write(path: str, chunks: Iterable[bytes | memoryview], permissions: int | None) -> None:
    def create(path: str, flags: int) -> int:
        return os.open(path, flags, 0o666 if permissions is None else 0o600)  # others can never read a private file

    with open(path, "xb", opener=create) as file:
        _lock(file.fileno())  # while this process lives and writes; see `_remove_remains`
        if permissions is not None:
            os.chmod(path, permissions)
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: str) -> None:
    # Otherwise a power failure may undo the replacement. Windows cannot open a directory, and some network file systems
    # cannot sync one. The file is complete in any case.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Return whether this process now holds the only lock of a file. Not every file system has locks."""
    if sys.platform == "win32":
        return True  # Windows does not remove an open file, so no lock is needed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_remains(directory: str) -> None:
    """Remove the temporary files of this user's processes that were killed while they wrote.

    A file is removed only if it is old and no process holds its lock. A living process holds the lock while it writes,
    also on another machine, and replaces the target at once afterwards.
    """
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_dead(entry)


def _remove_if_dead(entry: "os.DirEntry[str]") -> None:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < _SECONDS_TO_REMAIN:
        return
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        return
    descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        is_dead = _lock(descriptor)
    finally:
        os.close(descriptor)
    if is_dead:
        os.unlink(entry.path)
