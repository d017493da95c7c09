"""Puts files in place so that nobody sees half of one, and nobody else's copy changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shim.errors import InputError


def put(path: Path, content: bytes, *, like: os.stat_result | None = None) -> None:
    """Write a file beside its place and rename it there.

    The result is always a new inode: installers such as uv make installed files hard links of their cache, and
    writing through one would change the package in every environment. A symbolic link at `path` is replaced, not
    followed.

    Args:
        like: mode (and, for root, owner) to give it; 0644 of this user when None.

    Raises:
        OSError: it cannot be written; nothing is left behind then.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".shim-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(stat.S_IMODE(like.st_mode) if like is not None else 0o644)
        if like is not None and os.geteuid() == 0:
            os.chown(temporary, like.st_uid, like.st_gid)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_bytecode(path: Path) -> None:
    """Remove the caches that Python made of a source file."""
    if path.suffix == ".py":
        for cache in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            cache.unlink(missing_ok=True)


def sha256(content: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an advisory lock on a folder; the kernel drops it when the process ends.

    Raises:
        InputError: the folder cannot be opened.
    """
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}", hint="name an environment that you may change") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
