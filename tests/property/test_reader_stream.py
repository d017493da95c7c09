"""A stream gives what a mapping gives, however it is cut and whatever has to be fetched again."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.devicecode import read_path
from shim.errors import InputError
from tests.builders import cubin as cubins
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import CUBIN, LTO_IR, LZ4, PTX, TILE_IR, ZSTD, Image
from tests.builders.hostfile import Code
from tests.builders.reading import StreamReader, facts, fetcher, read_stream

PAYLOADS = [
    fatbin.ptx(),
    fatbin.ptx(kernels=()),
    cubins.cubin(121),
    cubins.cubin(90, abi=7, symbols=()),
    bytes(5000),
    b"",
]

images = st.builds(
    Image,
    kind=st.sampled_from([PTX, CUBIN, LTO_IR, TILE_IR, 0x40]),
    arch=st.sampled_from([75, 80, 90, 100, 120, 121]),
    payload=st.sampled_from(PAYLOADS) | st.binary(max_size=200),
    feature=st.sampled_from(["", "a", "f"]),
    compression=st.sampled_from([0, LZ4, ZSTD]),
    name=st.sampled_from(["", "k.cu", "a" * 300]),
    options=st.sampled_from(["", "--compile-only", "-maxrregcount=96"]),
)
groups = st.lists(images, max_size=3).map(lambda members: fatbin.group(*members))
containers = st.lists(images | groups, max_size=4).map(lambda entries: fatbin.container(*entries))
junk = st.binary(max_size=40) | st.integers(0, 300).map(bytes)
codes = st.builds(
    lambda data, rest, section, version: Code(data=data + rest, section=section, version=version),
    containers,
    st.just(b"") | junk,
    st.sampled_from([".nv_fatbin", "__nv_relfatbin", ".data.rel"]),
    st.sampled_from([0, 1, 1, 1, 2]),
)
libraries = st.builds(
    lambda code, machine, pointers, align, headers, rodata: (
        hostfile.shared(
            code, machine=machine, pointers=pointers, align=align, headers=headers, rodata=rodata, needed=("libc.so.6",)
        ).data
    ),
    st.lists(codes, max_size=4),
    st.sampled_from(["x86_64", "aarch64"]),
    st.sampled_from(["rela", "relr", "in-place"]),
    st.sampled_from([8, 64, 256]),
    st.booleans(),
    st.sampled_from([b"", fatbin.ptx("90a"), b"\0" * 5 + fatbin.ptx("121f")]),
)
objects = st.lists(codes, max_size=3).map(lambda code: hostfile.obj(code).data)
archives = st.lists(objects | junk, max_size=4).map(
    lambda members: hostfile.ar(*((f"m{i}.o", data) for i, data in enumerate(members)))
)
loose = st.sampled_from([cubins.cubin(121), fatbin.ptx("121a"), b"text", b""])
files = libraries | objects | archives | loose | st.lists(containers | junk, max_size=3).map(b"".join)
names = st.sampled_from(["lib.so", "a.o", "a.fatbin", "a.cubin", "a.ptx", "a.ltoir", "lib.a", "none"])


def outcome(read) -> object:
    try:
        return facts(read())
    except InputError as error:
        return str(error)


@given(data=files, name=names, cuts=st.lists(st.integers(0, 1 << 16), max_size=30), step=st.integers(1, 5000))
def test_any_cut_of_any_file(data: bytes, name: str, cuts: list[int], step: int) -> None:
    """Errors included: the same words, the same offset."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        mapped = outcome(lambda: read_path(path, member=name))
    assert outcome(lambda: read_stream(data, name)) == mapped
    assert outcome(lambda: read_stream(data, name, [min(c, len(data)) for c in cuts])) == mapped
    assert outcome(lambda: read_stream(data, name, range(step, len(data), step))) == mapped


@given(data=libraries | objects)
def test_one_byte_at_a_time(data: bytes) -> None:
    assert outcome(lambda: read_stream(data[:3000], "lib.so", range(1, 3000))) == outcome(
        lambda: read_stream(data[:3000], "lib.so")
    )


class TestFetch:
    """Tables beyond what a stream keeps (12 MiB of the start, 10 MiB of the end) are asked for."""

    LIB = hostfile.shared(
        [Code(data=fatbin.container(Image(kind=PTX, arch=80, payload=fatbin.ptx()))) for _ in range(3)],
        rodata=bytes(13 << 20),
        data=bytes(20 << 20),
        needed=("libcudart.so.13",),
    )

    def read(self, fetch) -> object:
        reader = StreamReader("lib.so", len(self.LIB.data))
        for at in range(0, len(self.LIB.data), 1 << 20):
            reader.feed(self.LIB.data[at : at + (1 << 20)])
        return facts(reader.finish(fetch))

    def test_little_is_fetched_and_the_result_is_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "lib.so"
        path.write_bytes(self.LIB.data)
        calls: list[tuple[int, int]] = []
        assert self.read(fetcher(self.LIB.data, calls)) == facts(read_path(path, member="lib.so"))
        assert 1 <= len(calls) <= 4
        assert sum(size for _, size in calls) < 1 << 16
        assert all(size > 0 and offset + size <= len(self.LIB.data) for offset, size in calls)

    def test_pieces(self) -> None:
        """A fetch may hand a range over in pieces."""

        def fetch(ranges):
            for offset, size in ranges:
                yield from (self.LIB.data[i : i + 1] for i in range(offset, offset + size))

        assert self.read(fetch) == self.read(fetcher(self.LIB.data))

    def test_short_fetch(self) -> None:
        def fetch(ranges):
            return [self.LIB.data[offset : offset + size - 1] for offset, size in ranges]

        with pytest.raises(InputError, match=r"lib\.so: expected \d+ bytes at offset 0x[0-9a-f]+, got \d+"):
            self.read(fetch)

    def test_what_is_fetched_is_checked_again(self) -> None:
        """The second look at the file may see other bytes (the file changed): still an error, not a crash."""
        changed = bytearray(self.LIB.data)
        at = self.LIB.at[".dynamic"]
        for i in range(8):
            struct.pack_into("<QQ", changed, at + 16 * i, 2**63 + i, 2**64 - 1)
        with pytest.raises(InputError, match="its data pointer leads outside the file's segments"):
            self.read(fetcher(bytes(changed)))


def test_archive_of_large_members() -> None:
    """Members above what a stream keeps: all but one are let go, and fetched again."""
    image = Image(kind=PTX, arch=80, payload=fatbin.ptx())
    big = Image(kind=0x40, arch=0, payload=bytes(13 << 20))
    codes = [Code(data=fatbin.container(image)), Code(data=fatbin.container(big))]
    member = hostfile.obj(codes, debug=bytes(11 << 20))
    data = hostfile.ar(("a.o", member.data), ("b.o", member.data))
    calls: list[tuple[int, int]] = []
    reader = StreamReader("lib.a", len(data))
    for at in range(0, len(data), 1 << 20):
        reader.feed(data[at : at + (1 << 20)])
    code = reader.finish(fetcher(data, calls))
    bases = [data.index(member.data), data.rindex(member.data)]
    assert [w.target for w in code.wrappers] == [base + at for base in bases for at in member.containers]
    assert calls
