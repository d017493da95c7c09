"""What cannot be rewritten is refused with its reason, and then nothing is written."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf
from tests.unit.core.rewriting import LAYOUTS

NEW = elf.filled_container(5)
SMALL = elf.filled_container(1)  # fits where the first container was
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

    def append(self, edits: object = None) -> _core.RewriteResult:
        return self.rewrite("append", [self.sample.edit(0, NEW)] if edits is None else edits)

    def rewrite(self, layout: str, edits: object = None) -> _core.RewriteResult:
        source, out = self.folder / "source", self.folder / "out"
        source.write_bytes(self.data)
        try:
            return _core.rewrite_containers(
                source, out, [self.sample.edit(0, SMALL)] if edits is None else edits, layout=layout
            )
        except Exception:
            assert sorted(self.folder.iterdir()) == [source], "something half-written is left"
            raise


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lld-android", "Android's packed format"),
        ("gnu-exec", "program without a program header to spare: its header table does not move"),
        ("gnu-pie", "program without a program header to spare: its header table does not move"),
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
        _core.rewrite_containers(path, tmp_path / "out", [(64, [wrapper], [NEW])], layout="append")


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_file_that_was_patched_before(first: str, second: str, tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    once = tmp_path / "once"
    result = _core.rewrite_containers(sample.path, once, [sample.edit(0, SMALL)], layout=first)
    (target, _, _) = _core.elf_slots(once.read_bytes(), sample.slots[:1])[0]
    assert target
    edit = (result.containers[0], [sample.wrappers[0]], [SMALL])
    with pytest.raises(_core.RewriteRefused, match="patched before"):
        _core.rewrite_containers(once, tmp_path / "twice", [edit], layout=second)


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
        offset = file.get_section_by_name(".nv_fatbin")["sh_offset"]
        other = file.get_section_by_name("__nv_relfatbin")["sh_offset"]
    for layout in LAYOUTS:
        with pytest.raises(_core.RewriteRefused, match=r"not in section \.nv_fatbin"):
            _core.rewrite_containers(path, tmp_path / "out", [(other, [wrapper + 24], [NEW])], layout=layout)
        _core.rewrite_containers(path, tmp_path / layout, [(offset, [wrapper], [NEW])], layout=layout)


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
        poked.append([(0, [at], [NEW])])


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
    at, first, data = sample.offsets[0], sample.wrappers[0], NEW
    lying = bytearray(data)
    lying[8] ^= 8
    return {
        "none": [],
        "no wrapper": [(at, [], [data])],
        "no pieces": [(at, [first], [])],
        "twice": [(at, [first], [data]), (at, [first], [data])],
        "not a wrapper": [(at, [first + 8], [data])],
        "other container": [(sample.offsets[1], [first], [data])],
        "split header": [(at, [first], [data[:8], data[8:]])],
        "not a container": [(at, [first], [bytes(32)])],
        "lying header": [(at, [first], [bytes(lying)])],
        "cut short": [(at, [first], [data[:-1]])],
        "range outside": [(at, [first], [data[:16], (len(sample.data) - 8, 16)])],
        "overflowing range": [(at, [first], [data[:16], (8, 2**64 - 1)])],
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("none", "no edits"),
        ("no wrapper", "edit without a wrapper"),
        ("no pieces", "smaller than a container header"),
        ("twice", "one wrapper in two edits"),
        ("other container", "does not lead to the container at"),
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
        Poked(tmp_path).append([(0, [2**64 - 8], [NEW])])


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


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 'repack', 'append' or 'move', found 'other'"):
        Poked(tmp_path).rewrite("other")


WHOLE = pytest.mark.parametrize("layout", ["repack", "move"])


def test_containers_that_do_not_fit(tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    with pytest.raises(_core.RewriteRefused, match=r"do not fit where they were: \d+ bytes, section \.nv_fatbin has"):
        poked.rewrite("repack", [poked.sample.edit(0, NEW)])


@pytest.mark.parametrize("name", ["gnu-pie", "gnu-exec", "gnu-exec-note", "gnu-pie-note"])
def test_program_is_not_moved(name: str, tmp_path: Path) -> None:
    with pytest.raises(_core.RewriteRefused, match="program: layout move is for libraries"):
        Poked(tmp_path, name).rewrite("move")


@WHOLE
def test_relocation_elsewhere_that_leads_to_a_container(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    (address, _, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    with poked.sample.path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".rela.dyn")
        records = [
            section["sh_offset"] + 24 * i
            for i, r in enumerate(section.iter_relocations())
            if r["r_offset"] not in poked.sample.slots and r["r_info_type"] == 8
        ]
    poked.poke("Q", records[0] + 16, address + 16)
    with pytest.raises(_core.RewriteRefused, match=r"relocation at address .* belongs to no wrapper") as caught:
        poked.rewrite(layout)
    assert caught.value.offset == records[0]
    assert poked.append().layout == "append"


@WHOLE
def test_packed_relocation_elsewhere_that_leads_to_a_container(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path, "gnu-relr")
    (address, how, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    assert how == "relr"
    with poked.sample.path.open("rb") as file:
        word = ELFFile(file).get_section_by_name(".init_array")["sh_offset"]
    poked.poke("Q", word, address)
    with pytest.raises(_core.RewriteRefused, match=r"relocation at address .* belongs to no wrapper") as caught:
        poked.rewrite(layout)
    assert caught.value.offset == word


def test_word_of_a_fixed_address_program_that_may_be_a_pointer(tmp_path: Path) -> None:
    poked = Poked(tmp_path, "gnu-exec")
    (address, how, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    assert how == "in-place"
    with poked.sample.path.open("rb") as file:
        word = ELFFile(file).get_section_by_name(".data")["sh_offset"]
    poked.poke("Q", word, address)
    with pytest.raises(_core.RewriteRefused, match=r"word at address .* belongs to no wrapper"):
        poked.rewrite("repack")


@WHOLE
def test_dynamic_symbol_that_names_a_container(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    (address, _, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    with poked.sample.path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        numbers = [i for i, s in enumerate(section.iter_symbols()) if s.name == "shim_container"]
        at = section["sh_offset"] + 24 * numbers[0]
    poked.poke("Q", at + 8, address)
    with pytest.raises(_core.RewriteRefused, match=r"dynamic symbol .* is in \.nv_fatbin") as caught:
        poked.rewrite(layout)
    assert caught.value.offset == at


@WHOLE
@pytest.mark.parametrize(("tag", "name"), [(5, "strings"), (25, "constructors")])
def test_dynamic_entry_that_leads_to_a_container(tag: int, name: str, layout: str, tmp_path: Path) -> None:
    del name
    poked = Poked(tmp_path)
    (address, _, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    with poked.sample.path.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        tags = [t.entry.d_tag for t in dynamic.iter_tags()]
        at = dynamic["sh_offset"] + 16 * tags.index({5: "DT_STRTAB", 25: "DT_INIT_ARRAY"}[tag])
    poked.poke("Q", at + 8, address)
    with pytest.raises((_core.RewriteRefused, _core.ParseError)):
        poked.rewrite(layout)


@WHOLE
def test_section_with_bytes_of_no_container(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path, "gnu-rela")
    end = poked.sample.offsets[2] + len(poked.sample.containers[2])
    with poked.sample.path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".nv_fatbin")
        assert section["sh_offset"] + section["sh_size"] == end
    poked.poke("Q", section_header_of(poked.sample.path, ".nv_fatbin") + 32, end - section["sh_offset"] - 8)
    with pytest.raises(_core.RewriteRefused, match=r"container leaves section \.nv_fatbin"):
        poked.rewrite(layout)
    poked.poke("Q", section_header_of(poked.sample.path, ".nv_fatbin") + 32, section["sh_size"])
    # The first container ends 72 bytes earlier than its wrapper's neighbour starts.
    poked.poke("Q", poked.sample.offsets[1] + 8, len(poked.sample.containers[1]) - 16 - 72)
    with pytest.raises(_core.RewriteRefused, match="holds bytes that are no container"):
        poked.rewrite(layout)


@WHOLE
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (4, 8, "is no loaded data"),  # sh_type = SHT_NOBITS
        (8, 0, "is no loaded data"),  # sh_flags
        (16, 0x10, "not in section|in no loaded segment"),  # sh_addr
        (24, 0x10, "in no loaded segment"),  # sh_offset
        (32, 0, "not in section|no loaded data"),  # sh_size
    ],
)
def test_section_header_that_disagrees(field: int, value: int, message: str, layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    form = "I" if field == 4 else "Q"
    poked.poke(form, section_header_of(poked.sample.path, ".nv_fatbin") + field, value)
    with pytest.raises(_core.RewriteRefused, match=message):
        poked.rewrite(layout)


@WHOLE
def test_other_things_in_the_section(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    at = poked.sample.offsets[0]
    poked.poke("Q", section_header_of(poked.sample.path, ".comment") + 24, at)
    with pytest.raises(_core.RewriteRefused, match=r"section \d+ has bytes in section \.nv_fatbin"):
        poked.rewrite(layout)
    (tmp_path / "two").mkdir()
    poked = Poked(tmp_path / "two")
    note = header_of(poked.sample.path, "PT_NOTE")
    poked.poke("Q", note + 8, at)
    with pytest.raises(_core.RewriteRefused, match=r"segment \d+ has bytes in section \.nv_fatbin"):
        poked.rewrite(layout)


@WHOLE
def test_entry_point_in_the_section(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    (address, _, _) = _core.elf_slots(poked.sample.data, poked.sample.slots[:1])[0]
    poked.poke("Q", 24, address)
    with pytest.raises(_core.RewriteRefused, match=r"entry point is in section \.nv_fatbin"):
        poked.rewrite(layout)


@WHOLE
def test_edit_of_no_container(layout: str, tmp_path: Path) -> None:
    poked = Poked(tmp_path)
    with pytest.raises(ValueError, match="no container at file offset 64 in section"):
        poked.rewrite(layout, [(64, [], [SMALL])])
    with pytest.raises(ValueError, match="two edits of one container"):
        poked.rewrite(layout, [poked.sample.edit(0, SMALL), (poked.sample.offsets[0], [], [SMALL])])
