"""What cannot be rewritten is refused with its reason, and then nothing is written."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf

NEW = elf.filled_container(5)
PHDR = 56


def header_of(path: Path, kind: str, number: int = -1) -> int:
    """File offset of the program header of the `number`-th segment of a kind."""
    with path.open("rb") as file:
        parsed = ELFFile(file)
        found = [i for i, s in enumerate(parsed.iter_segments()) if s["p_type"] == kind]
        return parsed["e_phoff"] + found[number] * PHDR


def section_header_of(path: Path, name: str) -> int:
    with path.open("rb") as file:
        parsed = ELFFile(file)
        return parsed["e_shoff"] + parsed.get_section_index(name) * 64


def rela_of(sample: elf.Sample, slot: int) -> int:
    """File offset of the relocation record of the `slot`-th wrapper pointer."""
    return _core.elf_slots(sample.data, [sample.slots[slot]])[0][2]


class Poked:
    """A sample with a few bytes changed, as a file."""

    def __init__(self, folder: Path, name: str = "gnu-rela") -> None:
        self.sample = elf.sample(name)
        self.data = bytearray(self.sample.data)
        self.folder = folder

    def poke(self, form: str, offset: int, *values: int) -> Poked:
        struct.pack_into("<" + form, self.data, offset, *values)
        return self

    def append(self, edits: object = None) -> _core.AppendResult:
        source, out = self.folder / "source", self.folder / "out"
        source.write_bytes(self.data)
        try:
            return _core.append_containers(
                source, out, [([self.sample.wrappers[0]], [NEW])] if edits is None else edits
            )
        except Exception:
            assert sorted(self.folder.iterdir()) == [source], "something half-written is left"
            raise


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lld-android", "Android's packed format"),
        ("gnu-exec", "executable at a fixed address without a program header to spare"),
        ("gnu-pie-big-bss", "program whose header table cannot move"),
    ],
)
def test_layouts_that_cannot_be_rewritten(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(_core.RewriteRefused, match=message):
        Poked(tmp_path, name).append()


def test_object_file(tmp_path: Path) -> None:
    path = elf.build_object(tmp_path / "o", [elf.Container(data=NEW)])
    with path.open("rb") as file:
        wrapper = ELFFile(file).get_section_by_name(elf.SEGMENT)["sh_offset"]
    with pytest.raises(_core.RewriteRefused, match="unlinked object file"):
        _core.append_containers(path, tmp_path / "out", [([wrapper], [NEW])])


def test_file_that_was_patched_before(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    _core.append_containers(sample.path, tmp_path / "once", [([sample.wrappers[0]], [NEW])])
    with pytest.raises(_core.RewriteRefused, match="patched before"):
        _core.append_containers(tmp_path / "once", tmp_path / "twice", [([sample.wrappers[1]], [NEW])])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (1 << 40, "points outside the loaded parts"),
        (2**64 - 8, "points outside the loaded parts"),
        (0x40, "does not point to a fatbin container"),
    ],
)
def test_wrapper_pointer_that_leads_elsewhere(target: int, message: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", rela_of(poked.sample, 0) + 16, target)
    with pytest.raises(_core.RewriteRefused, match=message) as caught:
        poked.append()
    assert caught.value.offset == poked.sample.wrappers[0] + 8


def test_prelinked_container_stays_in_its_section(tmp_path: Path) -> None:
    parts = [elf.Container(data=NEW, version=2), elf.Container(data=NEW, section="__nv_relfatbin")]
    path = elf.build(tmp_path / "rdc", "gnu-rela", parts)
    with ELFFile.load_from_path(str(path)) as file:
        wrapper = file.get_section_by_name(elf.SEGMENT)["sh_offset"]
    with pytest.raises(_core.RewriteRefused, match=r"not in section \.nv_fatbin"):
        _core.append_containers(path, tmp_path / "out", [([wrapper + 24], [NEW])])
    _core.append_containers(path, tmp_path / "out", [([wrapper], [NEW])])


def test_encrypted_container(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("I", poked.data.index(poked.sample.containers[0]), 0x12345678)
    with pytest.raises(_core.RewriteRefused, match="does not point to a fatbin container"):
        poked.append()


def test_pointer_that_nothing_relocates(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", rela_of(poked.sample, 0), poked.sample.slots[0] - 8)
    with pytest.raises(_core.RewriteRefused, match="has no relocation"):
        poked.append()


def test_pointer_with_two_relocations(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", rela_of(poked.sample, 1), poked.sample.slots[0])
    with pytest.raises(_core.ParseError, match="two relocations"):
        poked.append()


def test_unknown_wrapper_version(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("I", poked.sample.wrappers[0] + 4, 3)
    with pytest.raises(_core.RewriteRefused, match="unknown version 3"):
        poked.append()


def test_wrapper_outside_the_loaded_parts(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    at = len(poked.data)
    poked.data += struct.pack("<IIQQ", 0x466243B1, 1, 0, 0)
    with pytest.raises(_core.RewriteRefused, match="in no loaded part"):
        poked.append([([at], [NEW])])


@pytest.mark.parametrize("align", [3, 0x1800, 1 << 27, 1 << 63])
def test_segment_alignment_that_is_none(align: int, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", header_of(poked.sample.path, "PT_LOAD") + 48, align)
    with pytest.raises(_core.RewriteRefused, match="no power of two up to 64 MiB"):
        poked.append()


def test_segment_whose_address_disagrees_with_its_offset(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    # GNU ld puts the writable segment one page (0x1000) further in memory than in the file.
    poked.poke("Q", header_of(poked.sample.path, "PT_LOAD") + 48, 0x2000)
    with pytest.raises(_core.RewriteRefused, match="address and file offset disagree modulo its alignment"):
        poked.append()


def test_no_address_left(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", header_of(poked.sample.path, "PT_LOAD") + 40, 1 << 47)
    with pytest.raises(_core.RewriteRefused, match="no address left"):
        poked.append()


def test_two_sections_of_the_name(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    path = poked.sample.path
    (name,) = struct.unpack_from("<I", poked.data, section_header_of(path, ".nv_fatbin"))
    poked.poke("I", section_header_of(path, ".comment"), name)
    with pytest.raises(_core.RewriteRefused, match=r"two sections named \.nv_fatbin"):
        poked.append()


def test_section_alignment_that_is_none(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("Q", section_header_of(poked.sample.path, ".nv_fatbin") + 48, 24)
    with pytest.raises(_core.RewriteRefused, match=r"alignment of \.nv_fatbin is 24"):
        poked.append()


def test_tables_that_overlap_where_they_must_be_changed(tmp_path: Path) -> None:
    # A symbol table laid over the wrapper's relocation record: st_value falls on its addend.
    poked = Poked(tmp_path)
    path, record = poked.sample.path, rela_of(poked.sample, 0)
    with path.open("rb") as file:
        section = ELFFile(file).get_section_index(".nv_fatbin")
    poked.poke("Q", record + 8, 8 | 1 << 32 | section << 48)
    poked.poke("QQ", section_header_of(path, ".symtab") + 24, record + 8, 24)
    with pytest.raises(_core.RewriteRefused, match="tables of the file overlap"):
        poked.append()


def edits_case(case: str, sample: elf.Sample) -> object:
    first, data = sample.wrappers[0], NEW
    lying = bytearray(data)
    lying[8] ^= 8
    return {
        "none": [],
        "no wrapper": [([], [data])],
        "no pieces": [([first], [])],
        "twice": [([first], [data]), ([first], [data])],
        "not a wrapper": [([first + 8], [data])],
        "split header": [([first], [data[:8], data[8:]])],
        "not a container": [([first], [bytes(32)])],
        "lying header": [([first], [bytes(lying)])],
        "cut short": [([first], [data[:-1]])],
        "range outside": [([first], [data[:16], (len(sample.data) - 8, 16)])],
        "overflowing range": [([first], [data[:16], (8, 2**64 - 1)])],
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("none", "no edits"),
        ("no wrapper", "edit without a wrapper"),
        ("no pieces", "smaller than a container header"),
        ("twice", "one wrapper in two edits"),
        ("not a wrapper", "no fatbin wrapper at file offset"),
        ("split header", "smaller than a container header"),
        ("not a container", "does not start with a container header"),
        ("lying header", "header says .* bytes follow"),
        ("cut short", "header says .* bytes follow"),
        ("range outside", "leaves the input file"),
        ("overflowing range", "leaves the input file"),
    ],
)
def test_senseless_edits(case: str, message: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        poked.append(edits_case(case, poked.sample))
    assert not isinstance(caught.value, _core.RewriteRefused | _core.ParseError)


def test_wrapper_offset_outside_the_file(tmp_path: Path) -> None:
    with pytest.raises(_core.ParseError, match=r"fatbin wrapper: 24 bytes at offset .* leave the file"):
        Poked(tmp_path).append([([2**64 - 8], [NEW])])


def test_spare_header_entry_is_taken(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    poked.poke("I", header_of(poked.sample.path, "PT_GNU_STACK"), 0)
    result = poked.append()
    assert (result.slot, result.strip_unsafe) == ("unused", False)


@pytest.mark.parametrize("field", [0, 4])
def test_note_that_cannot_be_read_is_left_alone(field: int, tmp_path: Path) -> None:
    poked = Poked(tmp_path, "gnu-note")
    with poked.sample.path.open("rb") as file:
        (note,) = [s["p_offset"] for s in ELFFile(file).iter_segments("PT_NOTE")]
    poked.poke("I", note + field, 2**32 - 1)
    assert poked.append().slot == "moved"


def test_restore_refuses_edits_outside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    for size, undo in ((101, []), (100, [(99, b"ab")]), (100, [(2**64 - 1, b"ab")])):
        with pytest.raises(ValueError, match=r"exceeds|leaves the original file"):
            _core.restore_file(path, tmp_path / "out", size, undo)
    assert sorted(tmp_path.iterdir()) == [path]
