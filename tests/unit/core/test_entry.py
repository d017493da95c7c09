"""The entry writer gives NVIDIA's bytes, and refuses entries that would contradict their image."""

from __future__ import annotations

import io
import itertools

import pytest
import zstandard
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.oracles import nvfatbin, ptxas
from tests.oracles.reference_reader import Entry, read_container

ARCHS = ("80", "90a", "100", "100a", "100f", "120", "120a", "120f", "121", "121a", "121f")
NAMES = ("", "x", "seven77", "eight888", "a name of some length, 40 characters----")
COMPRESSION = {"stored": nvfatbin.UNCOMPRESSED, 5: nvfatbin.ZSTD_5, 19: nvfatbin.ZSTD_19}


def split(arch: str) -> tuple[int, str]:
    number = arch.rstrip("af")
    return int(number), arch[len(number) :]


def compress(image: bytes, level: int | str) -> bytes | None:
    return zstandard.ZstdCompressor(level=level).compress(image) if isinstance(level, int) else None


def our_entry(kind: int, arch: str, image: bytes, level: int | str = "stored", **rest: object) -> bytes:
    number, suffix = split(arch)
    return _core.make_entry(
        kind=kind, arch=number, suffix=suffix, image=image, compressed=compress(image, level), **rest
    )


def our_container(*entries: bytes) -> bytes:
    return _core.make_container(list(entries))


def decoded(entry: Entry) -> bytes:
    if entry.compression == "zstd":
        return zstandard.ZstdDecompressor().decompress(entry.payload)
    return entry.payload


@pytest.mark.parametrize("level", COMPRESSION)
@pytest.mark.parametrize("arch", ARCHS)
def test_cubin_entries_equal_libnvfatbin(arch: str, level: int | str) -> None:
    cubin = ptxas.cubin(arch)
    for name in NAMES:
        expected = nvfatbin.FatbinWriter(COMPRESSION[level]).add_cubin(cubin, arch, name).finish()
        assert our_container(our_entry(2, arch, cubin, level, name=name)) == expected


@pytest.mark.parametrize("level", COMPRESSION)
@pytest.mark.parametrize("arch", ARCHS)
def test_ptx_entries_equal_libnvfatbin(arch: str, level: int | str) -> None:
    for name, options in itertools.product(NAMES, ("", "--compile-only", "-maxrregcount=96 -v")):
        writer = nvfatbin.FatbinWriter(COMPRESSION[level])
        expected = writer.add_ptx(ptxas.ptx(arch), arch, name, options).finish()
        # NVIDIA strips the text before storing it; the text is the caller's business, so take theirs.
        text = decoded(read_container(expected)[0]).rstrip(b"\0") + b"\0"
        assert our_container(our_entry(1, arch, text, level, name=name, options=options)) == expected


@pytest.mark.parametrize("arch", ["80", "121"])
def test_debug_entries_equal_libnvfatbin(arch: str) -> None:
    cubin = ptxas.cubin(arch, options=("-g",))
    expected = nvfatbin.FatbinWriter([*nvfatbin.UNCOMPRESSED, "-g"]).add_cubin(cubin, arch).finish()
    assert our_container(our_entry(2, arch, cubin, debug=True)) == expected
    assert read_container(expected)[0].flags & 2


def test_container_of_several_entries_equals_libnvfatbin() -> None:
    writer = nvfatbin.FatbinWriter()
    for arch in ARCHS:
        writer.add_cubin(ptxas.cubin(arch), arch)
    expected = writer.finish()
    # The library orders entries by itself; the container is compared entry by entry, then as a whole.
    order = [entry.arch for entry in read_container(expected)]
    assert sorted(order) == sorted(ARCHS)
    assert our_container(*(our_entry(2, arch, ptxas.cubin(arch)) for arch in order)) == expected


def test_descriptor_is_the_cubins_compat_section_from_sm_100_on() -> None:
    for arch in ARCHS:
        cubin = ptxas.cubin(arch)
        section = ELFFile(io.BytesIO(cubin)).get_section_by_name(".nv.compat")
        (entry,) = read_container(our_container(our_entry(2, arch, cubin)))
        assert entry.arch == arch
        assert entry.payload[: len(cubin)] == cubin
        assert entry.version == (1, 8)
        if split(arch)[0] < 100:
            assert (entry.text, entry.flags & 0x1000000) == (b"", 0)
        else:
            assert entry.text == section.data() != b""
            assert entry.flags & 0x1000000


def test_old_abi_cubin_gets_entry_version_1_7() -> None:
    cubin = bytearray(ptxas.cubin("80"))
    flags = int.from_bytes(cubin[0x30:0x34], "little")
    assert (flags >> 8) & 0xFF == 80
    cubin[7:9] = bytes((0x33, 7))
    cubin[0x30:0x34] = (80 | 80 << 16).to_bytes(4, "little")
    (entry,) = read_container(our_container(our_entry(2, "80", bytes(cubin))))
    assert entry.version == (1, 7)


@pytest.mark.parametrize(("declared", "actual"), [("120", "121"), ("121", "121a"), ("121a", "121"), ("90", "90a")])
def test_entry_that_contradicts_its_cubin_is_refused(declared: str, actual: str) -> None:
    with pytest.raises(ValueError, match=r"declared for sm_120, but the cubin is for sm_121|'a'"):
        our_entry(2, declared, ptxas.cubin(actual))


def test_family_suffix_is_taken_on_trust() -> None:
    # Nothing in a cubin tells 121f from 121 (docs/formats.md 5), so both declarations must work.
    (entry,) = read_container(our_container(our_entry(2, "121f", ptxas.cubin("121"))))
    assert entry.arch == "121f"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": 8}, "kind must be 1 .* or 2 .*, not 8"),
        ({"arch": 0}, "architecture 0"),
        ({"suffix": "b"}, "suffix must be 'a', 'f' or none"),
        ({"suffix": "af"}, "suffix must be 'a', 'f' or ''"),
        ({"image": b""}, "empty image"),
        ({"image": ptxas.ptx()[:-1]}, "must end with its one NUL"),
        ({"image": ptxas.ptx() + b"\0"}, "must end with its one NUL"),
        ({"compressed": b"\x04\x22\x4d\x18 is LZ4"}, "no zstd frame"),
        ({"compressed": b"\x28\xb5"}, "no zstd frame"),
        ({"name": "a\0b"}, "NUL in name or options"),
        ({"options": "a\0b"}, "NUL in name or options"),
        ({"kind": 2, "image": ptxas.cubin("80"), "options": "-v"}, "options belong to PTX"),
    ],
)
def test_senseless_specifications_are_refused(change: dict[str, object], message: str) -> None:
    good = {"kind": 1, "arch": 80, "suffix": "", "image": ptxas.ptx()}
    assert _core.make_entry(**good)
    with pytest.raises(ValueError, match=message) as caught:
        _core.make_entry(**(good | change))
    assert not isinstance(caught.value, _core.ParseError)


@pytest.mark.parametrize("text", [b".target sm_80\n\0", b".version nine\n\0", b".version 9\n\0", b".version 9.x\n\0"])
def test_ptx_without_a_version_is_malformed(text: bytes) -> None:
    with pytest.raises(_core.ParseError, match=r"\.version"):
        _core.make_entry(kind=1, arch=80, image=text)


def test_cubin_cut_short_is_malformed() -> None:
    cubin = ptxas.cubin("121")
    for length in (3, 63, 64, len(cubin) // 2):
        with pytest.raises(_core.ParseError):
            _core.make_entry(kind=2, arch=121, image=cubin[:length])


def test_container_refuses_pieces_that_are_no_entries() -> None:
    entry = our_entry(1, "80", ptxas.ptx())
    assert our_container(entry, entry)[16:] == entry + entry
    for wrong in (entry[:-8], entry + bytes(8), entry[8:], b""):
        with pytest.raises(_core.ParseError, match=r"entry"):
            our_container(entry, wrong)


def test_container_header_is_that_of_the_whole() -> None:
    entry = our_entry(1, "80", ptxas.ptx())
    assert _core.make_container_header(len(entry)) == our_container(entry)[:16]
