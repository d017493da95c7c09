"""Is a patched file what the plan promised, and otherwise the file it was?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from shim.applying.inject import Injected, PatchedFile
from shim.arch import Grade, Target
from shim.devicecode import Container, DeviceCode, read_path
from shim.errors import VerifyError
from shim.planning import LibraryPlan, plan_library

_PIECE = 1 << 20
_CONTAINER_HEADER = 16


def original_pieces(path: Path, size: int, undo: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
    """The bytes of the file before it was patched: cut to `size`, with `undo` written back. Bounded memory."""
    edits = sorted(undo)
    with path.open("rb") as file:
        at = 0
        while at < size:
            piece = file.read(min(_PIECE, size - at))
            if not piece:
                return
            yield _restored(piece, at, edits)
            at += len(piece)


def _restored(piece: bytes, at: int, edits: Sequence[tuple[int, bytes]]) -> bytes:
    end = at + len(piece)
    here = [(offset, data) for offset, data in edits if offset < end and offset + len(data) > at]
    if not here:
        return piece
    changed = bytearray(piece)
    for offset, data in here:
        low, high = max(offset, at), min(offset + len(data), end)
        changed[low - at : high - at] = data[low - offset : high - offset]
    return bytes(changed)


def gives_original(path: Path, size: int, undo: Sequence[tuple[int, bytes]], original: Path) -> bool:
    """Whether taking the edits back gives exactly the original file."""
    if original.stat().st_size != size:
        return False
    with original.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in original_pieces(path, size, undo))


def verify_file(patched: PatchedFile, plan: LibraryPlan, before: DeviceCode, source: Path, target: Target) -> Grade:
    """Check a patched file against the original `source`; returns its grade.

    Raises:
        VerifyError: bytes outside the edits changed, an old image is not where it should be, a new one is not found, or
            the grade promised is not reached.
    """
    if not gives_original(patched.path, patched.original_size, patched.undo, source):
        raise _broken(patched, "taking the edits back does not give the original file")
    after = read_path(patched.path, member=patched.member)
    if after.unknown:
        raise _broken(patched, f"unknown bytes in device code at {after.unknown[0].offset:#x}")
    by_offset = {container.offset: container for container in after.containers}
    with patched.path.open("rb") as new_file, source.open("rb") as old_file:
        for injected in patched.injected:
            old, new = before.containers[injected.container], by_offset.get(injected.after)
            if new is None:
                raise _broken(patched, f"no container at {injected.after:#x}")
            _check_container(patched, injected, old, new)
            entry = new.offset + _CONTAINER_HEADER
            if _digest(new_file, entry, injected.entry_size) != injected.entry_sha256:
                raise _broken(patched, f"the new image at {entry:#x} is not the one that was made")
            kept = old.size - _CONTAINER_HEADER
            if _digest(new_file, entry + injected.entry_size, kept) != _digest(
                old_file, old.offset + _CONTAINER_HEADER, kept
            ):
                raise _broken(patched, f"the old images behind {entry:#x} are not byte for byte what they were")
    return check_grade(patched.member, after, plan.promised, target)


def check_grade(member: str, code: DeviceCode, promised: Grade, target: Target) -> Grade:
    """The grade of a library, at least `promised`. Raises VerifyError."""
    reached = plan_library(code, target).before
    if reached < promised:
        raise VerifyError(
            f"{member}: the plan promised {promised}, the result is {reached}",
            hint="Nothing was written. This is a bug of shim; please report it with the name of the wheel.",
        )
    return reached


def _check_container(patched: PatchedFile, injected: Injected, old: Container, new: Container) -> None:
    if len(new.images) != len(old.images) + 1 or str(new.images[0].arch) != injected.arch.removeprefix("sm_"):
        raise _broken(patched, f"the container at {new.offset:#x} is not the old images and one for {injected.arch}")
    if new.role is not old.role:
        raise _broken(patched, f"the container at {new.offset:#x} was {old.role.value}, is {new.role.value}")
    for was, now in zip(old.images, new.images[1:], strict=True):
        if (was.arch, was.kind, was.flags, was.stored_size) != (now.arch, now.kind, now.flags, now.stored_size):
            raise _broken(patched, f"the image at {now.offset:#x} is not the one that was at {was.offset:#x}")


def _digest(file: BinaryIO, offset: int, size: int) -> str:
    digest = hashlib.sha256()
    file.seek(offset)
    while size > 0 and (piece := file.read(min(_PIECE, size))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def _broken(patched: PatchedFile, what: str) -> VerifyError:
    return VerifyError(
        f"{patched.member}: {what}", hint="Nothing was written. This is a bug of shim; please report it."
    )
