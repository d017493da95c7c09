"""Machine code of 12.0a marked as 12.1a is what the compiler writes for 12.1a, and everything else is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from shim import _core
from shim.applying.cubin_file import CubinFile
from shim.applying.link import link_cubins
from shim.applying.restamp import RestampRefused, restamp
from shim.applying.restamp_samples import samples
from shim.applying.retarget import retargeted
from shim.applying.units import LinkedUnit, LinkUnit
from shim.devicecode import read_cubin
from shim.errors import InputError
from tests.builders.kernels import build_cubin, build_ptx, ptx_text, tool
from tests.oracles.nvjitlink import Choice, choose

SOURCE = """
__device__ int counter; __constant__ float table[64]; __shared__ float tile[256];
template <class T> __global__ void work(T* x, int n) {
  __shared__ T box[128];
  box[threadIdx.x] = x[threadIdx.x] * T(table[threadIdx.x & 63]);
  __syncthreads();
  for (int i = 0; i < n; ++i) x[i] += box[(threadIdx.x + i) & 127] / T(i + 3);
  if (threadIdx.x == 0) { atomicAdd(&counter, n); printf("%d", n); }
}
template __global__ void work<float>(float*, int); template __global__ void work<double>(double*, int);
"""


def old(options: str = "", text: bytes | None = None, arch: str = "sm_120a") -> bytes:
    if text is None:
        text = build_ptx("#include <cstdio>\n" + SOURCE, arch=f"compute_{arch[3:]}")
    return build_cubin(text, arch=arch, options=options.split())


def container(cubin: bytes, arch: int) -> bytes:
    return _core.make_container([_core.make_entry(kind=2, arch=arch, suffix="a", image=cubin)])


@pytest.mark.parametrize("options", ["", "--device-debug", "--generate-line-info"])
@pytest.mark.parametrize("sample", ["half-mma", "block-scaled", "memory", "lines", "c++"])
def test_equals_what_the_compiler_writes(sample: str, options: str) -> None:
    texts = {one.name.split()[0]: one.ptx for one in samples()}
    text = texts.get(sample) or build_ptx("#include <cstdio>\n" + SOURCE, arch="compute_120a")
    new = retargeted(text, "sm_120a", "sm_121a", (8, 8))
    marked = restamp(old(options, text))
    assert marked.image == build_cubin(new, arch="sm_121a", options=options.split())
    assert marked.generation == tool("ptxas").version[:2]
    assert (".nv_debug_ptx_txt" in marked.changes) == (bool(options) or sample == "lines")


def test_an_older_virtual_architecture_stays() -> None:
    text = ptx_text(target="sm_80")
    marked = restamp(old(text=text))
    assert marked.image == build_cubin(text, arch="sm_121a")
    assert not any("cuinfo" in change for change in marked.changes)


def test_nvidias_selector_takes_it_for_a_12_1() -> None:
    before = old()
    after = restamp(before).image
    assert (read_cubin(after).sm, read_cubin(after).feature) == (121, "a")
    assert choose(container(before, 120), "121a") is Choice.REJECT
    assert choose(container(after, 121), "121a") is Choice.SASS
    assert choose(container(after, 121), "120a") is Choice.REJECT
    both = _core.make_container(
        [
            _core.make_entry(kind=2, arch=121, suffix="a", image=after),
            _core.make_entry(kind=2, arch=120, suffix="a", image=before),
        ]
    )
    assert choose(both, "121a") is Choice.SASS
    assert choose(both, "120a") is Choice.SASS


def test_padding_of_a_fatbin_entry_stays() -> None:
    cubin = old()
    assert restamp(cubin + bytes(8)).image == restamp(cubin).image + bytes(8)


def section(cubin: bytes, name: str) -> int:
    return CubinFile(cubin).only(name).offset


def poked(cubin: bytes, at: int, new: bytes) -> bytes:
    changed = cubin[:at] + new + cubin[at + len(new) :]
    assert changed != cubin
    return changed


def _tkinfo(cubin: bytes, find: bytes, new: bytes) -> bytes:
    return poked(cubin, cubin.index(find, section(cubin, ".note.nv.tkinfo")), new)


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "machine": (lambda c: poked(c, 18, b"\x3e"), "machine 62, expected 190"),
    "abi": (lambda c: poked(c, 8, b"\x07"), "ABI 0x41/7, expected 0x41/8"),
    "architecture": (lambda c: poked(c, 0x31, b"\x64"), "says sm_100, expected sm_120"),
    "table": (lambda c: poked(c, 40, struct.pack("<Q", len(c))), "header table lies outside"),
    "name": (lambda c: _tkinfo(c, b"NVIDIA", b"N"[:0] + b"nvidia"), "is not the one note expected"),
    "tool": (lambda c: _tkinfo(c, b"ptxas", b"ptxaz"), "written by ptxaz, not by ptxas alone"),
    "release": (lambda c: _tkinfo(c, b"release 1", b"release 4"), r"of CUDA 4\d\.\d, which was not measured"),
    "options": (lambda c: _tkinfo(c, b"-arch sm_120a", b"-arch sm_100a"), "name no sm_120a"),
    "offset": (
        lambda c: poked(c, section(c, ".note.nv.tkinfo") + 24 + 20, b"\xff\xff"),
        "points outside its texts",
    ),
    "toolkit": (
        lambda c: poked(c, section(c, ".note.nv.cuinfo") + 24 + 4, b"\x01"),
        "notes disagree on the compiler",
    ),
    "plain": (lambda c: poked(c, c.index(b"\x02\x09\x01\x00", section(c, ".nv.compat")), b"\x02\x09\x00"), "marked"),
    "record": (lambda c: poked(c, section(c, ".nv.compat"), b"\x05"), "not marked as sm_120a"),
    "mask": (lambda c: poked(c, c.index(b"\x04\x0b", section(c, ".nv.compat")) + 1, b"\x55"), "has not the records"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_unexpected_field_is_refused_with_its_reason(what: str) -> None:
    change, words = BROKEN[what]
    with pytest.raises(RestampRefused, match=words):
        restamp(change(old(text=ptx_text(target="sm_120a", isa="8.8"))))


@pytest.mark.parametrize("arch", ["sm_121a", "sm_100a"])
def test_only_120a_is_marked(arch: str) -> None:
    with pytest.raises(RestampRefused, match=f"says {arch[:-1]}, expected sm_120"):
        restamp(old(text=ptx_text(target="sm_80"), arch=arch))
    with pytest.raises(RestampRefused, match="name no sm_120a"):
        restamp(old(text=ptx_text(target="sm_80"), arch="sm_120"))


def test_relocatable_and_linked_code_is_refused() -> None:
    relocatable = old("--compile-only", ptx_text(target="sm_120a", isa="8.8"))
    with pytest.raises(RestampRefused, match="relocatable"):
        restamp(relocatable)
    unit = LinkUnit(key="k", objects=[relocatable], target="sm_120a", tool=tool("nvlink"), label="k")
    linked = link_cubins(unit, store=None)
    assert isinstance(linked, LinkedUnit)
    with pytest.raises(RestampRefused, match="was device-linked"):
        restamp(linked.cubin)


def test_damage_is_refused_or_harmless() -> None:
    """Every byte of the tables and notes set to 0xFF in turn, and every truncation: a result or a refusal."""
    cubin = old(text=ptx_text(target="sm_120a", isa="8.8"))
    tables = int.from_bytes(cubin[40:48], "little")
    places = [*range(64), *range(section(cubin, ".note.nv.tkinfo"), section(cubin, ".nv.compat") + 40)]
    refused = 0
    for at in (*places, *range(tables, len(cubin))):
        try:
            restamp(cubin[:at] + b"\xff" + cubin[at + 1 :])
        except RestampRefused:
            refused += 1
    assert refused > 100
    for size in range(0, len(cubin), 97):
        with pytest.raises(RestampRefused):
            restamp(cubin[:size])


def test_a_section_shrinks_and_what_follows_moves_up() -> None:
    file = CubinFile(old(text=ptx_text(target="sm_120a", isa="8.8")))
    compat = file.only(".nv.compat")
    aligned = 1 if tool("ptxas").version >= (13, 5) else 8
    shorter = file.shrunk(compat, file.read(compat)[:-4], table_align=aligned)
    assert shorter.only(".nv.compat").size == compat.size - 4
    assert [one.name for one in shorter.sections] == [one.name for one in file.sections]
    for before, after in zip(file.sections, shorter.sections, strict=True):
        if before.number != compat.number and before.size:
            assert shorter.read(after) == file.read(before), before.name
            assert after.offset % after.align == 0
    assert read_cubin(shorter.image).kernels == read_cubin(file.image).kernels


def test_a_section_shrinks_only_where_the_file_is_laid_out_as_ptxas_does() -> None:
    cubin = old(text=ptx_text(target="sm_120a", isa="8.8"))
    tables = int.from_bytes(cubin[40:48], "little")
    moved = cubin[:tables] + bytes(64) + cubin[tables:]
    moved = poked(moved, 32, struct.pack("<QQ", *(place + 64 for place in struct.unpack_from("<QQ", cubin, 32))))
    file = CubinFile(moved)
    compat = file.only(".nv.compat")
    with pytest.raises(InputError, match="do not lie where ptxas would put them"):
        file.shrunk(compat, file.read(compat)[:-4], table_align=8)
