"""Each field of a container and of an entry header (docs/formats.md 2 and 3), on files built byte by byte."""

from __future__ import annotations

import pytest

from shim.devicecode import Compression, ContainerRole, GpuImage, ImageKind, decode
from tests.builders import cubin as cubins
from tests.builders import fatbin
from tests.builders.fatbin import CUBIN, LTO_IR, LZ4, PTX, TILE_IR, ZSTD, Image
from tests.builders.reading import images_of, payload, read_stream


def read_images(*images: Image | bytes) -> tuple[bytes, list[GpuImage]]:
    data = fatbin.container(*images)
    return data, images_of(read_stream(data, "a.fatbin"))


def read_one(image: Image | bytes) -> tuple[bytes, GpuImage]:
    data, images = read_images(image)
    assert len(images) == 1
    return data, images[0]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (1, ImageKind.PTX),
        (2, ImageKind.SASS),
        (8, ImageKind.LTO_IR),
        (0x80, ImageKind.TILE_IR),
        (0x10, ImageKind.UNKNOWN),
        (0x40, ImageKind.UNKNOWN),
        (0xFFFF, ImageKind.UNKNOWN),
    ],
)
def test_kind(raw: int, kind: ImageKind) -> None:
    _, image = read_one(Image(kind=raw, arch=121, payload=bytes(64)))
    assert (image.raw_kind, image.kind) == (raw, kind)


@pytest.mark.parametrize("arch", [50, 75, 80, 87, 90, 100, 103, 107, 110, 120, 121])
@pytest.mark.parametrize("feature", ["", "a", "f"])
@pytest.mark.parametrize("kind", [PTX, CUBIN, LTO_IR])
def test_arch_and_suffix(arch: int, feature: str, kind: int) -> None:
    _, image = read_one(Image(kind=kind, arch=arch, feature=feature, payload=bytes(64)))
    assert str(image.arch) == f"{arch}{feature}"


def test_arch_zero_is_none() -> None:
    assert read_one(Image(kind=0x40, arch=0, payload=bytes(8)))[1].arch is None


@pytest.mark.parametrize(
    ("kind", "version"),
    [(PTX, (7, 8)), (PTX, (9, 0)), (CUBIN, (1, 7)), (CUBIN, (1, 8)), (TILE_IR, (0x0D01, 0))],
)
def test_version_is_major_minor(kind: int, version: tuple[int, int]) -> None:
    assert read_one(Image(kind=kind, arch=90, payload=bytes(64), version=version))[1].version == version


@pytest.mark.parametrize("entry_version", [0x0101, 0x0102, 0])
def test_unexpected_entry_version_is_read(entry_version: int) -> None:
    """NVIDIA's own linker accepts other values (docs/formats.md 3), so the reader does not reject on it."""
    _, image = read_one(Image(kind=PTX, arch=80, payload=fatbin.ptx(), entry_version=entry_version))
    assert image.kind is ImageKind.PTX


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64, 65, 4095, 5000])
@pytest.mark.parametrize(
    ("compression", "expected"), [(0, Compression.NONE), (LZ4, Compression.LZ4), (ZSTD, Compression.ZSTD)]
)
def test_sizes_and_payload(length: int, compression: int, expected: Compression) -> None:
    content = bytes(i * 7 % 251 for i in range(length))
    made = Image(kind=CUBIN, arch=90, payload=content, compression=compression)
    stored, packed, _ = made.stored()
    data, image = read_one(made)
    assert image.compression is expected
    assert (image.payload_size, image.compressed_size) == (len(stored), packed)
    assert (image.offset, image.payload_offset) == (16, 16 + image.header_size)
    assert image.stored_size == len(data) - 16
    assert payload(data, image) == stored
    assert image.size == (length if compression else len(stored))
    assert decode(image, payload(data, image)) == (content if compression else stored)


@pytest.mark.parametrize("bits", [0x1000, 0x4000, 0xA000])
def test_unknown_compression_is_named(bits: int) -> None:
    _, image = read_one(Image(kind=PTX, arch=80, payload=fatbin.ptx(), flags=fatbin.PLAIN_FLAGS | bits))
    assert image.compression is Compression.UNKNOWN


@pytest.mark.parametrize("name", ["", "k", "sevench", "exactly8", "x" * 200, "größer.cu"])
@pytest.mark.parametrize("kind", [PTX, CUBIN, LTO_IR])
def test_name(name: str, kind: int) -> None:
    records = fatbin.compat((11, bytes(8))) if kind == CUBIN else b""
    _, image = read_one(
        Image(kind=kind, arch=121, payload=bytes(64), name=name, options="-v" * (kind != CUBIN), compat=records)
    )
    assert image.name == name
    assert image.options == "-v" * (kind != CUBIN)
    assert image.compat == records


@pytest.mark.parametrize("options", ["", "-v", "--compile-only", "-maxrregcount=96 -v -O2 "])
def test_options(options: str) -> None:
    _, image = read_one(Image(kind=PTX, arch=80, payload=fatbin.ptx(), options=options, name="k.cu"))
    assert image.options == options
    assert image.header_size == 0x40 + 8 + 8 + fatbin.align8(len(options) + 1)


@pytest.mark.parametrize(
    ("kind", "options", "relocatable"),
    [
        (PTX, "--compile-only", True),
        (PTX, "-v -c -O2", True),
        (PTX, "-v", False),
        (PTX, "--compile-onlyx", False),
        (LTO_IR, "--compile-only", False),
    ],
)
def test_relocatable_ptx(kind: int, options: str, relocatable: bool) -> None:
    image = read_one(Image(kind=kind, arch=80, payload=fatbin.ptx(), options=options))[1]
    assert image.relocatable is relocatable


@pytest.mark.parametrize("mask", [0, 0x1, 0x9, 0x50, 2**64 - 1])
def test_compat_copy_starts_one_byte_behind_its_offset(mask: int) -> None:
    records = fatbin.compat((2, 1), (9, 1), (11, mask.to_bytes(8, "little")), (12, 0))
    image = read_one(Image(kind=CUBIN, arch=120, payload=cubins.cubin(120), compat=records))[1]
    assert image.compat == records
    assert image.fastpath_mask == mask


def test_cubin_without_compat_has_no_mask() -> None:
    assert read_one(Image(kind=CUBIN, arch=90, payload=cubins.cubin(90)))[1].fastpath_mask is None


def test_compat_of_cuda_12_8_has_no_mask() -> None:
    """12.8 and 12.9 write records 02, 05, 03, 06 only (docs/formats.md 5.1)."""
    records = fatbin.compat((2, 1), (5, 5), (3, 0), (6, 1))
    image = read_one(Image(kind=CUBIN, arch=120, payload=cubins.cubin(120), compat=records))[1]
    assert (image.compat, image.fastpath_mask) == (records, None)


def test_flags_are_kept_whole() -> None:
    image = read_one(Image(kind=CUBIN, arch=121, feature="a", payload=bytes(64), compression=ZSTD, flags=0x13))[1]
    assert image.flags == 0x108013


def test_entries_follow_each_other() -> None:
    made = [
        Image(kind=PTX, arch=80, payload=fatbin.ptx(), compression=ZSTD),
        Image(kind=CUBIN, arch=120, payload=cubins.cubin(120), name="two"),
        Image(kind=0x40, arch=120, payload=b"opaque"),
        Image(kind=LTO_IR, arch=90, payload=bytes(24), options="-ftz=0 "),
        Image(kind=PTX, arch=121, payload=b""),
    ]
    data, images = read_images(*made)
    assert [i.raw_kind for i in images] == [m.kind for m in made]
    assert [i.offset for i in images] == fatbin.entry_offsets(data)
    assert images[-1].payload_size == 0
    assert images[-1].payload_offset == len(data)


def test_container_of_nothing() -> None:
    data = fatbin.container()
    (found,) = read_stream(data, "a.fatbin").containers
    assert (found.offset, found.size, found.images, found.role) == (0, 16, (), ContainerRole.FILE)


class TestGroup:
    """Kind 0x100: several entries compressed together (docs/formats.md 3.5)."""

    MEMBERS = (
        Image(kind=PTX, arch=80, payload=fatbin.ptx("80"), options="-v"),
        Image(kind=PTX, arch=121, feature="f", payload=fatbin.ptx("121f"), name="a.cu", version=(8, 8)),
        Image(kind=CUBIN, arch=121, feature="a", payload=cubins.cubin(121), compat=fatbin.compat((11, bytes(8)))),
    )

    def test_members_are_images(self) -> None:
        _, images = read_images(fatbin.group(*self.MEMBERS))
        assert [(i.kind, str(i.arch), i.version) for i in images] == [
            (ImageKind.PTX, "80", (9, 0)),
            (ImageKind.PTX, "121f", (8, 8)),
            (ImageKind.SASS, "121a", (1, 8)),
        ]
        assert [(i.options, i.name) for i in images] == [("-v", ""), ("", "a.cu"), ("", "")]
        assert images[2].fastpath_mask == 0

    @pytest.mark.parametrize("compression", [ZSTD, 0])
    def test_members_decode(self, compression: int) -> None:
        data, images = read_images(fatbin.group(*self.MEMBERS, compression=compression))
        for made, image in zip(self.MEMBERS, images, strict=True):
            plain = made.payload.rstrip(b"\0") if made.kind == PTX else made.payload
            assert decode(image, payload(data, image)) == plain

    def test_shared_bytes_are_counted_once(self) -> None:
        alone = Image(kind=PTX, arch=75, payload=fatbin.ptx("75"))
        data = fatbin.container(fatbin.group(*self.MEMBERS), alone)
        (group,) = read_stream(data, "a.fatbin").groups
        assert sum(group.stored_bytes) == len(data) - 16
        assert group.stored_bytes[1:3] == (0, 0)
        sizes = [len(m.payload) for m in self.MEMBERS]
        assert group.decoded_bytes == (*sizes, fatbin.align8(len(alone.payload)))

    def test_group_of_nothing_behind_a_small_image(self) -> None:
        """The payload of an empty group once counted as that of the image before it."""
        small = Image(kind=PTX, arch=80, payload=fatbin.ptx())
        _, images = read_images(small, fatbin.group(), small)
        assert [i.has_code for i in images] == [True, True]


class TestHasCode:
    """Small images are read while they stream by: one without any kernel counts differently."""

    @pytest.mark.parametrize("compression", [0, LZ4, ZSTD])
    def test_small_images(self, compression: int) -> None:
        made = [
            Image(kind=PTX, arch=80, payload=fatbin.ptx(), compression=compression),
            Image(kind=PTX, arch=80, payload=fatbin.ptx(kernels=()), compression=compression),
            Image(kind=CUBIN, arch=120, payload=cubins.cubin(120), compression=compression),
            Image(kind=CUBIN, arch=120, payload=cubins.cubin(120, symbols=()), compression=compression),
        ]
        assert [i.has_code for i in read_images(*made)[1]] == [True, False, True, False]

    def test_large_image_is_not_read(self) -> None:
        big = Image(kind=CUBIN, arch=120, payload=cubins.cubin(120) + bytes(8192))
        assert read_one(big)[1].has_code is None

    def test_small_image_that_does_not_decode(self) -> None:
        bad = Image(kind=CUBIN, arch=120, payload=b"not a cubin at all")
        assert read_one(bad)[1].has_code is None

    def test_bomb_is_left_alone(self) -> None:
        """4 KiB of zstd can hold 100 MB of zeros: whether they have code is not worth the memory."""
        bomb = Image(kind=PTX, arch=80, payload=fatbin.ptx() + bytes(4 << 20), compression=ZSTD)
        assert bomb.stored()[1] < 512
        assert read_one(bomb)[1].has_code is None


class TestContainerGroups:
    """Containers that no rule can tell apart are judged once."""

    def test_alike(self) -> None:
        one = Image(kind=PTX, arch=80, payload=fatbin.ptx() + b" " * 600)
        two = Image(kind=PTX, arch=80, payload=fatbin.ptx(kernels=("other",)) + b" " * 800, name="n")
        code = read_stream(fatbin.container(one) + fatbin.container(two), "a.fatbin")
        (group,) = code.groups
        assert group.indices == (0, 1)
        assert group.exemplar == code.containers[0]
        assert group.stored_bytes == (sum(i.stored_size for i in images_of(code)),)
        assert group.decoded_bytes == (sum(i.size for i in images_of(code)),)

    @pytest.mark.parametrize(
        "other",
        [
            Image(kind=PTX, arch=90, payload=bytes(600)),
            Image(kind=PTX, arch=80, feature="a", payload=bytes(600)),
            Image(kind=PTX, arch=80, payload=bytes(600), version=(8, 0)),
            Image(kind=PTX, arch=80, payload=bytes(600), options="--compile-only"),
            Image(kind=PTX, arch=80, payload=bytes(600), compression=ZSTD),
            Image(kind=CUBIN, arch=80, payload=bytes(600)),
        ],
    )
    def test_different(self, other: Image) -> None:
        base = Image(kind=PTX, arch=80, payload=bytes(600))
        groups = read_stream(fatbin.container(base) + fatbin.container(other), "a.fatbin").groups
        assert [g.indices for g in groups] == [(0,), (1,)]

    def test_options_and_compat_cannot_be_mistaken(self) -> None:
        """Two texts that are equal once joined are still two."""
        one = [Image(kind=LTO_IR, arch=80, payload=bytes(8), options=t) for t in ("-a", "-b-c")]
        two = [Image(kind=LTO_IR, arch=80, payload=bytes(8), options=t) for t in ("-a-b", "-c")]
        assert len(read_stream(fatbin.container(*one) + fatbin.container(*two), "a.fatbin").groups) == 2
