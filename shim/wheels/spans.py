"""Where the bytes of each member stand: local headers agree with the directory, each byte has one use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shim.wheels import zipformat
from shim.wheels.directory import CentralRecord, Directory
from shim.wheels.faults import ArchiveError, Fault
from shim.wheels.randomfile import RandomFile

__all__ = ["HAS_DESCRIPTOR", "Span", "locate"]

HAS_DESCRIPTOR = 1 << 3
_TYPICAL_EXTRA = 64
_LOCAL_SIZE = zipformat.LOCAL.size


class Span(NamedTuple):
    """Local header from `start`, data from `data` on, and the first byte after data and descriptor."""

    start: int
    data: int
    end: int


def locate(
    file: RandomFile, directory: Directory, records: Sequence[CentralRecord], names: Sequence[str]
) -> list[Span]:
    """Check every local header against its record, and that the members fill the file without gap or overlap.

    Args:
        file: the archive.
        directory: where its central directory is.
        records: its records.
        names: their paths, for messages.

    Returns:
        One span for each record, in the order of `records`.

    Raises:
        ArchiveError: with every disagreement found, or with the first overlap or gap.
    """
    faults: list[Fault] = []
    starts = []
    for record, name in zip(records, names, strict=True):
        data_offset, fault = _data_offset(file, record, name)
        starts.append(data_offset)
        if fault is not None:
            faults.append(fault)
    if faults:
        raise ArchiveError(file.path, *faults)
    spans: list[Span | None] = [None] * len(records)
    order = sorted(range(len(records)), key=lambda i: records[i].header_offset)
    if not order:
        _check_start(file, directory.offset, None)
    for position, index in enumerate(order):
        record, name = records[index], names[index]
        if position == 0:
            _check_start(file, record.header_offset, name)
        last = position + 1 == len(order)
        limit = directory.offset if last else records[order[position + 1]].header_offset
        data_end = starts[index] + record.compressed_size
        _check_end(file, record, name, data_end, limit)
        spans[index] = Span(record.header_offset, starts[index], limit)
    return [span for span in spans if span is not None]


def _data_offset(file: RandomFile, record: CentralRecord, name: str) -> tuple[int, Fault | None]:
    """Where the data of a member starts; its local header must say what the central directory says."""
    offset = record.header_offset
    name_size = len(record.raw_name)
    if offset >= file.size:
        fault = Fault(
            what="the member lies outside the file (truncated archive?)",
            member=name,
            offset=record.position,
            expected=f"a header before {file.size}",
            found=f"offset {offset}",
        )
        return offset, fault
    window = _LOCAL_SIZE + name_size + _TYPICAL_EXTRA
    head = file.read(offset, min(window, file.size - offset), "a local header", name)
    if len(head) < _LOCAL_SIZE or head[:4] != zipformat.LOCAL_SIGNATURE:
        fault = Fault(
            what="no local header",
            member=name,
            offset=offset,
            expected=f"{zipformat.LOCAL_SIGNATURE!r}",
            found=f"{head[:4]!r}",
        )
        return offset, fault
    fields = zipformat.LOCAL.unpack_from(head)
    _, _, flags, method, _, _, crc, compressed_size, size, local_name_size, extra_size = fields
    data_offset = offset + _LOCAL_SIZE + local_name_size + extra_size
    local_name = head[_LOCAL_SIZE : _LOCAL_SIZE + local_name_size]
    if local_name_size != name_size or local_name != record.raw_name:
        return data_offset, _disagreement(record, name, "name", f"{record.raw_name!r}", f"{local_name!r}")
    if method != record.method:
        return data_offset, _disagreement(record, name, "compression method", str(record.method), str(method))
    if (flags ^ record.flags) & ~HAS_DESCRIPTOR & 0x2041:
        return data_offset, _disagreement(record, name, "flags", f"{record.flags:#06x}", f"{flags:#06x}")
    if zipformat.MAX32 in (size, compressed_size) and extra_size:
        extra = file.read(data_offset - extra_size, extra_size, "extra fields", name)
        try:
            limits = (zipformat.MAX32, zipformat.MAX32)
            size, compressed_size = zipformat.widen(extra, (size, compressed_size), limits)
        except ValueError as err:
            return data_offset, Fault(what=str(err), member=name, offset=offset)
    # APPNOTE 4.4.4: with a descriptor the three fields are zero here, and the true values follow the data.
    unknown = bool(flags & HAS_DESCRIPTOR)
    for field, found, expected in (
        ("CRC-32", crc, record.crc32),
        ("compressed size", compressed_size, record.compressed_size),
        ("size", size, record.size),
    ):
        if found != expected and not (unknown and found == 0):
            return data_offset, _disagreement(record, name, field, str(expected), str(found))
    return data_offset, None


def _disagreement(record: CentralRecord, name: str, field: str, expected: str, found: str) -> Fault:
    return Fault(
        what=f"the local header and the central directory disagree about the {field}",
        member=name,
        offset=record.header_offset,
        expected=f"{expected} (central directory)",
        found=f"{found} (local header)",
        hint="do not install it: installers may see different contents in this file",
    )


def _check_start(file: RandomFile, start: int, name: str | None) -> None:
    if start != 0:
        fault = Fault(
            what=f"{start} bytes in front of the first member",
            member=name,
            offset=0,
            expected="a zip archive from the first byte on",
            found=f"{file.read(0, min(8, file.size)).hex(' ')}",
            hint="a wheel must be nothing but a zip archive: remove what was put in front of it",
        )
        raise ArchiveError(file.path, fault)


def _check_end(file: RandomFile, record: CentralRecord, name: str, data_end: int, limit: int) -> None:
    """The data, with its descriptor if it has one, must end at `limit`: the next header or the directory."""
    if data_end > limit:
        fault = Fault(
            what="the member overlaps what follows it",
            member=name,
            offset=record.header_offset,
            expected=f"its data to end at {limit} or before",
            found=f"{data_end}",
            hint="do not unpack it: overlapping members are how zip bombs are made",
        )
        raise ArchiveError(file.path, fault)
    if data_end == limit:
        return
    trailer = file.read(data_end, min(limit - data_end, 25), "a data descriptor", name)
    descriptor = zipformat.descriptors(trailer)
    expected = (record.crc32, record.compressed_size, record.size)
    local_flags = zipformat.LOCAL.unpack(file.read(record.header_offset, _LOCAL_SIZE, "a local header", name))[2]
    if not local_flags & HAS_DESCRIPTOR or descriptor is None:
        fault = Fault(
            what=f"{limit - data_end} bytes after the data belong to no member",
            member=name,
            offset=data_end,
            expected=f"the next record at {data_end}",
            found=f"it at {limit}",
        )
        raise ArchiveError(file.path, fault)
    if descriptor != expected:
        fault = Fault(
            what="the data descriptor and the central directory disagree",
            member=name,
            offset=data_end,
            expected=f"CRC-32, compressed size, size {expected}",
            found=f"{tuple(descriptor)}",
            hint="do not install it: installers may see different contents in this file",
        )
        raise ArchiveError(file.path, fault)
