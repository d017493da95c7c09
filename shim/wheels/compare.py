"""Old against new contents of a member: which bytes changed, and what they were."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from shim.wheels.archive import WheelArchive
from shim.wheels.content import Content
from shim.wheels.inflate import Mark, inflate_marked
from shim.wheels.member import STORED, Member

__all__ = ["Change", "Comparison", "Original", "compare"]

MAX_CHANGED = 4 << 20
"""Changed bytes after which a member counts as new, and comparing stops."""

_PAGE = 4096
_GRAIN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A range that is different now, in steps of 64 bytes: a few equal bytes may be within."""

    offset: int
    before: bytes
    """What stood there. Past the end of the new contents it is what was cut off."""

    @property
    def end(self) -> int:
        """First byte behind the range."""
        return self.offset + len(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Old and new contents of one member."""

    member: Member
    """The member as it was."""

    size: int
    """Bytes of the new contents."""

    changes: tuple[Change, ...] | None
    """Ascending and apart from each other; None when too much changed to list it."""

    marks: tuple[Mark, ...]
    """Places in the old compressed data, from the start to the end; empty for stored members."""

    @property
    def same(self) -> bool:
        """Is nothing different?"""
        return self.changes == () and self.size == self.member.size


class Original:
    """The old contents, put together from the new ones and the recorded changes."""

    def __init__(self, content: Content, comparison: Comparison) -> None:
        self._content = content
        self._changes = comparison.changes or ()
        self._starts = [change.offset for change in self._changes]

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of the old contents at `offset`; the range must lie inside them."""
        available = max(min(size, self._content.size - offset), 0)
        data = bytearray(self._content.read(offset, available) if available else b"")
        data += bytes(size - available)
        index = max(bisect_right(self._starts, offset) - 1, 0)
        for change in self._changes[index:]:
            if change.offset >= offset + size:
                break
            low, high = max(change.offset, offset), min(change.end, offset + size)
            if low < high:
                data[low - offset : high - offset] = change.before[low - change.offset : high - change.offset]
        return bytes(data)


def compare(archive: WheelArchive, member: Member, content: Content) -> Comparison:
    """Find what the new contents of a member change, in one pass over the old ones.

    Raises:
        ArchiveError: broken contents of the archive.
    """
    marks = [Mark(0, 0)]
    ranges: list[Change] = []
    changed = position = 0
    for piece, mark in _pieces(archive, member):
        for change in _differences(piece, position, content):
            changed += len(change.before)
            if changed > MAX_CHANGED:
                return Comparison(member=member, size=content.size, changes=None, marks=())
            ranges.append(change)
        position += len(piece)
        if mark is not None:
            marks.append(mark)
    return Comparison(
        member=member,
        size=content.size,
        changes=tuple(_joined(ranges)),
        marks=() if member.method == STORED else tuple(marks),
    )


def _joined(ranges: list[Change]) -> Iterator[Change]:
    """The same changes, those that touch each other made one."""
    start = 0
    for index in range(1, len(ranges) + 1):
        if index == len(ranges) or ranges[index].offset != ranges[index - 1].end:
            before = b"".join(change.before for change in ranges[start:index])
            yield Change(offset=ranges[start].offset, before=before)
            start = index


def _pieces(archive: WheelArchive, member: Member) -> Iterator[tuple[bytes, Mark | None]]:
    if member.method == STORED:
        return ((piece, None) for piece in archive.stream(member))
    return ((piece, mark) for piece, mark in inflate_marked(archive.file, member))


def _differences(piece: bytes, position: int, content: Content) -> Iterator[Change]:
    """The ranges of a piece of old contents (at `position`) that differ from the new contents."""
    common = max(min(len(piece), content.size - position), 0)
    new = content.read(position, common) if common else b""
    if piece != new:
        for page in range(0, common, _PAGE):
            if piece[page : page + _PAGE] != new[page : page + _PAGE]:
                yield from _page_differences(piece, new, page, min(page + _PAGE, common), position)
    if common < len(piece):
        yield Change(offset=position + common, before=piece[common:])


def _page_differences(old: bytes, new: bytes, start: int, stop: int, position: int) -> Iterator[Change]:
    first = None
    for grain in range(start, stop, _GRAIN):
        end = min(grain + _GRAIN, stop)
        if old[grain:end] != new[grain:end]:
            first = grain if first is None else first
        elif first is not None:
            yield Change(offset=position + first, before=old[first:grain])
            first = None
    if first is not None:
        yield Change(offset=position + first, before=old[first:stop])
