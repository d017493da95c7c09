"""Is a written wheel what the plan promised, and otherwise the wheel it was?"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shim.applying.members import MemberContent, read_member
from shim.errors import InputError, VerifyError
from shim.planning import LibraryPlan
from shim.verifying.library import check_grade
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.member import Member
from shim.wheels.record import read_record

_PIECE = 1 << 20
_HINT = "Nothing was written. This is a bug of shim; please report it with the name of the wheel."


def verify_written(
    original: WheelArchive,
    new_path: Path,
    plans: Collection[LibraryPlan],
    digests: Mapping[str, str],
    limits: Limits,
) -> tuple[str, ...]:
    """Read a new wheel and compare it with the old one.

    Args:
        digests: SHA-256 that each patched library must have.

    Returns:
        What was checked, in words.

    Raises:
        VerifyError: something is not as promised.
    """
    promised = {plan.member: plan.promises for plan in plans}
    with WheelArchive.open(new_path, limits=limits) as new:
        fresh, kept = _compare(original, new, digests)
        record = {row.path: row for row in read_record(new).rows}
        old_record = {row.path: row for row in read_record(original).rows}
        for content in fresh:
            path = content.member.path
            if path in digests and content.sha256 != digests[path]:
                raise VerifyError(f"{path}: is not the file that was made", hint=_HINT)
            row = record.get(path)
            if not path.endswith("/RECORD") and (
                row is None or row.digest != content.sha256 or row.size != content.member.size
            ):
                raise VerifyError(f"{path}: RECORD does not describe it", hint=_HINT)
            if content.code is not None and path in digests:
                for promise in promised[path]:
                    check_grade(path, content.code, promise)
        for path in kept:
            now, was = record.get(path), old_record.get(path)
            if now is None or was is None or (now.digest, now.size) != (was.digest, was.size):
                raise VerifyError(f"{path}: RECORD does not say of it what it said before", hint=_HINT)
    checks = (
        f"{len(kept)} members copied byte for byte",
        f"RECORD true for {len(fresh)} new or changed ones",
    )
    if not any(plan.steps for plan in plans):
        return checks  # only texts were edited: nothing is said of images
    return (
        *checks,
        "kept images unchanged",
        "kernels, parameters and variables complete",
        "promised grades reached",
    )


def _compare(
    original: WheelArchive, new: WheelArchive, digests: Mapping[str, str]
) -> tuple[list[MemberContent], list[str]]:
    """New and changed members as read, and paths of the others. The one thread inflates, the other compares."""
    kept: list[str] = []
    old = {member.path: member for member in original.members}
    with ThreadPoolExecutor(max_workers=1) as pool:
        reading = {path: pool.submit(read_member, new, new.member(path), digest=True) for path in digests}
        for member in new.members:
            before = old.get(member.path)
            if member.path in reading:
                continue
            if before is not None and _same_data(original, before, new, member):
                if not member.is_dir:
                    kept.append(member.path)
            else:
                reading[member.path] = pool.submit(read_member, new, member, digest=True)
        try:
            fresh = [future.result() for future in reading.values()]
        except InputError as err:
            raise VerifyError(f"{new.path}: does not read back: {err.message}", hint=_HINT) from err
    return fresh, [path for path in kept if not path.endswith((".dist-info/RECORD", ".dist-info/WHEEL"))]


def _same_data(old_file: WheelArchive, old: Member, new_file: WheelArchive, new: Member) -> bool:
    """Whether two members hold the same compressed bytes (and so, with equal CRC and size, the same contents)."""
    if (old.size, old.compressed_size, old.crc32, old.method) != (new.size, new.compressed_size, new.crc32, new.method):
        return False
    left = old.compressed_size
    at = 0
    while left > 0:
        size = min(left, _PIECE)
        if old_file.file.read(old.data_offset + at, size) != new_file.file.read(new.data_offset + at, size):
            return False
        at += size
        left -= size
    return True


def entry_digest(archive: WheelArchive, member: Member, ranges: list[tuple[int, int]]) -> list[str]:
    """SHA-256 of ascending (offset, size) ranges of a member."""
    return [hashlib.sha256(data).hexdigest() for data in archive.read_ranges(member, ranges)]
