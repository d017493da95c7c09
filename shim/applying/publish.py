"""Move results into place: a file, and what stands beside it (reverse data, provenance).

A rename replaces one name at once, not two. So that at every moment the file is the old or the new one and its own
reverse data stands beside it, whatever ends the process:

* nothing is there yet: what belongs beside it first, the file last;
* the file replaces another: what belongs beside it is put under its name with `.new`, then the file is replaced, then
  the `.new` files take their names. A reader takes the one of the two that fits the file (`beside`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shim.applying.inject import sha256_of
from shim.errors import InputError

_NEXT = ".new"
_MAGICS = (b"shimundo", b"shimfile")  # reverse data of wheels (shim.wheels.delta) and files (shim.provenance.edits)
_MOST_READ = 16 << 20


def beside(path: Path, suffix: str) -> Iterator[Path]:
    """Files beside `path` that may be its own: the usual one, and one that a killed run had not renamed yet."""
    for name in (path.name + suffix, path.name + suffix + _NEXT):
        found = path.with_name(name)
        if found.is_file():
            yield found


def check_free(dest: Path, *, force: bool, same_as: Path | None = None) -> None:
    """Refuse a place where another file stands.

    Args:
        same_as: a file of the same contents is no other file.

    Raises:
        InputError: a file of other contents, or a symbolic link, is there and `force` is off.
    """
    if not os.path.lexists(dest) or force:
        return
    if dest.is_symlink():
        raise InputError(f"{dest} exists and is a symbolic link", hint="choose another folder with -o, or use --force")
    if same_as is None or not dest.is_file() or sha256_of(dest) != sha256_of(same_as):
        raise InputError(f"{dest} exists and is another file", hint="choose another folder with -o, or use --force")


def check_beside(dest: Path, suffixes: Iterable[str], *, force: bool) -> None:
    """Refuse to replace a file beside `dest` that shim did not write. One of a killed run may be replaced.

    Raises:
        InputError: such a file is there and `force` is off.
    """
    for suffix in suffixes:
        path = dest.with_name(dest.name + suffix)
        if force or not os.path.lexists(path) or (path.is_file() and not path.is_symlink() and _is_ours(path)):
            continue
        raise InputError(f"{path} exists and is not shim's", hint="choose another folder with -o, or use --force")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_MOST_READ)
    return head.startswith(_MAGICS) or b'"schema": "shim-' in head


def publish(draft: Path, dest: Path, others: Mapping[str, Path | None]) -> None:
    """Move `draft` to `dest` and the others to `dest` + suffix. Names are replaced: a hard link or symbolic link that
    stands at one is taken away, what it leads to stays as it is.

    Args:
        others: files by suffix; None: the new file has none, so one that belonged to the old file is removed.

    Raises:
        OSError: the folder cannot be written.
    """
    for path in (draft, *filter(None, others.values())):
        _flush(path)
    replaces = os.path.lexists(dest)
    waiting = []
    for suffix, other in others.items():
        if other is None:
            continue
        name = dest.with_name(dest.name + suffix)
        first = name.with_name(name.name + _NEXT) if replaces else name
        other.replace(first)
        if replaces:
            waiting.append((first, name))
    _flush(dest.parent)
    draft.replace(dest)
    _flush(dest.parent)
    for first, name in waiting:
        first.replace(name)
    if replaces:
        for suffix in (suffix for suffix, other in others.items() if other is None):
            for stale in (dest.name + suffix, dest.name + suffix + _NEXT):
                dest.with_name(stale).unlink(missing_ok=True)
    _flush(dest.parent)


def _flush(path: Path) -> None:
    """To the disk; file systems that cannot are left alone."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
