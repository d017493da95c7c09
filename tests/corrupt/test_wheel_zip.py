"""One good wheel, one thing wrong per case: each gets its own message, exit code 3 and a next step."""

from __future__ import annotations

import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.wheels import central_offset, data_span, library, local_offset, make_wheel, poke

from shim.errors import InputError
from shim.wheels.archive import WheelArchive
from shim.wheels.faults import ArchiveError
from shim.wheels.hashing import hash_members
from shim.wheels.limits import Limits

LIB = "demo/lib.so"
DATA = library(3, 200_000)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, {LIB: DATA, "demo/a.py": "a = 1\n"})


def refused(path: Path, limits: Limits | None = None) -> ArchiveError:
    """The error of opening, or of reading all members."""
    with pytest.raises(ArchiveError) as caught, WheelArchive.open(path, limits=limits) as wheel:
        hash_members(wheel, jobs=1)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    assert str(path) in str(caught.value)
    return caught.value


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def both(path: Path, local: int, central: int, data: bytes) -> None:
    """Poke a field of LIB in its local header and in the central directory."""
    poke(path, local_offset(path, LIB) + local, data)
    poke(path, central_offset(path, LIB) + central, data)


def central(path: Path, field: int, data: bytes) -> None:
    poke(path, central_offset(path, LIB) + field, data)


def local(path: Path, field: int, data: bytes) -> None:
    poke(path, local_offset(path, LIB) + field, data)


def end(path: Path, field: int, data: bytes) -> None:
    poke(path, path.stat().st_size - 22 + field, data)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def prepend(path: Path, data: bytes) -> None:
    path.write_bytes(data + path.read_bytes())


def append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def insert_gap(path: Path) -> None:
    """Eight bytes between the members and the directory, the end record corrected."""
    data = path.read_bytes()
    offset = int.from_bytes(data[-6:-2], "little")
    path.write_bytes(data[:offset] + b"\0" * 8 + data[offset:-6] + u32(offset + 8) + data[-2:])


def flip_data(path: Path, at: int) -> None:
    start, size = data_span(path, LIB)
    offset = start + (at if at >= 0 else size + at)
    poke(path, offset, bytes([path.read_bytes()[offset] ^ 0x55]))


SIZE = len(DATA)

CASES: list[tuple[str, Callable[[Path], None], str]] = [
    ("empty-file", lambda p: cut(p, 0), r"the file is empty: expected a zip archive, found 0 bytes"),
    (
        "text",
        lambda p: p.write_text("<html>not found</html>\n") and None,
        r"at offset 0: not a zip archive.*3c 68",
    ),
    ("one-byte", lambda p: cut(p, 1), r"not a zip archive"),
    (
        "cut-in-half",
        lambda p: cut(p, p.stat().st_size // 2),
        r"the zip archive is truncated.*none in the last",
    ),
    ("cut-by-one", lambda p: cut(p, p.stat().st_size - 1), r"the zip archive is truncated"),
    (
        "trailing-junk",
        lambda p: append(p, b"junk"),
        r"bytes after the end.*a comment of 0 bytes, found 4 bytes",
    ),
    (
        "leading-junk",
        lambda p: prepend(p, b"#!/bin/sh\n"),
        r"bytes that belong to nothing.*ends 10 bytes earlier",
    ),
    ("gap", insert_gap, r"8 bytes after the data belong to no member: expected the next record at \d+"),
    ("directory-behind-file", lambda p: end(p, 16, u32(1 << 30)), r"directory lies outside the file"),
    (
        "directory-too-large",
        lambda p: end(p, 12, u32(1 << 30)),
        r"directory lies outside the file",
    ),
    ("directory-too-small", lambda p: end(p, 12, u32(100)), r"bytes that belong to nothing"),
    (
        "fewer-entries",
        lambda p: end(p, 8, u16(2) * 2),
        r"bytes after the last record.*2 records in \d+ bytes",
    ),
    ("more-entries", lambda p: end(p, 8, u16(9) * 2), r"record 5 of the central directory is not one"),
    ("other-disk", lambda p: end(p, 4, u16(1)), r"split over several disks: expected one disk, found disk 1"),
    ("directory-disk", lambda p: end(p, 6, u16(3)), r"split over several disks.*directory on disk 3"),
    ("entries-here", lambda p: end(p, 8, u16(2)), r"split over several disks.*2 of 5 entries"),
    ("member-disk", lambda p: central(p, 34, u16(2)), r"several disks.*member b'demo/lib.so' on disk 2"),
    ("bad-signature", lambda p: central(p, 0, b"PK\1\3"), r"record 0 of the central directory is not one"),
    ("name-too-long", lambda p: central(p, 28, u16(60_000)), r"record 0 leaves the central directory"),
    ("comment-too-long", lambda p: central(p, 32, u16(60_000)), r"record 0 leaves the central directory"),
    ("encrypted", lambda p: both(p, 6, 8, u16(1)), r"'demo/lib.so' at offset \d+: the member is encrypted"),
    ("strong-encryption", lambda p: both(p, 6, 8, u16(0x41)), r"the member is encrypted.*0x0041"),
    ("patch", lambda p: both(p, 6, 8, u16(0x20)), r"the member is a zip patch"),
    ("method-bzip2", lambda p: both(p, 8, 10, u16(12)), r"unsupported.*method.*found 12 \(bzip2\)"),
    ("method-unknown", lambda p: both(p, 8, 10, u16(77)), r"unsupported.*found 77 \(unknown\)"),
    (
        "symlink",
        lambda p: central(p, 40, u16(stat.S_IFLNK | 0o777)),
        r"is a symbolic link.*found mode 0o120777",
    ),
    ("device", lambda p: central(p, 40, u16(stat.S_IFBLK | 0o600)), r"neither a file nor a folder"),
    ("local-missing", lambda p: local(p, 0, b"PK\3\3"), r"no local header: expected b'PK\\x03\\x04'"),
    (
        "local-name",
        lambda p: local(p, 30, b"D"),
        r"disagree about the name: expected b'demo/lib.so'.*b'Demo/",
    ),
    ("local-name-size", lambda p: local(p, 26, u16(10)), r"disagree about the name"),
    (
        "local-method",
        lambda p: local(p, 8, u16(0)),
        r"disagree about the compression method: expected 8.*found 0",
    ),
    ("local-flags", lambda p: local(p, 6, u16(1)), r"disagree about the flags"),
    ("local-size", lambda p: local(p, 22, u32(7)), rf"disagree about the size: expected {SIZE} .*found 7"),
    ("local-packed-size", lambda p: local(p, 18, u32(7)), r"disagree about the compressed size.*found 7"),
    ("local-crc", lambda p: local(p, 14, u32(7)), r"disagree about the CRC-32.*found 7 "),
    ("behind-file", lambda p: central(p, 42, u32(1 << 29)), r"lies outside the file.*found offset 536870912"),
    ("overlap", lambda p: both(p, 18, 20, u32(data_span(p, LIB)[1] + 4)), r"overlaps what follows it"),
    ("gap-after-member", lambda p: both(p, 18, 20, u32(data_span(p, LIB)[1] - 4)), r"4 bytes after the data"),
    (
        "size-too-small",
        lambda p: both(p, 22, 24, u32(SIZE - 1)),
        rf"expected {SIZE - 1} bytes, found at least {SIZE}",
    ),
    ("size-too-large", lambda p: both(p, 22, 24, u32(SIZE + 1)), rf"expected {SIZE + 1} bytes, found {SIZE}"),
    ("wrong-crc", lambda p: both(p, 14, 16, u32(0xDEADBEEF)), r"damaged \(CRC-32\): expected 0xdeadbeef"),
    (
        "broken-stream",
        lambda p: poke(p, data_span(p, LIB)[0], b"\x07"),
        r"broken deflate stream after 0 inflated",
    ),
    (
        "flipped-bit",
        lambda p: flip_data(p, 40_000),
        r"(broken deflate stream|damaged \(CRC-32\)|promised size)",
    ),
]


@pytest.mark.parametrize(("harm", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_poked_field(good: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(good)
    error = refused(good)
    assert re.search(message, str(error)), str(error)


def test_the_good_wheel_is_good(good: Path) -> None:
    with WheelArchive.open(good) as wheel:
        assert len(hash_members(wheel)) == 5


NAMES = [
    ("../escape.py", r"leaves the folder it is unpacked to"),
    ("demo/../../escape.py", r"leaves the folder it is unpacked to"),
    ("demo/..", r"leaves the folder it is unpacked to"),
    ("/etc/passwd", r"the name is absolute"),
    ("demo\\..\\escape.py", r"the name holds a backslash"),
    ("C:/escape.py", r"the name starts with a drive letter"),
    ("demo/./a.py", r"not in normal form"),
    ("demo//a.py", r"not in normal form"),
    ("demo/a\x1bb.py", r"the name holds a control character"),
    ("demo/" + "a/" * 2100 + "b", r"the name is longer than 4096 bytes"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_escaping_name(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ok.py", "")
        archive.writestr(zipfile.ZipInfo(name), "payload")
    error = refused(path)
    assert re.search(message, str(error)), str(error)
    assert error.issues[0].member == name


def rename(path: Path, old: bytes, new: bytes) -> None:
    """Replace a name everywhere; same length."""
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))


def test_nul_in_name(tmp_path: Path) -> None:
    """zipfile cuts names at NUL, others do not."""
    path = make_wheel(tmp_path, {"demo/a.py#b": "x"}, record=b"r")
    rename(path, b"demo/a.py#b", b"demo/a.py\0b")
    assert "control character" in str(refused(path))


def test_empty_name(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), "payload")
    assert "the name is empty" in str(refused(path))


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/é.py": "x"}, record=b"r")
    rename(path, "é".encode(), b"\xff\xff")
    assert "the name is not UTF-8" in str(refused(path))


def test_directory_of_few_huge_records(tmp_path: Path) -> None:
    """A directory is read to memory, so its size must be in proportion to its entries."""
    path = make_wheel(tmp_path, {f"demo/{n}.py": "" for n in range(100)})
    end(path, 8, u16(1) * 2)
    assert "larger than its entries justify: expected at most 4096 bytes for each of 1" in str(refused(path))


def test_duplicate_name(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/a.py": "x = 1", "demo/b.py": "x = 2"}, record=b"r")
    rename(path, b"demo/b.py", b"demo/a.py")
    assert "'demo/a.py' at offset" in str(refused(path))
    assert "the name occurs twice" in str(refused(path))
    assert "occurs twice" in str(refused(path, Limits(allow_case_clash=True)))


def test_case_clash_names_its_option(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/A.py": "x", "demo/a.py": "y"})
    error = refused(path)
    assert "two names differ only by letter case: found 'demo/A.py'" in str(error)
    assert "--allow-case-clash" in str(error.hint)


def test_file_that_is_also_a_folder(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/a": "x", "demo/a/b/c": "y"})
    assert "member 'demo/a': the member is a file and a folder" in str(refused(path))


def test_folder_with_contents(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/x.": "contents"}, level=None, record=b"r")
    rename(path, b"demo/x.", b"demo/x/")
    assert "a folder with contents: expected 0 bytes, found 8" in str(refused(path))


def test_two_names_in_one_record(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    info = zipfile.ZipInfo("harmless.txt")
    other = b"\x01" + struct.pack("<I", zlib.crc32(b"harmless.txt")) + b"evil.py"
    info.extra = struct.pack("<HH", 0x7075, len(other)) + other
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(info, "x")
    error = refused(path)
    assert "the member has two names: expected 'harmless.txt', found 'evil.py'" in str(error)


def test_stray_extra_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.txt")
        info.extra = struct.pack("<HH", 0x5455, 2) + b"ab"
        archive.writestr(info, "x")
    poke(path, central_offset(path, "a.txt") + 46 + 5 + 2, u16(9))
    assert "extra field 0x5455 claims 9 bytes, 2 are left" in str(refused(path))


@pytest.mark.parametrize("count", [1, 3])
def test_zip64_field_that_is_too_short_or_double(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.txt")
        info.extra = struct.pack("<HHQ", 0x7777, 8, 1) * 3
        archive.writestr(info, "x")
    at = central_offset(path, "a.txt")
    for n in range(count):
        poke(path, at + 46 + 5 + 12 * n, u16(1))
    poke(path, at + 20, b"\xff" * 8)
    message = "two ZIP64 extra fields" if count > 1 else "the ZIP64 extra field has 8 bytes, too few"
    assert message in str(refused(path))


def test_stored_member_of_two_sizes(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {LIB: DATA}, level=None)
    both(path, 22, 24, u32(len(DATA) - 1))
    assert "a stored member of two sizes" in str(refused(path))


def test_descriptor_that_lies(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {LIB: DATA}, streamed=True)
    start, size = data_span(path, LIB)
    poke(path, start + size + 4, u32(1))
    assert "the data descriptor and the central directory disagree" in str(refused(path))


def test_bytes_behind_the_stream(tmp_path: Path) -> None:
    """Hidden data between the end of the deflate stream and the end of the member."""
    path = tmp_path / "x.zip"
    engine = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = engine.compress(b"seen") + engine.flush() + b"not seen"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", packed)
    at, where = central_offset(path, "a.txt"), local_offset(path, "a.txt")
    for offset, method, crc in ((at, 10, 16), (where, 8, 14)):
        poke(path, offset + method, u16(8))
        poke(path, offset + crc, u32(zlib.crc32(b"seen")))
        poke(path, offset + crc + 8, u32(4))
    assert "8 bytes after the end of the deflate stream" in str(refused(path))


def test_stream_without_end(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    engine = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = engine.compress(b"seen") + engine.flush(zlib.Z_SYNC_FLUSH)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", packed)
    at, where = central_offset(path, "a.txt"), local_offset(path, "a.txt")
    for offset, method, crc in ((at, 10, 16), (where, 8, 14)):
        poke(path, offset + method, u16(8))
        poke(path, offset + crc, u32(zlib.crc32(b"seen")))
        poke(path, offset + crc + 8, u32(4))
    assert "the deflate stream has no end: expected 4 bytes" in str(refused(path))


def test_overlapping_members(tmp_path: Path) -> None:
    """The quoted-overlap bomb: several records point at one local header."""
    path = make_wheel(tmp_path, {"demo/a.bin": bytes(1000), "demo/b.bin": bytes(1000)}, record=b"r")
    poke(path, central_offset(path, "demo/b.bin") + 42, u32(local_offset(path, "demo/a.bin")))
    rename(path, b"demo/b.bin", b"demo/a.bin")
    assert "occurs twice" in str(refused(path))
    path = make_wheel(tmp_path, {"demo/a.bin": bytes(1000), "demo/b.bin": bytes(1000)}, record=b"r")
    inner = local_offset(path, "demo/b.bin")
    start, size = data_span(path, "demo/b.bin")
    stretched = start + size - data_span(path, "demo/a.bin")[0]
    for offset in (local_offset(path, "demo/a.bin") + 18, central_offset(path, "demo/a.bin") + 20):
        poke(path, offset, u32(stretched))
    error = refused(path)
    assert "member 'demo/a.bin' at offset 0: the member overlaps what follows it" in str(error)
    assert f"end at {inner} or before" in str(error)


BOMBS = [
    (Limits(max_members=3), r"too many members: expected at most 3, found 4", "--max-members"),
    (Limits(max_member_size=99), r"too large once inflated: expected at most 99 bytes", "--max-member-size"),
    (Limits(max_total_size=900_000), r"the archive is too large once inflated", "--max-total-size"),
    (Limits(ratio_floor=1000), r"looks like a zip bomb: expected at most 200 bytes from each", "--max-ratio"),
]


@pytest.mark.parametrize(("limits", "message", "option"), BOMBS)
def test_bombs_name_their_option(tmp_path: Path, limits: Limits, message: str, option: str) -> None:
    path = make_wheel(tmp_path, {"demo/zeros": bytes(1_000_000)})
    error = refused(path, limits)
    assert re.search(message, str(error)), str(error)
    assert option in str(error.hint)


def test_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """40 MB behind a promise of 10 bytes: refused at the first byte too many, at whatever limits."""
    path = make_wheel(tmp_path, {LIB: bytes(40_000_000)})
    both(path, 22, 24, u32(10))
    assert "expected 10 bytes, found at least 11" in str(refused(path, Limits(max_ratio=1e9)))


def test_faults_of_several_members_come_together(good: Path) -> None:
    both(good, 6, 8, u16(1))
    poke(good, central_offset(good, "demo/a.py") + 10, u16(12))
    error = refused(good)
    assert [issue.member for issue in error.issues] == [LIB, "demo/a.py"]
    assert "2 faults" in str(error)


def test_damaged_members_come_together(good: Path) -> None:
    for name in (LIB, "demo/a.py"):
        poke(good, data_span(good, name)[0], b"\x07")
    assert {issue.member for issue in refused(good).issues} == {LIB, "demo/a.py"}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.whl: cannot be opened: there is no such file"):
        WheelArchive.open(tmp_path / "x.whl")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a file, found that it is a folder"):
        WheelArchive.open(tmp_path)


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe.whl"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"found that it is not a regular file"):
        WheelArchive.open(path)


def test_symlink_loop(tmp_path: Path) -> None:
    path = tmp_path / "loop.whl"
    path.symlink_to(path)
    with pytest.raises(InputError, match=r"too many symbolic links"):
        WheelArchive.open(path)


def test_permission_denied(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every file can be read, so the system's answer is given by hand."""

    def denied(*args: object, **kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match=r"cannot be opened: permission denied"):
        WheelArchive.open(good)


def test_file_that_shrinks_while_open(good: Path) -> None:
    with WheelArchive.open(good) as wheel:
        cut(good, 500)
        with pytest.raises(ArchiveError, match=r"the file ends inside deflated data: expected \d+ bytes, found \d+"):
            hash_members(wheel)


ZIP64_ENDS = [
    (0, 4, u32(1), r"split over several disks.*disk 1 of 1"),
    (0, 16, u32(4), r"split over several disks.*disk 0 of 4"),
    (0, 8, u32(1), r"the ZIP64 end locator points to a wrong place"),
    (76, 0, b"PKxx", r"not a ZIP64 end record"),
    (76, 24, u32(9), r"the two end records disagree about entries"),
]


def zip64_wheel(folder: Path) -> Path:
    """A wheel with (needless, but right) ZIP64 end records; plain record as it was."""
    path = make_wheel(folder, {LIB: DATA, "demo/a.py": "a = 1\n"})
    data = path.read_bytes()
    size, offset = struct.unpack("<II", data[-10:-2])
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 5, 5, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    path.write_bytes(data[:-22] + end64 + locator + data[-22:])
    return path


def test_needless_zip64_end_is_read(tmp_path: Path) -> None:
    with WheelArchive.open(zip64_wheel(tmp_path)) as wheel:
        assert len(hash_members(wheel)) == 5


@pytest.mark.parametrize(("back", "field", "data", "message"), ZIP64_ENDS)
def test_zip64_end(tmp_path: Path, back: int, field: int, data: bytes, message: str) -> None:
    """`back`: distance of the record from the locator's start (0: the locator, 76: the ZIP64 end record)."""
    path = zip64_wheel(tmp_path)
    locator = path.stat().st_size - 22 - 20
    poke(path, (locator if back == 0 else locator - 56) + field, data)
    assert re.search(message, str(refused(path))), str(refused(path))
