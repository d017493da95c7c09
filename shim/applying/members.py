"""Read every member of an archive once: its GPU code, and its digest where that is wanted."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shim.devicecode import DeviceCode, StreamReader, could_hold_device_code
from shim.errors import ShimError
from shim.wheels.archive import WheelArchive
from shim.wheels.member import Member

# Each reader holds up to some 50 MB of a large library (docs/design.md): more would not fit the promised memory.
MOST_READERS = 4
_HEAD = 8
_BATCH = 1 << 20  # inflated bytes that one task reads
_MEMBER_COST = 8 << 10  # what opening a member costs, in bytes of inflating


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberContent:
    """What one member holds: `code` None when it cannot hold GPU code, `sha256` None when it was not asked for."""

    member: Member
    code: DeviceCode | None
    sha256: str | None


def default_jobs() -> int:
    """Threads to read with: one a core, at most `MOST_READERS`."""
    return min(os.cpu_count() or 1, MOST_READERS)


def read_member(
    archive: WheelArchive,
    member: Member,
    *,
    digest: bool,
    stop: threading.Event | None = None,
    copy: Path | None = None,
) -> MemberContent:
    """Read one member front to back.

    Args:
        copy: where its contents are written to on the way; the file stays only when it holds GPU code.
        digest: compute the SHA-256, which needs every byte; without it files of no interest are hardly touched.
        stop: makes the call return early with whatever it has, when another thread has failed.

    Raises:
        InputError: broken contents.
    """
    if copy is not None:
        with copy.open("wb") as out:
            content = _read(archive, member, digest=digest, stop=stop, out=out)
        if content.code is None or not content.code.has_device_code:
            copy.unlink()
        return content
    return _read(archive, member, digest=digest, stop=stop, out=None)


def _read(
    archive: WheelArchive, member: Member, *, digest: bool, stop: threading.Event | None, out: BinaryIO | None
) -> MemberContent:
    reader: StreamReader | None = None
    sha = hashlib.sha256() if digest else None
    first = True
    for chunk in archive.stream(member):
        if first:
            first = False
            if could_hold_device_code(member.path, bytes(chunk[:_HEAD])):
                reader = StreamReader(member.path, member.size)
            elif sha is None:
                return MemberContent(member=member, code=None, sha256=None)
        if sha is not None:
            sha.update(chunk)
        if reader is not None:
            reader.feed(chunk)
            if out is not None:
                out.write(chunk)
        if stop is not None and stop.is_set():
            return MemberContent(member=member, code=None, sha256=None)

    def fetch(ranges: Sequence[tuple[int, int]]) -> Iterable[bytes]:
        return archive.read_ranges(member, ranges)

    code = reader.finish(fetch) if reader is not None else None
    return MemberContent(member=member, code=code, sha256=sha.hexdigest() if sha is not None else None)


def read_members(
    archive: WheelArchive,
    *,
    digest: bool = False,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
    then: Callable[[MemberContent], None] | None = None,
    copy: Callable[[Member], Path | None] | None = None,
) -> tuple[MemberContent, ...]:
    """Read all members that are files, several at a time, the largest first; results in archive order.

    Args:
        progress: called with inflated sizes of members that are done, from this thread.
        then: called in the reading thread with each member that holds GPU code, while others are still being read.
        copy: where a member is written to while it is read, None for nowhere.

    Raises:
        InputError: of the first member (in archive order) that is broken. Whatever `then` raises.
    """
    files = [member for member in archive.members if not member.is_dir]
    stop = threading.Event()

    def read(batch: Sequence[Member]) -> list[MemberContent | ShimError]:
        return [
            _read_then(archive, member, then, digest=digest, stop=stop, copy=copy(member) if copy else None)
            for member in batch
        ]

    with ThreadPoolExecutor(max_workers=jobs or default_jobs()) as pool:
        batches = list(_batches(sorted(files, key=lambda member: -member.size)))
        futures = [pool.submit(read, batch) for batch in batches]
        place = {
            m.path: (future, i) for batch, future in zip(batches, futures, strict=True) for i, m in enumerate(batch)
        }
        try:
            results = []
            for member in files:
                future, index = place[member.path]
                result = future.result()[index]
                if isinstance(result, ShimError):
                    raise result
                results.append(result)
                if progress is not None:
                    progress(member.size)
            return tuple(results)
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise


def _read_then(
    archive: WheelArchive,
    member: Member,
    then: Callable[[MemberContent], None] | None,
    *,
    digest: bool,
    stop: threading.Event,
    copy: Path | None,
) -> MemberContent | ShimError:
    """One member; its error is a result, so that which one is reported does not depend on the order of reading."""
    try:
        content = read_member(archive, member, digest=digest, stop=stop, copy=copy)
        if then is not None and content.code is not None and content.code.has_device_code and not stop.is_set():
            then(content)
    except ShimError as error:
        return error
    return content


def _batches(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    """Large members alone, small ones together: starting a thousand tasks would cost more than the reading."""
    batch: list[Member] = []
    size = 0
    for member in members:
        batch.append(member)
        size += member.size + _MEMBER_COST
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
