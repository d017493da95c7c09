"""The cache folder: where it is, and that nobody else can write to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from shim.errors import InputError

VARIABLE = "SHIM_CACHE_DIR"
_HINT = f"set {VARIABLE} to a folder of your own"


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """Return shim's cache folder, which need not exist: SHIM_CACHE_DIR, else `shim` in the XDG cache folder.

    Args:
        environ: the environment to read; None = the present one.

    Raises:
        InputError: there is no home folder to put it in.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get(VARIABLE):
        return Path(chosen).absolute()
    xdg = Path(environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG base directory specification: a relative path is to be ignored
        return xdg / "shim"
    if home := environ.get("HOME"):
        return Path(home) / ".cache" / "shim"
    raise InputError("no cache folder: neither XDG_CACHE_HOME nor HOME is set", hint=_HINT)


def private_folder(path: Path) -> Path:
    """Return `path`, made with mode 0700 if it is missing, once it is sure that only this user can write it.

    What lies there ends up in wheels or is executed, so a folder that others can write to is refused. Missing
    parents are made with mode 0700 too.

    Raises:
        InputError: it cannot be made, is no folder, belongs to another user, or others may write to it.
    """
    try:
        _make(path)
        found = path.lstat()
    except OSError as err:
        raise InputError(f"cannot make the cache folder {path}: {err.strerror}", hint=_HINT) from err
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"the cache folder {path} is not a folder", hint=_HINT)
    if found.st_uid != os.geteuid():
        raise InputError(f"the cache folder {path} belongs to user {found.st_uid}, not to you", hint=_HINT)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise InputError(
            f"others may write to the cache folder {path} (mode {mode:04o})", hint=f"run: chmod go-w {path}"
        )
    return path


def _make(path: Path) -> None:
    missing = []
    while not path.exists() and not path.is_symlink():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
