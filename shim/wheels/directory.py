"""The central directory of a zip file, read without trusting any number in it.

Where zip readers are known to disagree (junk before or after the archive, a ZIP64 record that contradicts the
plain one, several disks) the file is refused: what pip, uv and shim see must be the same archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shim.wheels import zipformat
from shim.wheels.faults import ArchiveError, Fault
from shim.wheels.limits import Limits
from shim.wheels.randomfile import RandomFile

__all__ = ["CentralRecord", "Directory", "read_directory"]

_MAX_RECORD = 4096
"""Bytes allowed per record on average. A Linux path has at most 4,096; real records have about 100."""


class CentralRecord(NamedTuple):
    """One record of the central directory, ZIP64 numbers resolved. Fields as in `Member`."""

    position: int
    raw_name: bytes
    create_version: int
    extract_version: int
    flags: int
    method: int
    dos_time: int
    dos_date: int
    crc32: int
    compressed_size: int
    size: int
    internal_attr: int
    external_attr: int
    header_offset: int
    extra: bytes
    comment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where the central directory is, and the archive comment behind it."""

    offset: int
    size: int
    entries: int
    comment: bytes


class _End(NamedTuple):
    position: int
    disk: int
    directory_disk: int
    entries_here: int
    entries: int
    size: int
    offset: int


def read_directory(file: RandomFile, limits: Limits) -> tuple[Directory, Iterator[CentralRecord]]:
    """Find the central directory and iterate over its records.

    Raises:
        ArchiveError: `file` is not exactly one whole zip archive (also while iterating).
    """
    end, comment = _find_end(file)
    if end.entries > limits.max_members:
        raise ArchiveError(
            file.path,
            Fault(
                what="too many members",
                offset=end.position,
                expected=f"at most {limits.max_members}",
                found=str(end.entries),
                hint="raise --max-members if the file is to be trusted",
            ),
        )
    if end.size > max(end.entries, 1) * _MAX_RECORD:
        raise ArchiveError(
            file.path,
            Fault(
                what="the central directory is larger than its entries justify",
                offset=end.offset,
                expected=f"at most {_MAX_RECORD} bytes for each of {end.entries} entries",
                found=f"{end.size} bytes",
            ),
        )
    found = Directory(offset=end.offset, size=end.size, entries=end.entries, comment=comment)
    return found, _records(file, found)


def _find_end(file: RandomFile) -> tuple[_End, bytes]:
    if file.size == 0:
        raise ArchiveError(file.path, Fault(what="the file is empty", expected="a zip archive", found="0 bytes"))
    tail_size = min(file.size, zipformat.END.size + zipformat.MAX16)
    tail_offset = file.size - tail_size
    tail = file.read(tail_offset, tail_size, "the end of the archive")
    # The last signature that leaves room for the record, as zipfile, pip and uv search it.
    found = tail.rfind(
        zipformat.END_SIGNATURE, 0, max(tail_size - zipformat.END.size + len(zipformat.END_SIGNATURE), 0)
    )
    if found < 0:
        raise ArchiveError(file.path, _no_end(file, tail))
    _, disk, directory_disk, here, entries, size, offset, comment_size = zipformat.END.unpack_from(tail, found)
    comment = tail[found + zipformat.END.size :]
    position = tail_offset + found
    if comment_size != len(comment):
        fault = Fault(
            what="bytes after the end of the archive, or an end record inside the archive comment",
            offset=position,
            expected=f"a comment of {comment_size} bytes",
            found=f"{len(comment)} bytes up to the end of the file",
        )
        raise ArchiveError(file.path, fault)
    end = _End(position, disk, directory_disk, here, entries, size, offset)
    end = _with_zip64(file, end)
    _check_end(file, end)
    return end, comment


def _no_end(file: RandomFile, tail: bytes) -> Fault:
    if file.read(0, min(4, file.size)) in (zipformat.LOCAL_SIGNATURE, zipformat.END_SIGNATURE):
        return Fault(
            what="the zip archive is truncated",
            offset=file.size,
            expected="an end of central directory record near the end of the file",
            found=f"none in the last {len(tail)} bytes",
            hint="fetch the file again: it ends too early",
        )
    return Fault(
        what="not a zip archive",
        offset=0,
        expected="an end of central directory record",
        found=f"none; the file starts with {file.read(0, min(8, file.size)).hex(' ')}",
        hint="a wheel is a zip archive: check that this is the file you meant",
    )


def _with_zip64(file: RandomFile, end: _End) -> _End:
    """`end` with the numbers of the ZIP64 end record, if any; that must not contradict the plain one."""
    locator_position = end.position - zipformat.END64_LOCATOR.size
    if locator_position < 0:
        return end
    signature, disk, offset, disks = zipformat.END64_LOCATOR.unpack(
        file.read(locator_position, zipformat.END64_LOCATOR.size, "the ZIP64 end locator")
    )
    if signature != zipformat.END64_LOCATOR_SIGNATURE:
        return end
    if disk != 0 or disks > 1:
        raise ArchiveError(file.path, _many_disks(locator_position, f"disk {disk} of {disks}"))
    if offset + zipformat.END64.size != locator_position:
        fault = Fault(
            what="the ZIP64 end locator points to a wrong place",
            offset=locator_position,
            expected=f"a ZIP64 end record of {zipformat.END64.size} bytes right before it",
            found=f"offset {offset}",
        )
        raise ArchiveError(file.path, fault)
    record = zipformat.END64.unpack(file.read(offset, zipformat.END64.size, "the ZIP64 end record"))
    if record[0] != zipformat.END64_SIGNATURE or record[1] != zipformat.END64.size - 12:
        fault = Fault(
            what="not a ZIP64 end record",
            offset=offset,
            expected=f"{zipformat.END64_SIGNATURE!r} and a size of {zipformat.END64.size - 12}",
            found=f"{record[0]!r} and {record[1]}",
        )
        raise ArchiveError(file.path, fault)
    wide = _End(offset, *record[4:])
    for name, narrow, limit in (
        ("disk", end.disk, zipformat.MAX16),
        ("directory_disk", end.directory_disk, zipformat.MAX16),
        ("entries_here", end.entries_here, zipformat.MAX16),
        ("entries", end.entries, zipformat.MAX16),
        ("size", end.size, zipformat.MAX32),
        ("offset", end.offset, zipformat.MAX32),
    ):
        if narrow not in (limit, getattr(wide, name)):
            fault = Fault(
                what=f"the two end records disagree about {name.replace('_', ' ')}",
                offset=end.position,
                expected=str(getattr(wide, name)),
                found=str(narrow),
            )
            raise ArchiveError(file.path, fault)
    return wide


def _many_disks(offset: int, found: str) -> Fault:
    return Fault(
        what="the archive is split over several disks",
        offset=offset,
        expected="one disk",
        found=found,
        hint="join the parts into one zip archive first",
    )


def _check_end(file: RandomFile, end: _End) -> None:
    if end.disk != 0 or end.directory_disk != 0 or end.entries_here != end.entries:
        disks = f"disk {end.disk}, directory on disk {end.directory_disk}"
        found = f"{disks}, {end.entries_here} of {end.entries} entries"
        raise ArchiveError(file.path, _many_disks(end.position, found))
    if end.offset > end.position or end.size > end.position - end.offset:
        fault = Fault(
            what="the central directory lies outside the file (truncated archive?)",
            offset=end.position,
            expected=f"it to end at {end.position}",
            found=f"offset {end.offset}, {end.size} bytes",
        )
        raise ArchiveError(file.path, fault)
    if end.offset + end.size != end.position:
        junk = end.position - end.offset - end.size
        fault = Fault(
            what="bytes that belong to nothing, before the archive or before its end record",
            offset=end.position,
            expected=f"the central directory to end at {end.position}",
            found=f"that it ends {junk} bytes earlier",
            hint="a wheel must be nothing but a zip archive: remove what was put in front of it",
        )
        raise ArchiveError(file.path, fault)


def _records(file: RandomFile, directory: Directory) -> Iterator[CentralRecord]:
    data = file.read(directory.offset, directory.size, "the central directory")
    position = 0
    for index in range(directory.entries):
        where = directory.offset + position
        body = position + zipformat.CENTRAL.size
        if body > len(data) or data[position : position + 4] != zipformat.CENTRAL_SIGNATURE:
            what, found = f"record {index} of the central directory is not one", data[position : position + 4]
            expected = f"{zipformat.CENTRAL_SIGNATURE!r}"
            raise ArchiveError(file.path, Fault(what=what, offset=where, expected=expected, found=f"{found!r}"))
        head = zipformat.CENTRAL.unpack_from(data, position)
        name_size, extra_size, comment_size = head[10:13]
        position = body + name_size + extra_size + comment_size
        if position > len(data):
            fault = Fault(
                what=f"record {index} leaves the central directory",
                offset=where,
                expected=f"at most {len(data) - body} bytes of name, extra fields and comment",
                found=f"{name_size} + {extra_size} + {comment_size}",
            )
            raise ArchiveError(file.path, fault)
        raw_name = data[body : body + name_size]
        extra = data[body + name_size : position - comment_size]
        size, compressed_size, offset, disk = head[9], head[8], head[16], head[13]
        if extra:
            size, compressed_size, offset, disk = _widened(
                file, where, raw_name, extra, (size, compressed_size, offset, disk)
            )
        if disk != 0:
            raise ArchiveError(file.path, _many_disks(where, f"member {raw_name!r} on disk {disk}"))
        yield CentralRecord(
            where,
            raw_name,
            head[1],
            head[2],
            head[3],
            head[4],
            head[5],
            head[6],
            head[7],
            compressed_size,
            size,
            head[14],
            head[15],
            offset,
            extra,
            data[position - comment_size : position],
        )
    if position != len(data):
        fault = Fault(
            what="bytes after the last record of the central directory",
            offset=directory.offset + position,
            expected=f"{directory.entries} records in {directory.size} bytes",
            found=f"that they take {position}",
        )
        raise ArchiveError(file.path, fault)


def _widened(
    file: RandomFile, where: int, raw_name: bytes, extra: bytes, narrow: tuple[int, int, int, int]
) -> tuple[int, ...]:
    """Size, compressed size, header offset, disk; what reads as "all ones" comes from the ZIP64 field."""
    try:
        return zipformat.widen(extra, narrow, (*[zipformat.MAX32] * 3, zipformat.MAX16))
    except ValueError as err:
        name = raw_name.decode("utf-8", "replace")
        raise ArchiveError(file.path, Fault(what=str(err), member=name, offset=where)) from err
