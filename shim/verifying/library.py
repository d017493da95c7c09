"""Is a patched file what the plan promised, and otherwise the file it was?"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from shim.applying.inject import PatchedContainer, PatchedFile
from shim.applying.rewrite import Rewritten
from shim.arch import Grade
from shim.devicecode import Container, DeviceCode, read_path
from shim.errors import VerifyError
from shim.planning import LibraryPlan, Promise
from shim.planning.outcome import grade_on
from shim.provenance.edits import covers

_PIECE = 1 << 20


def gives_original(written: Rewritten, path: Path, original: Path) -> bool:
    """Whether the old bytes are where the writer says they are. Bounded memory."""
    if original.stat().st_size != written.original_size or not covers(written.old, written.original_size):
        return False
    with original.open("rb") as old, path.open("rb") as new:
        return all(_equal(old, part.offset, new, part.at, part.size) for part in written.old if part.at is not None)


def _equal(old: BinaryIO, offset: int, new: BinaryIO, at: int, size: int) -> bool:
    old.seek(offset)
    new.seek(at)
    while size > 0:
        piece = old.read(min(_PIECE, size))
        if not piece or new.read(len(piece)) != piece:
            return False
        size -= len(piece)
    return True


def verify_file(patched: PatchedFile, plan: LibraryPlan, before: DeviceCode, source: Path) -> Grade:
    """Check a patched file against the original `source`; returns its worst grade.

    Raises:
        VerifyError: bytes outside the edits changed, an old image is not where it should be, a new one is not found, or
            a grade promised is not reached.
    """
    if not gives_original(patched.written, patched.path, source):
        raise _broken(patched, "taking the edits back does not give the original file")
    after = read_path(patched.path, member=patched.member)
    if after.unknown:
        raise _broken(patched, f"unknown bytes in device code at {after.unknown[0].offset:#x}")
    by_offset = {container.offset: container for container in after.containers}
    with patched.path.open("rb") as new_file, source.open("rb") as old_file:
        for done in patched.containers:
            new = by_offset.get(done.after)
            if new is None:
                raise _broken(patched, f"no container at {done.after:#x}")
            _check_container(patched, done, before.containers[done.step.container], new, old_file, new_file)
    _check_others(patched, before, after)
    return min(check_grade(patched.member, after, promise) for promise in plan.promises)


def _check_others(patched: PatchedFile, before: DeviceCode, after: DeviceCode) -> None:
    """Every container that was not to change is where its bytes went, with as many wrappers as it had."""
    changed = {done.step.container for done in patched.containers}
    pointed = Counter(wrapper.container for wrapper in before.wrappers)
    now = Counter(wrapper.target for wrapper in after.wrappers)
    starts = [part.offset for part in patched.written.old]
    for index in pointed.keys() - changed:
        offset = before.containers[index].offset
        part = patched.written.old[bisect_right(starts, offset) - 1]
        if part.at is None or now[part.at + offset - part.offset] != pointed[index]:
            raise _broken(patched, f"the container that was at {offset:#x} is not the one that its wrapper points at")


def check_grade(member: str, code: DeviceCode, promise: Promise) -> Grade:
    """The grade of a library, at least the one promised. Raises VerifyError."""
    reached = grade_on(code, promise.target)
    if reached < promise.after:
        raise VerifyError(
            f"{member}: the plan promised {promise.after} on {promise.target.device}, the result is {reached}",
            hint="Nothing was written. This is a bug of shim; please report it with the name of the wheel.",
        )
    return reached


def _check_container(
    patched: PatchedFile,
    done: PatchedContainer,
    old: Container,
    new: Container,
    old_file: BinaryIO,
    new_file: BinaryIO,
) -> None:
    """New images first, then every old one that is not dropped, each with the bytes it should have."""
    fresh = len(done.entries)
    kept = [(i, image) for i, image in enumerate(old.images) if i not in done.step.drops]
    if len(new.images) != fresh + len(kept):
        raise _broken(patched, f"the container at {new.offset:#x} has {len(new.images)} images, not the planned ones")
    if new.role is not old.role:
        raise _broken(patched, f"the container at {new.offset:#x} was {old.role.value}, is {new.role.value}")
    for entry, image in zip(done.entries, new.images, strict=False):
        if f"sm_{image.arch}" != entry.make.arch or _digest(new_file, image.offset, entry.size) != entry.sha256:
            raise _broken(patched, f"the new image at {image.offset:#x} is not the one that was made")
    packed = {position: (size, digest) for position, size, digest in done.packed}
    for (position, was), now in zip(kept, new.images[fresh:], strict=True):
        if position in packed:
            size, digest = packed[position]
            same = now.stored_size == size and (now.arch, now.kind) == (was.arch, was.kind)
        else:
            digest = _digest(old_file, was.offset, was.stored_size)
            same = now.stored_size == was.stored_size
        if not same or _digest(new_file, now.offset, now.stored_size) != digest:
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
