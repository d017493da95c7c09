"""SHA-256 of members, several at a time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from shim.wheels.archive import WheelArchive
from shim.wheels.faults import ArchiveError, Fault
from shim.wheels.member import Member

__all__ = ["hash_member", "hash_members"]


def hash_member(archive: WheelArchive, member: Member, algorithm: str = "sha256") -> str:
    """Digest of a member's contents in hexadecimal digits; size and CRC-32 are checked on the way.

    Raises:
        ArchiveError: broken contents.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for piece in archive.stream(member):
        digest.update(piece)
    return digest.hexdigest()


def hash_members(
    archive: WheelArchive, *, jobs: int | None = None, progress: Callable[[int], None] | None = None
) -> dict[str, str]:
    """SHA-256 of every member that is not a folder.

    Args:
        archive: an open archive.
        jobs: threads; the number of cores when None. Inflating and hashing leave Python's lock.
        progress: called with the inflated size of each member that is done, from this thread.

    Returns:
        Path to hexadecimal digest, in the order of the archive.

    Raises:
        ArchiveError: broken contents, all members that have them at once.
    """
    stop = threading.Event()

    def digest_of(member: Member) -> str:
        digest = hashlib.sha256()
        for piece in archive.stream(member):
            if stop.is_set():
                return ""
            digest.update(piece)
        return digest.hexdigest()

    files = [member for member in archive.members if not member.is_dir]
    futures: dict[str, Future[str]] = {}
    faults: list[Fault] = []
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=jobs or os.cpu_count() or 1) as pool:
        try:
            # The largest first: the last thread to finish then has a small member.
            for member in sorted(files, key=lambda m: -m.size):
                futures[member.path] = pool.submit(digest_of, member)
            for member in files:
                try:
                    digests[member.path] = futures[member.path].result()
                except ArchiveError as err:
                    faults.extend(err.issues)
                if progress is not None:
                    progress(member.size)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if faults:
        raise ArchiveError(archive.path, *faults)
    return digests
