"""Payloads whose sizes or streams lie: decode() says so, and never allocates what a lie asks for."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import zstandard

from shim.devicecode import GpuImage, decode
from shim.errors import InputError
from tests.builders import fatbin
from tests.builders.fatbin import CUBIN, ENTRY_FIELDS, LZ4, PTX, ZSTD, Image, poke
from tests.builders.reading import images_of, payload, read_stream

CONTENT = fatbin.ptx() * 20
METHODS = {"lz4": LZ4, "zstd": ZSTD}


def one(data: bytes) -> tuple[GpuImage, bytes]:
    (image,) = images_of(read_stream(data, "a.fatbin"))
    return image, payload(data, image)


def container(compression: int, content: bytes = CONTENT) -> bytes:
    return fatbin.container(Image(kind=CUBIN, arch=90, payload=content, compression=compression))


def refused(data: bytes, limit: int = 1 << 30) -> str:
    image, stored = one(data)
    with pytest.raises(InputError) as caught:
        decode(image, stored, limit=limit)
    assert str(caught.value).startswith("sass image at offset 0x10: ")
    assert caught.value.hint
    return str(caught.value)


def field(data: bytes, name: str, value: int) -> bytes:
    offset, fmt = ENTRY_FIELDS[name]
    return poke(data, 16 + offset, fmt, value)


@pytest.mark.parametrize("method", METHODS)
class TestUncompressedSize:
    @pytest.mark.parametrize("difference", [-len(CONTENT) + 1, -1, 1, 100, 1 << 20])
    def test_lies(self, method: str, difference: int) -> None:
        wrong = len(CONTENT) + difference
        found = refused(field(container(METHODS[method]), "uncompressed_size", wrong))
        stated = {
            "zstd": f"expected {wrong} decoded bytes, the zstd frame states {len(CONTENT)}",
            "lz4": f"expected {wrong} decoded bytes, found {len(CONTENT)}",
        }
        lz4_too_small = method == "lz4" and difference < 0
        assert ("LZ4 block does not decode" if lz4_too_small else stated[method]) in found

    @pytest.mark.parametrize("size", [0, 2**31, 2**40, 2**64 - 1])
    def test_absurd(self, method: str, size: int) -> None:
        found = refused(field(container(METHODS[method]), "uncompressed_size", size))
        if size == 0 or method == "zstd":
            assert "LZ4 block does not decode" in found or "the zstd frame states" in found
        else:
            assert f"claims {size} decoded bytes, more than the limit of {1 << 30}" in found

    def test_limit(self, method: str) -> None:
        data = container(METHODS[method])
        assert f"claims {len(CONTENT)} decoded bytes, more than the limit of 100" in refused(data, limit=100)
        image, stored = one(data)
        assert decode(image, stored, limit=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("method", METHODS)
class TestStream:
    @pytest.mark.parametrize("keep", [1, 5, 20, -1])
    def test_cut(self, method: str, keep: int) -> None:
        data = container(METHODS[method])
        packed = one(data)[0].compressed_size
        assert "does not decode" in refused(field(data, "compressed_size", keep % packed))

    def test_garbage(self, method: str) -> None:
        data = container(METHODS[method])
        header = one(data)[0].payload_offset
        found = refused(data[:header] + b"\xff" * (len(data) - header))
        assert "does not decode" in found

    def test_compressed_size_0(self, method: str) -> None:
        found = refused(field(container(METHODS[method]), "compressed_size", 0))
        assert "and compressed size 0 contradict each other" in found


def test_stored_with_a_compressed_size() -> None:
    data = container(0)
    assert "contradict each other" in refused(field(data, "compressed_size", 16))


def test_unknown_compression() -> None:
    data = container(ZSTD)
    flags = one(data)[0].flags
    assert "unknown compression (flags 0x4011)" in refused(field(data, "flags", flags & ~0xF000 | 0x4000))


def test_bytes_behind_the_frame() -> None:
    """The entry says that they belong to it, so they must decode to something."""
    content = bytes(9)
    packed = zstandard.ZstdCompressor().compress(content)
    frame = packed + b"\0" * (16 - len(packed) % 8)
    entry = bytearray(Image(kind=CUBIN, arch=90, payload=frame, flags=0x8011).encode())
    struct.pack_into("<I", entry, 0x10, len(frame))
    struct.pack_into("<Q", entry, 0x38, len(content))
    assert "does not decode" in refused(fatbin.container(bytes(entry)))


@pytest.mark.parametrize("stated", [True, False])
def test_bomb_is_not_inflated(stated: bool) -> None:
    """256 MB of zeros in 8 KB, declared as 1 MB: refused without taking the memory."""
    packed = zstandard.ZstdCompressor(write_content_size=stated).compress(bytes(256 << 20))
    assert len(packed) < 1 << 15
    entry = bytearray(Image(kind=CUBIN, arch=90, payload=packed, flags=0x8011).encode())
    struct.pack_into("<I", entry, 0x10, len(packed))
    struct.pack_into("<Q", entry, 0x38, 1 << 20)
    image, content = one(fatbin.container(bytes(entry)))
    tracemalloc.start()
    with pytest.raises(InputError, match="the zstd frame states 268435456" if stated else "does not decode"):
        decode(image, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_frame_that_states_a_terabyte() -> None:
    """The library allocates what the frame states before it decodes."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"
    entry = bytearray(Image(kind=CUBIN, arch=90, payload=frame, flags=0x8011).encode())
    struct.pack_into("<I", entry, 0x10, len(frame))
    struct.pack_into("<Q", entry, 0x38, 100)
    assert f"expected 100 decoded bytes, the zstd frame states {1 << 40}" in refused(fatbin.container(bytes(entry)))


def test_payload_of_another_length() -> None:
    image, stored = one(container(0))
    with pytest.raises(InputError, match=f"expected a payload of {len(stored)} bytes, got {len(stored) - 8}"):
        decode(image, stored[:-8])


class TestGroup:
    """Kind 0x100: the members share one payload."""

    MEMBERS = (
        Image(kind=PTX, arch=80, payload=fatbin.ptx()),
        Image(kind=CUBIN, arch=90, payload=bytes(range(200))),
    )

    def refuse(self, data: bytes, number: int = 1, limit: int = 1 << 30) -> str:
        image = images_of(read_stream(data, "a.fatbin"))[number]
        with pytest.raises(InputError) as caught:
            decode(image, payload(data, image), limit=limit)
        return str(caught.value)

    def test_limit_is_that_of_the_whole_blob(self) -> None:
        data = fatbin.container(fatbin.group(*self.MEMBERS))
        blob = sum(fatbin.align8(len(m.payload)) for m in self.MEMBERS)
        assert f"claims {blob} decoded bytes, more than the limit of 64" in self.refuse(data, 0, limit=64)

    def test_member_beyond_the_frame(self) -> None:
        """The entry promises a larger blob than the frame holds."""
        data = fatbin.container(fatbin.group(*self.MEMBERS))
        grown = field(data, "uncompressed_size", 1 << 20)
        member = 16 + 0x40 + 8 + 0x40 + 16 + 8
        found = self.refuse(poke(grown, member, "<Q", 1 << 19))
        assert "the zstd frame states" in found

    def test_garbage(self) -> None:
        data = fatbin.container(fatbin.group(*self.MEMBERS))
        start = images_of(read_stream(data, "a.fatbin"))[0].payload_offset
        assert "zstd frame does not decode" in self.refuse(data[:start] + bytes(len(data) - start))

    def test_lz4(self) -> None:
        data = fatbin.container(fatbin.group(*self.MEMBERS, compression=LZ4))
        assert "a group compressed with LZ4, which no tool writes" in self.refuse(data)
