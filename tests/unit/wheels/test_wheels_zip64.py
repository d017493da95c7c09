"""ZIP64: archives over 4 GiB or over 65,535 members, without writing 4 GiB to disk."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from builders.wheels import make_wheel

from shim.wheels import zipformat
from shim.wheels.archive import WheelArchive

GIB4 = 1 << 32


def test_forced_zip64_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "forced.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.bin", "w", force_zip64=True) as file:
        file.write(b"abc" * 1000)
    with WheelArchive.open(path) as wheel:
        assert wheel.read(wheel.member("a.bin")) == b"abc" * 1000


def test_many_members(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(66_000):
            archive.writestr(f"m/{n}", b"")
    with WheelArchive.open(path) as wheel:
        assert len(wheel.members) == 66_000
        assert wheel.members[-1].path == "m/65999"


def test_member_over_4_gib(tmp_path: Path) -> None:
    """A sparse file: a stored member of 4 GiB + 5, and one behind it whose header needs a 64-bit offset."""
    path = tmp_path / "large.zip"
    size = GIB4 + 5
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small.txt", "in front")
    with WheelArchive.open(path) as wheel:
        template = wheel.members[0]
        first = path.read_bytes()[: wheel.directory.offset]
    large = replace(template, path="large.bin", raw_name=b"large.bin", size=size, compressed_size=size, crc32=0)
    header = zipformat.local_header(large, extra=b"", zip64=True)
    last_offset = len(first) + len(header) + size
    last = replace(template, path="last.txt", raw_name=b"last.txt")
    last_data = zipformat.local_header(last, extra=b"", zip64=False) + b"in front"
    directory_offset = last_offset + len(last_data)
    places = [(template, 0), (large, len(first)), (last, last_offset)]
    directory = b"".join(zipformat.central_record(*place) for place in places)
    with path.open("wb") as file:
        file.write(first + header)
        file.seek(last_offset)
        file.write(last_data + directory)
        file.write(zipformat.end_records(entries=3, offset=directory_offset, size=len(directory)))
    with WheelArchive.open(path) as wheel:
        assert wheel.member("large.bin").size == size
        assert wheel.read(wheel.member("last.txt")) == b"in front"
        assert list(wheel.read_ranges(wheel.member("large.bin"), [(GIB4, 5)])) == [bytes(5)]
    with zipfile.ZipFile(path) as oracle:
        assert oracle.getinfo("large.bin").file_size == size
        assert oracle.getinfo("last.txt").header_offset == last_offset
        assert oracle.read("last.txt") == b"in front"


@pytest.mark.parametrize("entries", [65_534, 65_535])
def test_end_records_switch_to_zip64(entries: int) -> None:
    ending = zipformat.end_records(entries=entries, offset=10, size=20, comment=b"c")
    assert ending.startswith(zipformat.END64_SIGNATURE) == (entries == 65_535)
    assert ending.endswith(struct.pack("<IIH", 20, 10, 1) + b"c")


def test_central_record_uses_zip64_only_where_needed(tmp_path: Path) -> None:
    path = make_wheel(tmp_path)
    with WheelArchive.open(path) as wheel:
        member = wheel.members[0]
        raw = path.read_bytes()
        start = wheel.directory.offset
        plain = zipformat.central_record(member, 0)
        assert raw[start : start + len(plain)] == plain
    wide = zipformat.central_record(member, GIB4)
    assert len(wide) == len(plain) + 12
    assert wide.endswith(struct.pack("<HHQ", 1, 8, GIB4))
