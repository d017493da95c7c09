"""One member of a zip file."""

from __future__ import annotations

import stat
from dataclasses import dataclass

__all__ = ["DEFLATED", "STORED", "Member"]

STORED = 0
DEFLATED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member as its central directory record and its local header agree it to be.

    Sizes and offsets are bytes; offsets count from the start of the zip file.
    """

    path: str
    """Relative, normalised, `/` between parts; a directory ends with `/`."""

    size: int
    compressed_size: int
    crc32: int
    method: int
    """`STORED` or `DEFLATED`; nothing else gets this far."""

    header_offset: int
    data_offset: int
    end: int
    """First byte after the data and the data descriptor, if there is one."""

    flags: int
    create_version: int
    """Low byte: version of the format; high byte: system that `external_attr` is meant for (3 = Unix)."""

    extract_version: int
    dos_time: int
    dos_date: int
    internal_attr: int
    external_attr: int
    raw_name: bytes
    extra: bytes
    """Extra fields of the central directory record."""

    comment: bytes

    @property
    def is_dir(self) -> bool:
        """Is this a folder entry?"""
        return self.path.endswith("/")

    @property
    def mode(self) -> int:
        """Unix mode with the file type bits, 0 when the writer recorded none."""
        return self.external_attr >> 16

    @property
    def is_executable(self) -> bool:
        """Does the owner have the right to execute it?"""
        return bool(self.mode & stat.S_IXUSR)

    @property
    def date_time(self) -> tuple[int, int, int, int, int, int]:
        """Local time as written, year to second; seconds are even (two-second steps of the format)."""
        return (
            (self.dos_date >> 9) + 1980,
            self.dos_date >> 5 & 15,
            self.dos_date & 31,
            self.dos_time >> 11,
            self.dos_time >> 5 & 63,
            (self.dos_time & 31) * 2,
        )
