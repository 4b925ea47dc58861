"""Folders and files that no other user can change: what is loaded from them is run.

This file knows the file system, owners and permissions. It must not know what the bytes mean. On Windows nothing is
checked, because the folders of a user are private there.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator

_MOST_LINKS = 40  # as Linux follows
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and all missing folders above it. Only the owner may use the new folders, whatever the umask."""
    missing = []
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:  # another process was faster
            continue
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, "it is not a directory")


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise an `OSError` if another user could change the content of a folder, or put another folder in its place.

    This user or root must own the folder, every folder above it, and every symbolic link on the way. Only the owner may
    write to these folders. The one exception is a folder with the sticky bit, such as /tmp, above the folder: other
    users can write to it, but they cannot move what this user or root owns there.

    Parameters
    ----------
    path : path-like
        An absolute path.

    Raises
    ------
    OSError
        The message names the folder that others control.
    """
    if sys.platform == "win32":
        return
    steps = list(_steps(os.fspath(path)))
    for step, status in steps:
        if status.st_uid not in (os.geteuid(), 0):
            raise PermissionError(errno.EACCES, f"another user owns {step}")
        if stat.S_ISLNK(status.st_mode):
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{step} is not a directory")
        is_shared = status.st_mode & stat.S_ISVTX and (step, status) != steps[-1]
        if status.st_mode & _OTHERS and not is_shared:
            raise PermissionError(errno.EACCES, f"others can write to {step} (chmod go-w helps)")


def _steps(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each folder and each link on the way from the root of the file system to a path, and its status."""
    waiting, here, links = path.split("/")[::-1], "/", 0
    yield here, os.lstat(here)
    while waiting:
        name = waiting.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            yield here, os.lstat(here)
            continue
        step = os.path.join(here, name)
        status = os.lstat(step)
        yield step, status
        if not stat.S_ISLNK(status.st_mode):
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(step)
        here = "/" if target.startswith("/") else here
        waiting += target.split("/")[::-1]
    yield here, os.lstat(here)


def read_trusted(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file that only this user or root can have written.

    The file is opened first, and the open file is checked. So a file that takes its place later changes nothing.

    Raises
    ------
    OSError
        If the file cannot be read, is a link or no regular file, belongs to another user, or if others can write to it.
    """
    if sys.platform == "win32":
        with open(path, "rb") as file:
            return file.read()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(errno.EACCES, "it is not a regular file")
        if status.st_uid not in (os.geteuid(), 0):
            raise PermissionError(errno.EACCES, "another user owns it")
        if status.st_mode & _OTHERS:
            raise PermissionError(errno.EACCES, "others can write to it")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
