"""Files that nvcc made, against pyelftools and the independent reader of tests/oracles."""

from __future__ import annotations

import io
import struct
from collections import Counter

import lz4.block
import pytest
import zstandard
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection, RelrRelocationSection

from shim.devicecode import ContainerRole, DeviceCode, GpuImage, ImageKind, decode, kernels_in, read_cubin
from tests.builders import samples
from tests.builders.reading import facts, images_of, payload, read_file, read_stream
from tests.oracles import reference_reader as reference

LINKED = [n for n in samples.NAMES if n.endswith(".so") or n.startswith("program")]
OBJECTS = [n for n in samples.NAMES if n.endswith(".o")]
ARCHIVES = [n for n in samples.NAMES if n.endswith(".a")]
KINDS = {ImageKind.PTX: "ptx", ImageKind.SASS: "cubin", ImageKind.LTO_IR: "ltoir"}
CODE_SECTIONS = (".nv_fatbin", "__nv_relfatbin")


def members(data: bytes) -> dict[int, bytes]:
    """Objects of an archive by their offset; the file itself, at 0, when it is none."""
    if not data.startswith(b"!<arch>\n"):
        return {0: data}
    found = {}
    at = 8
    while at < len(data):
        size = int(data[at + 48 : at + 58])
        found[at + 60] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return {at: body for at, body in found.items() if body.startswith(b"\x7fELF")}


def containers_by_section(data: bytes) -> dict[int, tuple[str, bytes]]:
    """Offset -> (section, bytes) of each container, by walking the sections and stepping over zeros."""
    found = {}
    for base, body in members(data).items():
        elf = ELFFile(io.BytesIO(body))
        for section in filter(None, map(elf.get_section_by_name, CODE_SECTIONS)):
            at, end = section["sh_offset"], section["sh_offset"] + section["sh_size"]
            while at < end:
                if body[at : at + 8] == bytes(8):
                    at += 8
                    continue
                one = reference.container_at(body, at)
                found[base + at] = (section.name, one)
                at += len(one)
    return found


def pointers_by_relocation(data: bytes) -> dict[int, int]:
    """Offset of each wrapper -> offset of what its pointer leads to after relocation, as pyelftools sees it."""
    found = {}
    for base, body in members(data).items():
        elf = ELFFile(io.BytesIO(body))
        segment = elf.get_section_by_name(".nvFatBinSegment")
        for at in range(0, segment["sh_size"], 24):
            slot = segment["sh_addr"] + at + 8
            found[base + segment["sh_offset"] + at] = base + target_of(elf, body, segment, slot)
    return found


def target_of(elf: ELFFile, body: bytes, segment, slot: int) -> int:
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection | RelrRelocationSection):
            continue
        if elf["e_type"] == "ET_REL" and section["sh_info"] != elf.get_section_index(segment.name):
            continue
        for relocation in section.iter_relocations():
            if relocation["r_offset"] != slot or isinstance(section, RelrRelocationSection):
                continue
            if elf["e_type"] == "ET_REL":
                symbols = elf.get_section(section["sh_link"])
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                return elf.get_section(symbol["st_shndx"])["sh_offset"] + symbol["st_value"] + relocation["r_addend"]
            return next(elf.address_offsets(relocation["r_addend"]))
    in_place = segment["sh_offset"] + slot - segment["sh_addr"]
    return next(elf.address_offsets(struct.unpack_from("<Q", body, in_place)[0]))


def assert_same_entry(image: GpuImage, expected: reference.Entry, start: int, data: bytes) -> None:
    assert (KINDS[image.kind], str(image.arch)) == (expected.kind, expected.arch)
    assert image.offset == start + expected.offset
    assert data[image.offset : image.offset + image.stored_size] == expected.raw
    assert image.compression.value == expected.compression
    assert (image.size, image.version, image.flags) == (expected.size, expected.version, expected.flags)
    assert image.name == expected.name
    text = image.compat if image.kind is ImageKind.SASS else image.options.encode()
    assert text == expected.text
    plain = {
        "none": lambda: expected.payload,
        "lz4": lambda: lz4.block.decompress(expected.payload, uncompressed_size=expected.size),
        "zstd": lambda: zstandard.ZstdDecompressor().decompress(expected.payload),
    }[expected.compression]()
    assert decode(image, payload(data, image)) == (plain.rstrip(b"\0") if image.kind is ImageKind.PTX else plain)


@pytest.mark.parametrize("name", [*LINKED, *OBJECTS, *ARCHIVES])
def test_containers_and_entries(name: str) -> None:
    data = samples.sample(name)
    code = read_stream(data, name)
    expected = containers_by_section(data)
    assert [(c.offset, c.section, c.size) for c in code.containers] == sorted(
        (at, section, len(body)) for at, (section, body) in expected.items()
    )
    for found in code.containers:
        entries = reference.read_container(expected[found.offset][1])
        for image, entry in zip(found.images, entries, strict=True):
            assert_same_entry(image, entry, found.offset, data)
    assert code.unknown == ()


@pytest.mark.parametrize("name", [*LINKED, *OBJECTS, *ARCHIVES])
def test_wrappers(name: str) -> None:
    data = samples.sample(name)
    code = read_stream(data, name)
    assert {w.offset: w.target for w in code.wrappers} == pointers_by_relocation(data)
    assert len(code.wrappers) == len(code.containers)
    how = "symbol" if name not in LINKED else {"relr.so": "relr", "program-no-pie": "in-place"}.get(name, "rela")
    assert {w.pointer for w in code.wrappers} == {how}


def roles(code: DeviceCode) -> Counter[ContainerRole]:
    return Counter(c.role for c in code.containers)


def test_roles() -> None:
    whole, prelinked, linked = ContainerRole.WHOLE, ContainerRole.PRELINKED, ContainerRole.LINKED
    expected = {
        "whole.so": {whole: 2},
        "program": {whole: 1},
        "whole.o": {whole: 1},
        "whole.a": {whole: 2},
        "rdc.so": {prelinked: 2, linked: 1},
        "program-rdc": {prelinked: 3, linked: 1},
        "rdc.o": {prelinked: 1},
        "rdc.a": {prelinked: 2},
        "images.fatbin": {ContainerRole.FILE: 1},
    }
    assert {name: dict(roles(read_stream(samples.sample(name), name))) for name in expected} == expected


@pytest.mark.parametrize("name", [*LINKED, *OBJECTS, *ARCHIVES, "images.fatbin"])
def test_every_container_holds_what_was_asked_for(name: str) -> None:
    for container in read_stream(samples.sample(name), name).containers:
        found = {(i.kind.value, str(i.arch)) for i in container.images}
        assert found == {i for i in samples.IMAGES if container.role is not ContainerRole.LINKED or i[0] == "sass"}


def kernel_symbols(cubin: bytes) -> set[tuple[str, int]]:
    """(name, size) of the entry functions, by pyelftools: st_info FUNC and st_other 0x10 of the type-2 table."""
    elf = ELFFile(io.BytesIO(cubin))
    table = next(s for s in elf.iter_sections() if s["sh_type"] == "SHT_SYMTAB")
    raw = table.data()
    found = set()
    for at in range(0, len(raw), 24):
        info, other = raw[at + 4], raw[at + 5]
        if info & 0xF == 2 and other & 0x10:
            symbol = table.get_symbol(at // 24)
            found.add((symbol.name, symbol["st_size"]))
    return found


@pytest.mark.parametrize("name", ["whole.so", "rdc.so", "lz4.so", "small.so", "debug.so", "rdc.a"])
def test_kernels(name: str) -> None:
    data = samples.sample(name)
    for container in read_stream(data, name).containers:
        names = set()
        for image in container.images:
            plain = decode(image, payload(data, image))
            kernels = kernels_in(image.kind, plain)
            names.add(frozenset(k.name for k in kernels))
            if image.kind is ImageKind.SASS:
                assert {(k.name, k.size) for k in kernels} == kernel_symbols(plain)
                info = read_cubin(plain)
                assert (info.abi, info.sm) == (8, image.arch.capability.sm)
                assert info.feature == image.arch.feature.replace("f", "")
            else:
                assert all(k.instructions > 3 for k in kernels)
        assert len(names) == 1, "all images of a container define the same kernels"


def test_parameters_agree_between_ptx_and_sass() -> None:
    data = samples.sample("whole.so")
    first = read_stream(data).containers[0]
    signatures = {
        tuple(sorted((k.name, k.parameters) for k in kernels_in(i.kind, decode(i, payload(data, i)))))
        for i in first.images
    }
    assert signatures == {(("_Z5scaleIdEvPT_i", ((0, 8), (1, 4))), ("_Z5scaleIfEvPT_i", ((0, 8), (1, 4))))}


def test_line_information_hides_no_instruction() -> None:
    """-lineinfo puts a .loc line, which has no semicolon, before nearly every instruction."""

    def instructions(name: str) -> dict[str, int]:
        data = samples.sample(name)
        images = [i for i in images_of(read_stream(data)) if i.kind is ImageKind.PTX and str(i.arch) == "80"]
        kernels = [k for i in images for k in kernels_in(i.kind, decode(i, payload(data, i)))]
        return {k.name: k.instructions for k in kernels}

    assert instructions("debug.so") == instructions("whole.so")
    assert min(instructions("debug.so").values()) > 3


@pytest.mark.parametrize(
    ("name", "kind", "arch"),
    [
        ("images.cubin", ImageKind.SASS, "121a"),
        ("relocatable.cubin", ImageKind.SASS, "120f"),
        ("text.ptx", ImageKind.PTX, "120f"),
        ("link.ltoir", ImageKind.LTO_IR, "None"),
    ],
)
def test_standalone(name: str, kind: ImageKind, arch: str) -> None:
    """A bare cubin does not record the suffix f (docs/formats.md 5)."""
    data = samples.sample(name)
    (image,) = read_stream(data, name).loose
    assert (image.kind, str(image.arch), image.offset, image.size) == (kind, arch, 0, len(data))


def test_lto_image() -> None:
    (image,) = images_of(read_stream(samples.sample("link.fatbin"), "a.fatbin"))
    assert (image.kind, str(image.arch)) == (ImageKind.LTO_IR, "90a")
    assert image.options.split()[0].startswith("-ftz=")


@pytest.mark.parametrize("name", samples.NAMES)
def test_stream_equals_mapping(name: str, tmp_path) -> None:
    data = samples.sample(name)
    mapped = facts(read_file(tmp_path, data, name))
    for step in (1 << 20, 65536, 4099, 511):
        assert facts(read_stream(data, name, range(step, len(data), step))) == mapped


def test_static_strip_keeps_everything_but_the_symbols() -> None:
    """The reader needs no symbols: `fatbinData` of nvcc is gone in most wheels."""
    full, stripped = (read_stream(samples.sample(n)) for n in ("whole.so", "stripped.so"))
    assert [c.images for c in full.containers] == [c.images for c in stripped.containers]
