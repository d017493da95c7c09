"""A wheel (or any zip archive) opened for reading, checked before its first member is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from shim.errors import InputError
from shim.wheels.directory import Directory, read_directory
from shim.wheels.faults import ArchiveError, Fault
from shim.wheels.inflate import inflate
from shim.wheels.limits import Limits
from shim.wheels.member import STORED, Member
from shim.wheels.name import WheelName, parse_wheel_name
from shim.wheels.randomfile import RandomFile
from shim.wheels.rules import check_names, check_record, check_total, decode_name
from shim.wheels.spans import locate

__all__ = ["WheelArchive"]


class WheelArchive:
    """A zip archive whose directory, headers, names and promised sizes have been checked.

    Contents are checked as they are read. Several threads may read at once. Use as a context manager::

        with WheelArchive.open(Path("demo-1.0-py3-none-any.whl")) as wheel:
            for member in wheel.members:
                for piece in wheel.stream(member):
                    ...

    Attributes:
        path: the file, as given.
        limits: bounds it was checked against.
        file: the open file.
        directory: where its central directory is, and the archive comment.
        members: in the order of the central directory.
        name: the parts of the file name, None when it is not that of a wheel.
    """

    def __init__(self, file: RandomFile, limits: Limits, directory: Directory, members: tuple[Member, ...]) -> None:
        self.path = file.path
        self.limits = limits
        self.file = file
        self.directory = directory
        self.members = members
        self.name = _wheel_name(file.path)
        self._by_path = {member.path: member for member in members}

    @classmethod
    def open(cls, path: Path, *, limits: Limits | None = None) -> Self:
        """Open and check an archive.

        Args:
            path: a regular file.
            limits: bounds to refuse at; `Limits()` when None.

        Raises:
            InputError: it cannot be opened.
            ArchiveError: it is not exactly one sound zip archive; all faults of its members at once.
        """
        limits = limits or Limits()
        file = RandomFile(path)
        try:
            directory, members = _read_members(file, limits)
        except BaseException:
            file.close()
            raise
        return cls(file, limits, directory, members)

    def member(self, path: str) -> Member:
        """The member of that path.

        Raises:
            InputError: there is none.
        """
        try:
            return self._by_path[path]
        except KeyError as err:
            raise InputError(f"{self.path}: there is no member {path!r}") from err

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    @cached_property
    def dist_info(self) -> str:
        """The wheel's `*.dist-info` folder, without a slash.

        Raises:
            InputError: there is none, or there are several and none is that of the file name.
        """
        found = {m.path.partition("/")[0] for m in self.members if "/" in m.path}
        folders = sorted(folder for folder in found if folder.endswith(".dist-info"))
        if len(folders) > 1 and self.name is not None:
            wanted = f"{self.name.distribution}-{self.name.version}.dist-info"
            folders = [folder for folder in folders if folder == wanted] or folders
        if len(folders) != 1:
            raise InputError(
                f"{self.path}: expected one .dist-info folder, found {', '.join(folders) or 'none'}",
                hint="only wheels have one: check that this is the file you meant",
            )
        return folders[0]

    def stream(self, member: Member) -> Iterator[bytes]:
        """The contents of a member in pieces of at most 1 MiB.

        Size and CRC-32 are known to hold once the iterator is exhausted.

        Raises:
            ArchiveError: broken contents (while iterating).
        """
        return inflate(self.file, member)

    def read(self, member: Member, *, limit: int = 64 << 20) -> bytes:
        """The whole contents of a member.

        Args:
            member: which.
            limit: refuse members of more inflated bytes than this.

        Raises:
            ArchiveError: too large, or broken contents.
        """
        if member.size > limit:
            fault = Fault(
                what="the member is too large for what it is",
                member=member.path,
                offset=member.data_offset,
                expected=f"at most {limit} bytes",
                found=f"{member.size}",
                hint="this is not what tools write; look at the member before trusting the file",
            )
            raise ArchiveError(self.path, fault)
        return b"".join(self.stream(member))

    def read_ranges(self, member: Member, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """Ranges of the inflated contents, at the cost of one inflate that stops after the last.

        A range that does not reach the end of the member is not covered by a CRC.

        Args:
            member: which.
            ranges: (offset, size) in bytes, sorted by offset; they may overlap.

        Raises:
            ArchiveError: broken contents.
            InputError: a range leaves the member, or they are not sorted.
        """
        self._check_ranges(member, ranges)
        if member.method == STORED:
            return (self.file.read(member.data_offset + at, size) for at, size in ranges)
        return _cut(self.stream(member), ranges)

    def _check_ranges(self, member: Member, ranges: Sequence[tuple[int, int]]) -> None:
        previous = 0
        for offset, size in ranges:
            if offset < previous or size < 0 or size > member.size - offset:
                raise InputError(
                    f"{self.path}: member {member.path!r}: range of {size} bytes at offset {offset}: "
                    f"expected sorted ranges inside its {member.size} bytes"
                )
            previous = offset

    def extract(self, member: Member, dest: Path) -> str:
        """Write the contents of a member to the file `dest`.

        Returns:
            SHA-256 of the contents, in hexadecimal digits.

        Raises:
            ArchiveError: broken contents; `dest` is left incomplete.
            InputError: `dest` cannot be written.
        """
        digest = hashlib.sha256()
        try:
            with dest.open("wb") as out:
                for piece in self.stream(member):
                    digest.update(piece)
                    out.write(piece)
        except OSError as err:
            raise InputError(f"{dest}: cannot be written: {err.strerror}") from err
        return digest.hexdigest()

    def raw_span(self, member: Member) -> tuple[int, int]:
        """Offset and length of local header, compressed data and descriptor together."""
        return member.header_offset, member.end - member.header_offset

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wheel_name(path: Path) -> WheelName | None:
    try:
        return parse_wheel_name(path.name)
    except InputError:
        return None


def _read_members(file: RandomFile, limits: Limits) -> tuple[Directory, tuple[Member, ...]]:
    directory, iterator = read_directory(file, limits)
    records = []
    names = []
    faults: list[Fault] = []
    for record in iterator:
        name, fault = decode_name(record)
        if fault is not None:
            faults.append(fault)
        faults.extend(check_record(record, name, limits))
        records.append(record)
        names.append(name)
    faults.extend(check_names(records, names, limits))
    faults.extend(check_total(records, file.size, limits))
    if faults:
        raise ArchiveError(file.path, *faults)
    spans = locate(file, directory, records, names)
    members = tuple(
        Member(
            path=name,
            size=record.size,
            compressed_size=record.compressed_size,
            crc32=record.crc32,
            method=record.method,
            header_offset=record.header_offset,
            data_offset=span.data,
            end=span.end,
            flags=record.flags,
            create_version=record.create_version,
            extract_version=record.extract_version,
            dos_time=record.dos_time,
            dos_date=record.dos_date,
            internal_attr=record.internal_attr,
            external_attr=record.external_attr,
            raw_name=record.raw_name,
            extra=record.extra,
            comment=record.comment,
        )
        for record, name, span in zip(records, names, spans, strict=True)
    )
    return directory, members


def _cut(pieces: Iterator[bytes], ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield each of the sorted ranges as soon as the stream has passed its end (in order), then stop."""
    held: list[bytearray] = [bytearray() for _ in ranges]
    done = 0
    position = 0
    while done < len(ranges):
        while done < len(ranges) and len(held[done]) == ranges[done][1]:
            yield bytes(held[done])
            held[done] = bytearray()
            done += 1
        if done == len(ranges):
            return
        piece = next(pieces)
        for index in range(done, len(ranges)):
            offset, size = ranges[index]
            if offset >= position + len(piece):
                break
            start = max(offset, position) - position
            held[index] += piece[start : max(offset + size - position, 0)]
        position += len(piece)
