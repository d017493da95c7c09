"""The records of a zip file, to and from bytes. Facts: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3."""

from __future__ import annotations

import struct
from typing import NamedTuple

from shim.wheels.member import Member

__all__ = [
    "CENTRAL_SIGNATURE",
    "DESCRIPTOR_SIGNATURE",
    "END64_LOCATOR_SIGNATURE",
    "END64_SIGNATURE",
    "END_SIGNATURE",
    "LOCAL_SIGNATURE",
    "MAX16",
    "MAX32",
    "Descriptor",
    "central_record",
    "descriptors",
    "end_records",
    "extra_fields",
    "local_header",
    "widen",
    "without_zip64",
]

LOCAL_SIGNATURE = b"PK\x03\x04"
CENTRAL_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
END64_LOCATOR_SIGNATURE = b"PK\x06\x07"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"

LOCAL = struct.Struct("<4s5H3I2H")
"""signature, version, flags, method, time, date, crc, compressed size, size, name length, extra length"""

CENTRAL = struct.Struct("<4s6H3I5H2I")
"""signature, made by, version, flags, method, time, date, crc, compressed size, size, name length,
extra length, comment length, disk, internal attributes, external attributes, header offset"""

END = struct.Struct("<4s4H2IH")
"""signature, disk, disk of the directory, entries here, entries, directory size, directory offset,
comment length"""

END64 = struct.Struct("<4sQ2H2I4Q")
"""signature, size of the rest, made by, version, disk, disk of the directory, entries here, entries,
directory size, directory offset"""

END64_LOCATOR = struct.Struct("<4sIQI")
"""signature, disk of the ZIP64 end record, its offset, number of disks"""

MAX16 = 0xFFFF
MAX32 = 0xFFFFFFFF
ZIP64_ID = 0x0001
ZIP64_VERSION = 45


class Descriptor(NamedTuple):
    """What follows the data of a member whose sizes the writer did not know in advance."""

    crc32: int
    compressed_size: int
    size: int


def extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """Split extra fields into (identifier, data).

    Raises:
        ValueError: a field leaves the extra data.
    """
    fields = []
    position = 0
    while position < len(extra):
        if position + 4 > len(extra):
            raise ValueError(f"{len(extra) - position} stray bytes after the last extra field")
        identifier, size = struct.unpack_from("<2H", extra, position)
        position += 4
        if size > len(extra) - position:
            raise ValueError(f"extra field {identifier:#06x} claims {size} bytes, {len(extra) - position} are left")
        fields.append((identifier, extra[position : position + size]))
        position += size
    return fields


def widen(extra: bytes, narrow: tuple[int, ...], limits: tuple[int, ...]) -> tuple[int, ...]:
    """`narrow`, with each number that reads as "all ones" taken from the ZIP64 extra field, if there is one.

    Args:
        extra: extra fields of the record.
        narrow: numbers of the record in the order of the ZIP64 field: size, compressed size, offset, disk.
        limits: the "all ones" value of each number.

    Raises:
        ValueError: malformed extra fields, two ZIP64 fields, or one that is too short.
    """
    fields = [data for identifier, data in extra_fields(extra) if identifier == ZIP64_ID]
    if not fields:
        return narrow
    if len(fields) > 1:
        raise ValueError("two ZIP64 extra fields")
    numbers = []
    position = 0
    for number, limit in zip(narrow, limits, strict=True):
        if number != limit:
            numbers.append(number)
            continue
        width = 8 if limit == MAX32 else 4
        if position + width > len(fields[0]):
            raise ValueError(f"the ZIP64 extra field has {len(fields[0])} bytes, too few for its numbers")
        numbers.append(int.from_bytes(fields[0][position : position + width], "little"))
        position += width
    return tuple(numbers)


def without_zip64(extra: bytes) -> bytes:
    """Extra fields without the ZIP64 one (which the writer makes anew where it is needed)."""
    return b"".join(
        struct.pack("<2H", identifier, len(data)) + data
        for identifier, data in extra_fields(extra)
        if identifier != ZIP64_ID
    )


def descriptors(data: bytes) -> Descriptor | None:
    """The data descriptor that `data` is: 12, 16, 20 or 24 bytes (signature optional, sizes of 4 or 8)."""
    body = data[4:] if len(data) in (16, 24) and data[:4] == DESCRIPTOR_SIGNATURE else data
    if len(body) == 12:
        return Descriptor(*struct.unpack("<3I", body))
    if len(body) == 20:
        return Descriptor(*struct.unpack("<I2Q", body))
    return None


def local_header(member: Member, *, extra: bytes, zip64: bool) -> bytes:
    """A local header for data of known sizes.

    Args:
        member: sizes, times and name to write.
        extra: extra fields, without a ZIP64 one.
        zip64: write the sizes as 64-bit numbers; needed when either exceeds 4 GiB - 2.
    """
    sizes = (member.compressed_size, member.size)
    if zip64:
        # APPNOTE 4.5.3: in the local header both sizes must stand in the ZIP64 field, uncompressed first.
        extra = struct.pack("<2H2Q", ZIP64_ID, 16, member.size, member.compressed_size) + extra
        sizes = (MAX32, MAX32)
    version = max(member.extract_version, ZIP64_VERSION) if zip64 else member.extract_version
    head = LOCAL.pack(
        LOCAL_SIGNATURE,
        version,
        member.flags,
        member.method,
        member.dos_time,
        member.dos_date,
        member.crc32,
        *sizes,
        len(member.raw_name),
        len(extra),
    )
    return head + member.raw_name + extra


def central_record(member: Member, header_offset: int) -> bytes:
    """The central directory record of a member, with ZIP64 fields just where a number needs one.

    Args:
        member: everything but where it is.
        header_offset: where its local header is in the archive that is written.
    """
    numbers = (member.size, member.compressed_size, header_offset)
    large = [n for n in numbers if n >= MAX32]
    size, compressed_size, offset = (min(n, MAX32) for n in numbers)
    extra = without_zip64(member.extra) if member.extra else b""
    version = member.extract_version
    if large:
        extra = struct.pack(f"<2H{len(large)}Q", ZIP64_ID, 8 * len(large), *large) + extra
        version = max(version, ZIP64_VERSION)
    head = CENTRAL.pack(
        CENTRAL_SIGNATURE,
        member.create_version,
        version,
        member.flags,
        member.method,
        member.dos_time,
        member.dos_date,
        member.crc32,
        compressed_size,
        size,
        len(member.raw_name),
        len(extra),
        len(member.comment),
        0,
        member.internal_attr,
        member.external_attr,
        offset,
    )
    return head + member.raw_name + extra + member.comment


def end_records(*, entries: int, offset: int, size: int, comment: bytes = b"") -> bytes:
    """The end of central directory, preceded by the ZIP64 end records when a number does not fit.

    Args:
        entries: records in the central directory.
        offset: where the central directory starts.
        size: bytes of the central directory.
        comment: archive comment, at most 65,535 bytes.
    """
    ending = END.pack(
        END_SIGNATURE,
        0,
        0,
        min(entries, MAX16),
        min(entries, MAX16),
        min(size, MAX32),
        min(offset, MAX32),
        len(comment),
    )
    if entries < MAX16 and offset < MAX32 and size < MAX32:
        return ending + comment
    made_by = 3 << 8 | ZIP64_VERSION
    end64 = END64.pack(END64_SIGNATURE, END64.size - 12, made_by, ZIP64_VERSION, 0, 0, entries, entries, size, offset)
    locator = END64_LOCATOR.pack(END64_LOCATOR_SIGNATURE, 0, offset + size, 1)
    return end64 + locator + ending + comment
