"""Members written to a new archive: copied, spliced, deflated or stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path

from shim.errors import VerifyError
from shim.wheels.archive import WheelArchive
from shim.wheels.compare import Comparison, Original, compare
from shim.wheels.content import Content, Digest
from shim.wheels.deflate import DeflateMode, deflate
from shim.wheels.faults import ArchiveError
from shim.wheels.inflate import inflate
from shim.wheels.joints import to_bit, to_byte
from shim.wheels.layout import CopiedRange
from shim.wheels.member import DEFLATED, STORED, Member
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import RandomFile
from shim.wheels.spans import HAS_DESCRIPTOR
from shim.wheels.splice import Kept, Rewritten, plan_splice
from shim.wheels.zipformat import MAX32, local_header

__all__ = ["MemberWriter", "Prepared", "prepare"]

_SPLICE_FLOOR = 256 << 10
"""Compressed bytes below which a member is deflated anew as a whole."""

_MIN_COPY = 4096
"""Equal bytes of a stored member that are worth a copied range of their own."""

_LEVEL_BITS = 0b110
"""Flag bits that tell which effort deflate made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What must be known of a changed member before it can be written."""

    content: Content
    comparison: Comparison
    pieces: tuple[Kept | Rewritten, ...] | None
    """How to splice it; None: deflate or store it as a whole."""


def prepare(source: WheelArchive, member: Member, content: Content) -> Prepared:
    """Compare old and new contents and plan the splice. Safe in any thread.

    Raises:
        ArchiveError: broken contents of the source.
    """
    comparison = compare(source, member, content)
    pieces = None
    if member.method == DEFLATED and member.compressed_size >= _SPLICE_FLOOR and not comparison.same:

        def compressed(offset: int, size: int) -> bytes:
            return source.file.read(member.data_offset + offset, size, "deflated data", member.path)

        pieces = plan_splice(comparison, compressed, Original(content, comparison).read)
    return Prepared(content=content, comparison=comparison, pieces=pieces)


class MemberWriter:
    """Appends members to an output file, and notes what went where.

    Attributes:
        members: written so far, each with the offset of its local header, for the central directory.
        copies: ranges of the source that stand in the output as they were.
    """

    def __init__(
        self,
        source: WheelArchive,
        output: OutputFile,
        *,
        mode: DeflateMode,
        pool: Executor,
        ahead: int,
        read_back: bool = True,
    ) -> None:
        self.members: list[tuple[Member, int]] = []
        self.copies: list[CopiedRange] = []
        self._source = source
        self._output = output
        self._mode = mode
        self._pool = pool
        self._read_back = read_back
        self._ahead = ahead
        self._checks: list[tuple[str, Future[None]]] = []

    def copy(self, members: Sequence[Member]) -> None:
        """Append members with their local headers as they stand; neighbours are copied in one go."""
        first = 0
        for index in range(1, len(members) + 1):
            if index == len(members) or members[index].header_offset != members[index - 1].end:
                self._copy_run(members[first:index])
                first = index

    def _copy_run(self, members: Sequence[Member]) -> None:
        start = members[0].header_offset
        shift = self._output.position - start
        self._copy_range(start, members[-1].end - start)
        self.members += [(member, member.header_offset + shift) for member in members]

    def _copy_range(self, start: int, size: int) -> None:
        copied = CopiedRange(source_offset=start, offset=self._output.position, size=size)
        self._output.copy(self._source.file, start, size)
        self.copies.append(copied)

    def change(self, prepared: Prepared, digest: Digest) -> None:
        """Append a member with new contents; name, mode, time and method stay."""
        old = prepared.comparison.member
        flags = old.flags & ~HAS_DESCRIPTOR & ~_LEVEL_BITS
        # Extra fields are dropped: other programs' times and sizes of the old contents.
        new = replace(old, flags=flags, extra=b"", size=digest.size, crc32=digest.crc32)
        if old.method == STORED:
            self._append(new, lambda: self._write_stored(prepared))
        elif prepared.pieces is not None:
            pieces = prepared.pieces
            new = self._append(new, lambda: self._write_spliced(prepared, pieces))
            if self._read_back:
                self._checks.append((new.path, self._pool.submit(_check, self._output.temporary, new)))
        else:
            content = prepared.content
            self._append(new, lambda: self._write_all(self._deflate(content, 0, content.size, final=True)))

    def add(self, member: Member, data: bytes, *, store: bool = False) -> None:
        """Append a new member: deflated when that helps, else stored.

        Args:
            member: name, times and mode; sizes, CRC-32 and method are filled in.
            data: its contents.
            store: store it in any case.
        """
        with Content(data) as content:
            digest = content.digest()
            packed = b"" if store else b"".join(self._deflate(content, 0, content.size, final=True))
        deflated = not store and len(packed) < len(data)
        new = replace(member, size=len(data), crc32=digest.crc32, method=DEFLATED if deflated else STORED)
        self._append(new, lambda: self._output.write(packed if deflated else data))

    def finish(self) -> None:
        """Wait until every spliced stream has been read back.

        Raises:
            VerifyError: one of them does not give the new contents.
        """
        for path, check in self._checks:
            try:
                check.result()
            except ArchiveError as err:
                raise VerifyError(
                    f"{self._output.path}: member {path!r}: its new deflate stream is wrong: {err.message}",
                    hint="this is a fault of shim: please report it, with the name of the wheel",
                ) from err

    def _append(self, member: Member, write: Callable[[], None]) -> Member:
        """A local header, then whatever `write` writes; then the header again, with the compressed size."""
        # Reserve the 64-bit fields before the compressed size is known; deflate adds less than 0.1 %.
        zip64 = member.size + (member.size >> 10) + (1 << 16) >= MAX32
        offset = self._output.position
        size = len(local_header(member, extra=b"", zip64=zip64))
        self._output.write(bytes(size))
        write()
        end = self._output.position
        member = replace(
            member,
            header_offset=offset,
            data_offset=offset + size,
            end=end,
            compressed_size=end - offset - size,
        )
        self._output.patch(offset, local_header(member, extra=b"", zip64=zip64))
        self.members.append((member, offset))
        return member

    def _deflate(self, content: Content, start: int, stop: int, *, final: bool) -> Iterator[bytes]:
        return deflate(content, start, stop, mode=self._mode, final=final, pool=self._pool, ahead=self._ahead)

    def _write_all(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self._output.write(piece)

    def _write_spliced(self, prepared: Prepared, pieces: tuple[Kept | Rewritten, ...]) -> None:
        pending = count = 0  # the bits of a byte that is not complete yet
        member = prepared.comparison.member
        for index, piece in enumerate(pieces):
            if isinstance(piece, Kept):
                pending, count = self._write_kept(member, piece, pending)
                continue
            self._output.write(to_byte(pending, count))
            self._write_all(self._deflate(prepared.content, piece.start, piece.stop, final=piece.final))
            if not piece.final:
                following = pieces[index + 1]
                count = following.bit % 8 if isinstance(following, Kept) else 0
                joint, pending = to_bit(count)
                self._output.write(joint)

    def _write_kept(self, member: Member, piece: Kept, pending: int) -> tuple[int, int]:
        """Append kept bits behind `pending` ones; returns the bits of the last, partial byte and their
        number."""
        first, last = piece.bit // 8, piece.end_bit // 8
        source, start = self._source.file, member.data_offset
        if piece.bit % 8:
            old = source.read(start + first, 1)[0]
            self._output.write(bytes([old >> piece.bit % 8 << piece.bit % 8 | pending]))
            first += 1
        self._copy_range(start + first, last - first)
        count = piece.end_bit % 8
        rest = source.read(start + last, 1)[0] & (1 << count) - 1 if count else 0
        return rest, count

    def _write_stored(self, prepared: Prepared) -> None:
        content, comparison = prepared.content, prepared.comparison
        position = 0
        common = min(content.size, comparison.member.size)
        changes = comparison.changes
        ranges = [] if changes is None else [(c.offset, min(c.end, common)) for c in changes if c.offset < common]
        if changes is None:
            ranges = [(0, common)]
        for start, stop in [*ranges, (common, content.size)]:
            if start - position >= _MIN_COPY:
                self._copy_range(comparison.member.data_offset + position, start - position)
                position = start
            self._write_all(content.pieces(position, stop))
            position = stop


def _check(path: Path, member: Member) -> None:
    """Read a member back."""
    with RandomFile(path) as file:
        for _ in inflate(file, member):
            pass
