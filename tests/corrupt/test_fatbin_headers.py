"""One field of a good container poked per case: the reader says what is wrong, where, what it expected."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.builders import cubin as cubins
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import CONTAINER_FIELDS, CUBIN, ENTRY_FIELDS, PTX, Image, poke
from tests.builders.hostfile import Code
from tests.builders.reading import error_of, images_of, read_stream

CONTAINER = fatbin.container(
    Image(kind=PTX, arch=80, payload=fatbin.ptx(), options="-v", name="a.cu"),
    Image(kind=CUBIN, arch=121, payload=cubins.cubin(121), compat=fatbin.compat((11, bytes(8)))),
)
FIRST, SECOND = fatbin.entry_offsets(CONTAINER)
LENGTH = len(CONTAINER)
HEADER = 0x40 + 8 + 16  # of the first entry: with name and options
LIB = hostfile.shared([Code(data=CONTAINER)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`field` of the header at `base` becomes `value`; the message names `where`, by default the header."""

    field: tuple[int, str]
    value: int
    message: str
    base: int = FIRST
    where: int | None = None

    def apply(self, data: bytes, start: int = 0) -> bytes:
        return poke(data, start + self.base + self.field[0], self.field[1], self.value)

    @property
    def at(self) -> int:
        return self.base if self.where is None else self.where


C, E = CONTAINER_FIELDS, ENTRY_FIELDS
OPTIONS, OPTIONS_LENGTH = (0x48, "<I"), (0x4C, "<I")
COMPAT, COMPAT_LENGTH = (0x40, "<I"), (0x44, "<I")
MAX32, MAX64 = 2**32 - 1, 2**64 - 1

CASES = {
    "container-version": Case(
        field=C["version"],
        base=0,
        value=2,
        message="expected version 1 with a 16-byte header, found version 2",
    ),
    "container-header-size": Case(field=C["header_size"], base=0, value=24, message="found version 1 with 24 bytes"),
    "container-leaves-file": Case(
        field=C["size"], base=0, value=1 << 40, message=f"body of {1 << 40} bytes leaves the file of"
    ),
    "container-size-overflows": Case(
        field=C["size"], base=0, value=MAX64, message=f"body of {MAX64} bytes leaves the file of"
    ),
    "container-cuts-entry": Case(field=C["size"], base=0, value=LENGTH - 24, message="do not fit the", where=SECOND),
    "container-leaves-rest": Case(
        field=C["size"],
        base=0,
        value=SECOND + 16,
        message="32 bytes left in the container, a header",
        where=SECOND,
    ),
    "header-0": Case(field=E["header_size"], value=0, message="header size 0 (expected a multiple of 8 from 64"),
    "header-below-64": Case(field=E["header_size"], value=56, message="header size 56 ("),
    "header-odd": Case(field=E["header_size"], value=HEADER + 1, message=f"header size {HEADER + 1} ("),
    "header-huge": Case(field=E["header_size"], value=MAX32 - 7, message=f"header size {MAX32 - 7} ("),
    "header-leaves-container": Case(field=E["header_size"], value=0x8000, message="header of 32768 and payload of"),
    "payload-overflows": Case(
        field=E["payload_size"], value=MAX64 - 7, message=f"payload of {MAX64 - 7} bytes do not fit the"
    ),
    "payload-not-padded": Case(
        field=E["payload_size"], value=MAX64, message=f"payload of {MAX64} bytes do not fit the"
    ),
    "payload-leaves-container": Case(
        field=E["payload_size"],
        base=SECOND,
        value=LENGTH,
        message=f"payload of {LENGTH} bytes do not fit the",
    ),
    "compressed-size": Case(
        field=E["compressed_size"], value=4096, message="compressed size 4096 exceeds the stored payload of"
    ),
    "name-offset": Case(field=E["name"], value=HEADER, message="name of 4 bytes at 0x58 leaves the entry header of 88"),
    "name-offset-huge": Case(field=E["name"], value=MAX32, message="name of 4 bytes at 0xffffffff leaves"),
    "name-length": Case(
        field=E["name_length"], value=MAX32, message=f"name of {MAX32} bytes at 0x40 leaves the entry header"
    ),
    "descriptor-offset": Case(
        field=E["descriptor"], value=HEADER - 4, message="descriptor at 0x54 leaves the entry header of 88"
    ),
    "options-offset": Case(field=OPTIONS, value=HEADER, message="option text of 2 bytes at 0x58 leaves"),
    "options-length": Case(field=OPTIONS_LENGTH, value=MAX32, message=f"option text of {MAX32} bytes at 0x50 leaves"),
    "compat-offset": Case(
        field=COMPAT, base=SECOND, value=MAX32, message="copy of .nv.compat of 12 bytes at 0x100000000 leaves"
    ),
    "compat-length": Case(
        field=COMPAT_LENGTH, base=SECOND, value=500, message="copy of .nv.compat of 500 bytes at 0x49 leaves"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_file(name: str) -> None:
    case = CASES[name]
    found = error_of(case.apply(CONTAINER), "a.fatbin")
    assert case.message in found
    assert found.endswith(f"(at offset {case.at:#x})")


@pytest.mark.parametrize("name", CASES)
def test_library(name: str) -> None:
    """The same in a shared object: the offset is that in the library, and the section is named."""
    case = CASES[name]
    start = LIB.containers[0]
    found = error_of(case.apply(LIB.data, start), "pkg/lib.so")
    assert f".nv_fatbin: fatbin {'entry' if case.at else 'container'}: " in found
    assert case.message in found
    assert found.endswith(f"(at offset {start + case.at:#x})")


def test_magic() -> None:
    assert "fatbin file: expected magic 0xba55ed50" in error_of(poke(CONTAINER, 0, "<I", 1), "a.fatbin")
    start = LIB.containers[0]
    found = error_of(poke(LIB.data, start, "<I", 1))
    assert f"points at file offset {start}, where no fatbin container (magic 0xba55ed50) stands" in found


def test_broken_container_without_wrapper_or_section_is_no_container() -> None:
    """In plain data the magic can stand by chance: what does not add up there is no container."""
    bad = Code(data=poke(CONTAINER, FIRST + 4, "<I", 0), section=".data.rel", version=0)
    code = read_stream(hostfile.shared([bad, Code(data=CONTAINER)]).data)
    assert [c.section for c in code.containers] == [".nv_fatbin"]


def test_second_container_is_found_behind_a_broken_one() -> None:
    """The search goes on at the entry that made no sense, so a lying header hides nothing."""
    bad = poke(CONTAINER, SECOND + 4, "<I", 0)
    made = hostfile.shared([Code(data=bad + CONTAINER, section=".data.rel", version=0)])
    (container,) = read_stream(made.data).containers
    assert container.offset == made.containers[0] + len(bad)


class TestContainerAndSection:
    """A container belongs to its section as a whole."""

    def test_section_ends_inside_a_container(self) -> None:
        at = LIB.header[".nv_fatbin"] + 32
        found = error_of(poke(LIB.data, at, "<Q", LENGTH - 8))
        assert f".nv_fatbin: fatbin container of {LENGTH} bytes leaves the section of {LENGTH - 8}" in found
        assert found.endswith(f"(at offset {LIB.containers[0]:#x})")

    def test_sections_overlap(self) -> None:
        codes = [Code(data=CONTAINER), Code(data=CONTAINER, section="__nv_relfatbin")]
        made = hostfile.shared(codes)
        grown = poke(made.data, made.header[".nv_fatbin"] + 32, "<Q", 2 * LENGTH)
        found = error_of(grown)
        assert "__nv_relfatbin: overlaps another device-code section" in found
        assert found.endswith(f"(at offset {made.at['__nv_relfatbin']:#x})")

    def test_section_starts_inside_a_container(self) -> None:
        """Found by fuzzing: the bytes of an image were reported as unknown ones."""
        header = LIB.header[".nv_fatbin"]
        moved = poke(LIB.data, header + 24, "<Q", LIB.containers[0] + 8)
        found = error_of(poke(moved, header + 32, "<Q", LENGTH - 8))
        assert ".nv_fatbin: starts inside a fatbin container" in found
        assert found.endswith(f"(at offset {LIB.containers[0]:#x})")

    def test_hidden_container(self) -> None:
        """An entry of unknown kind that swallows the next container: the wrapper of that one tells."""
        swallow = Image(kind=0x40, arch=1, payload=CONTAINER)
        made = hostfile.shared([Code(data=CONTAINER), Code(data=CONTAINER)])
        outer = fatbin.container(swallow)
        assert len(outer) <= 2 * LENGTH
        data = made.data[: made.containers[0]] + outer + made.data[made.containers[0] + len(outer) :]
        assert re.search(r"points at file offset \d+, where no fatbin container", error_of(data))


class TestGroup:
    """The member table of a kind 0x100 entry."""

    DATA = fatbin.container(
        fatbin.group(
            Image(kind=PTX, arch=80, payload=fatbin.ptx()),
            Image(kind=PTX, arch=90, payload=fatbin.ptx("90"), name="n"),
        )
    )
    TABLE = 16 + 0x40
    MEMBER = TABLE + 8
    BLOB = fatbin.align8(len(fatbin.ptx())) + fatbin.align8(len(fatbin.ptx("90")))

    def test_good(self) -> None:
        assert [str(i.arch) for i in images_of(read_stream(self.DATA, "a.fatbin"))] == ["80", "90"]

    @pytest.mark.parametrize(
        ("at", "fmt", "value", "message"),
        [
            (TABLE, "<I", 3, "member table ends early"),
            (TABLE, "<I", 2**32 - 1, "member table ends early"),
            (TABLE + 4, "<I", 7, "member table of 7 bytes leaves the header"),
            (TABLE + 4, "<I", 2**32 - 1, "member table of 4294967295 bytes leaves the header"),
            (TABLE + 4, "<I", 72, "leaves the entry header of 64 bytes"),
            (MEMBER + 4, "<I", BLOB, f"bytes leaves the blob of {BLOB}"),
            (MEMBER + 8, "<Q", 2**64 - 1, f"member of {2**64 - 1} bytes leaves the blob of {BLOB}"),
            (MEMBER + 0x14, "<I", 0x4000, "descriptor at 0x4000 leaves"),
            (MEMBER + 0x20, "<I", 0x4000, "name of 0 bytes at 0x4000 leaves"),
            (16 + 0x14, "<I", 0, "fatbin group: no member table"),
            (16 + 0x14, "<I", 0x4000, "fatbin group: no member table"),
            (16 + 0x38, "<Q", 8, "leaves the blob of 8"),
        ],
    )
    def test_poked(self, at: int, fmt: str, value: int, message: str) -> None:
        found = error_of(poke(self.DATA, at, fmt, value), "a.fatbin")
        assert message in found
        assert found.endswith("(at offset 0x10)")


def test_group_count_below_the_table_is_taken() -> None:
    """A count that leaves bytes of the table over names fewer members; nothing is read past it."""
    data = poke(TestGroup.DATA, TestGroup.TABLE, "<I", 1)
    assert [str(i.arch) for i in images_of(read_stream(data, "a.fatbin"))] == ["80"]


def test_flood() -> None:
    """What a file makes the reader describe is bounded, whatever its size: here 600,000 containers."""
    many = Code(data=fatbin.container() * 600_000, version=0)
    found = error_of(hostfile.shared([many]).data, pieces=1 << 20)
    assert "more containers, wrappers and images than the reader's 256 MiB can describe" in found
