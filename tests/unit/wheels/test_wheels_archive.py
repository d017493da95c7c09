"""Reading archives: what zipfile wrote is what shim reads."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from pathlib import Path

import pytest
from builders.wheels import WHEN, library, make_wheel

from shim.errors import InputError
from shim.wheels.archive import WheelArchive
from shim.wheels.faults import ArchiveError
from shim.wheels.hashing import hash_members
from shim.wheels.limits import Limits

BIG = library(1, 3_300_000)
MEMBERS = {"demo/__init__.py": "x = 1\n", "demo/lib.so": BIG, "demo/empty": b"", "demo/päth.txt": "text"}


@pytest.mark.parametrize("level", [None, 1, 6, 9])
@pytest.mark.parametrize("streamed", [False, True])
def test_members_are_those_of_zipfile(tmp_path: Path, level: int | None, streamed: bool) -> None:
    path = make_wheel(tmp_path, MEMBERS, level=level, streamed=streamed, modes={"demo/lib.so": 0o755})
    with WheelArchive.open(path) as wheel, zipfile.ZipFile(path) as oracle:
        infos = oracle.infolist()
        assert [m.path for m in wheel.members] == [i.filename for i in infos]
        for member, info in zip(wheel.members, infos, strict=True):
            assert (member.size, member.compressed_size, member.crc32, member.method) == (
                info.file_size,
                info.compress_size,
                info.CRC,
                info.compress_type,
            )
            assert (member.date_time, member.mode) == (WHEN, info.external_attr >> 16)
            assert b"".join(wheel.stream(member)) == oracle.read(info)
        assert wheel.member("demo/lib.so").is_executable
        assert not wheel.member("demo/empty").is_executable


def test_spans_cover_the_file_up_to_the_directory(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, MEMBERS, streamed=True, comment=b"a comment")
    with WheelArchive.open(path) as wheel:
        position = 0
        for member in wheel.members:
            offset, size = wheel.raw_span(member)
            assert offset == position
            position += size
        assert position == wheel.directory.offset
        assert wheel.directory.comment == b"a comment"


def test_pieces_are_bounded(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/zeros.bin": bytes(5_000_000)})
    with WheelArchive.open(path) as wheel:
        sizes = [len(piece) for piece in wheel.stream(wheel.member("demo/zeros.bin"))]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("level", [None, 6])
def test_ranges(tmp_path: Path, level: int | None) -> None:
    path = make_wheel(tmp_path, MEMBERS, level=level)
    size = len(BIG)
    ranges = [(0, 4), (2, 10), (70_000, 2_000_000), (80_000, 10), (80_005, 0), (size - 3, 3)]
    with WheelArchive.open(path) as wheel:
        found = list(wheel.read_ranges(wheel.member("demo/lib.so"), ranges))
    assert found == [BIG[offset : offset + length] for offset, length in ranges]


def test_ranges_read_no_further_than_they_must(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, MEMBERS)
    with WheelArchive.open(path) as wheel:
        member = wheel.member("demo/lib.so")
        with path.open("r+b") as file:  # break the end of the stream: a read up to there would raise
            file.seek(member.data_offset + member.compressed_size - 2000)
            file.write(b"\xff" * 1000)
        assert list(wheel.read_ranges(member, [(1000, 8)])) == [BIG[1000:1008]]
        with pytest.raises(ArchiveError):
            list(wheel.read_ranges(member, [(len(BIG) - 8, 8)]))


@pytest.mark.parametrize("ranges", [[(5, 1), (4, 1)], [(0, len(BIG) + 1)], [(-1, 2)], [(0, -1)]])
def test_ranges_must_be_sorted_and_inside(tmp_path: Path, ranges: list[tuple[int, int]]) -> None:
    path = make_wheel(tmp_path, MEMBERS)
    with WheelArchive.open(path) as wheel, pytest.raises(InputError, match="sorted ranges inside"):
        list(wheel.read_ranges(wheel.member("demo/lib.so"), ranges))


def test_extract(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, MEMBERS)
    dest = tmp_path / "out.so"
    with WheelArchive.open(path) as wheel:
        digest = wheel.extract(wheel.member("demo/lib.so"), dest)
        with pytest.raises(InputError, match=r"nowhere/x: cannot be written"):
            wheel.extract(wheel.member("demo/lib.so"), tmp_path / "nowhere" / "x")
    assert dest.read_bytes() == BIG
    assert digest == hashlib.sha256(BIG).hexdigest()


def test_read_has_a_limit(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, MEMBERS)
    with WheelArchive.open(path) as wheel:
        member = wheel.member("demo/lib.so")
        with pytest.raises(ArchiveError, match=r"expected at most 1000 bytes, found 3300000"):
            wheel.read(member, limit=1000)
        assert wheel.read(member) == BIG


def test_missing_member(tmp_path: Path) -> None:
    path = make_wheel(tmp_path)
    with WheelArchive.open(path) as wheel, pytest.raises(InputError, match="no member 'demo/nothing'"):
        wheel.member("demo/nothing")


def test_threads_share_one_archive(tmp_path: Path) -> None:
    members = {f"demo/{n}.bin": library(n, 700_000) for n in range(6)}
    path = make_wheel(tmp_path, members)
    results: dict[str, bool] = {}
    with WheelArchive.open(path) as wheel:

        def read(name: str) -> None:
            results[name] = all(b"".join(wheel.stream(wheel.member(name))) == members[name] for _ in range(3))

        threads = [threading.Thread(target=read, args=(name,)) for name in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == dict.fromkeys(members, True)


def test_hash_members(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {**MEMBERS, "demo/folder/": b""})
    done: list[int] = []
    with WheelArchive.open(path) as wheel, zipfile.ZipFile(path) as oracle:
        hashes = hash_members(wheel, jobs=2, progress=done.append)
        files = [name for name in oracle.namelist() if not name.endswith("/")]
        assert hashes == {name: hashlib.sha256(oracle.read(name)).hexdigest() for name in files}
        assert sum(done) == sum(member.size for member in wheel.members)


def test_name_and_dist_info(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, name="Demo_Wheel", version="1.0+cu130", tag="cp312-cp312-linux_aarch64")
    with WheelArchive.open(path) as wheel:
        assert wheel.name is not None
        assert (wheel.name.distribution, wheel.name.version) == ("Demo_Wheel", "1.0+cu130")
        assert wheel.dist_info == "Demo_Wheel-1.0+cu130.dist-info"
    other = path.rename(tmp_path / "archive.zip")
    with WheelArchive.open(other) as wheel:
        assert wheel.name is None
        assert wheel.dist_info == "Demo_Wheel-1.0+cu130.dist-info"


def test_two_dist_infos(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"other-2.0.dist-info/WHEEL": "x"})
    with WheelArchive.open(path) as wheel:
        assert wheel.dist_info == "demo-1.0.dist-info"
    other = path.rename(tmp_path / "archive.zip")
    with (
        WheelArchive.open(other) as wheel,
        pytest.raises(InputError, match=r"found demo-1.0.dist-info, other-2.0.dist-info"),
    ):
        _ = wheel.dist_info


def test_no_dist_info(tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "b")
    with WheelArchive.open(path) as wheel, pytest.raises(InputError, match=r"found none"):
        _ = wheel.dist_info


def test_archive_without_members(tmp_path: Path) -> None:
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    with WheelArchive.open(path) as wheel:
        assert wheel.members == ()


def test_case_clash_can_be_allowed(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/A.h": "1", "demo/a.h": "2"})
    with WheelArchive.open(path, limits=Limits(allow_case_clash=True)) as wheel:
        assert wheel.read(wheel.member("demo/A.h")) == b"1"
        assert wheel.read(wheel.member("demo/a.h")) == b"2"


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    wheel = WheelArchive.open(make_wheel(tmp_path))
    fd = wheel.file.fileno()
    wheel.close()
    wheel.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
