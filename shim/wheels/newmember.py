"""Members that a writer adds: their times, modes and names."""

from __future__ import annotations

import os
import stat
import time

from shim.errors import UsageError
from shim.wheels.archive import WheelArchive
from shim.wheels.member import STORED, Member

__all__ = ["UTF8", "new_member", "time_of_added"]

UTF8 = 1 << 11
"""Flag bit: the name is UTF-8."""

_UNIX = 3 << 8
_EARLIEST = 1 << 5 | 1
"""1980-01-01, the first day a zip file can name."""

_LATEST = 4354819198
"""2107-12-31, the last one, in seconds since 1970."""


def time_of_added(source: WheelArchive, epoch: int | None) -> tuple[int, int]:
    """Time and date of added members, as zip files hold them.

    Args:
        source: the wheel they are added to; its WHEEL member gives the time when nothing else does.
        epoch: seconds since 1970 in UTC; when None that of SOURCE_DATE_EPOCH.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is not a number.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch is None and text:
        if not text.isascii() or not text.isdigit():
            raise UsageError(
                f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {text!r}",
                hint="set it right or unset it",
            )
        epoch = int(text)
    if epoch is None:
        wheel = source.member(f"{source.dist_info}/WHEEL")
        return (wheel.dos_time, wheel.dos_date) if wheel.dos_date >= _EARLIEST else (0, _EARLIEST)
    moment = time.gmtime(min(epoch, _LATEST))
    if moment.tm_year < 1980:
        return 0, _EARLIEST
    return (
        moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
        (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
    )


def new_member(path: str, when: tuple[int, int]) -> Member:
    """A plain file that everybody may read; sizes, CRC-32 and place are still to be filled in."""
    return Member(
        path=path,
        size=0,
        compressed_size=0,
        crc32=0,
        method=STORED,
        header_offset=0,
        data_offset=0,
        end=0,
        flags=0 if path.isascii() else UTF8,
        create_version=_UNIX | 20,
        extract_version=20,
        dos_time=when[0],
        dos_date=when[1],
        internal_attr=0,
        external_attr=(stat.S_IFREG | 0o644) << 16,
        raw_name=path.encode("utf-8"),
        extra=b"",
        comment=b"",
    )
