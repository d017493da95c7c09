"""Temporary files and folders beside their final place; those that a killed process left behind are swept.

Each is locked (flock) by the process that works on it. The kernel drops the lock with the process, whatever ended it,
so one that can be locked belongs to nobody and is removed by the next run in the same folder. On a file system without
such locks nothing is swept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER = ".shim-work-"
_TRIES = 100


@contextlib.contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder of this process alone, removed at the end.

    Args:
        parent: where to make it, so that results can be moved out of it by a rename; the system's folder for temporary
            files when None.

    Raises:
        OSError: it cannot be made.
    """
    around = Path(tempfile.gettempdir()) if parent is None else parent
    _sweep(around, re.compile(re.escape(_FOLDER) + "[0-9a-f]{16}"))
    folder, handle = _made_folder(around)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def temporary_file(path: Path) -> tuple[Path, int]:
    """A new, empty file beside `path` and its open descriptor; the caller moves it to `path` or removes it.

    Raises:
        OSError: it cannot be made.
    """
    stem = f".{path.name[:200]}."
    _sweep(path.parent, re.compile(re.escape(stem) + r"[0-9a-f]{12}\.part"))
    for _ in range(_TRIES):
        made = path.with_name(f"{stem}{secrets.token_hex(6)}.part")
        handle = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _held(handle, made):
            return made, handle
    raise FileNotFoundError(2, "the temporary file vanishes as soon as it is made", str(path))


def _made_folder(around: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        folder = around / f"{_FOLDER}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _held(handle, folder):
                return folder, handle
    raise FileNotFoundError(2, "the work folder vanishes as soon as it is made", str(around))


def _held(handle: int, path: Path) -> bool:
    """Lock what was just made. False when another process swept it before that; the descriptor is closed then."""
    with contextlib.suppress(OSError):  # no locks on this file system: then nobody sweeps either
        fcntl.flock(handle, fcntl.LOCK_EX)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), path.lstat()):
            return True
    os.close(handle)
    return False


def _sweep(around: Path, pattern: re.Pattern[str]) -> None:
    """Remove what a process that no longer lives left behind. What cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(around) as found:
        for entry in found:
            if pattern.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _remove_if_left(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            return
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        elif stat.S_ISREG(status.st_mode):
            path.unlink()
    finally:
        os.close(handle)
