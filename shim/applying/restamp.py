"""A cubin of 12.0a marked as one of 12.1a, field by field.

Machine code for both is the same (docs/formats.md 8). What tells them apart stands in these places, which are all
that differs between what ptxas writes for the two (measured, 12.9 to 13.5; docs/patching.md 1.2):

| place | 12.0a | 12.1a |
|---|---|---|
| ELF header, e_flags bits 8-15 | 120 | 121 |
| `.note.nv.tkinfo`, option text | `-arch sm_120a` | `-arch sm_121a` |
| `.note.nv.cuinfo` (12.8, 12.9: `.note.nv.cuver`), virtual architecture | 120 | 121; another one stays |
| `.nv.compat`, record 0x0B | a mask | 0 |
| `.nv.compat`, record 0x07 | there | from 13.3 on gone, so that what follows moves up |
| `.nv_debug_ptx_txt` (`-g`, `-lineinfo`) | `.target sm_120a` | `.target sm_121a` |

Anything that is not exactly as expected is refused, with the reason.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from shim.applying.cubin_file import CubinFile, Section
from shim.applying.retarget import retargeted
from shim.devicecode.model import RECORD_CAN_FASTPATH, compat_records
from shim.errors import InputError, PlanError

OLD, NEW = 120, 121
OLD_NAME, NEW_NAME = "sm_120a", "sm_121a"

_EXECUTABLE = 2
_ABI = (0x41, 8)
_FLAG_A = 0x8
_RECORD_A = 0x09
_RECORD_SHORT = 0x07  # name unknown; written for 12.1a by 13.0 to 13.2 only
_SHORT_SINCE = (13, 3)
_UNALIGNED_SINCE = (13, 5)  # the section header table stands at any offset
_TABLE_ALIGN = 8
_TKINFO, _CUINFO, _CUVER, _COMPAT = ".note.nv.tkinfo", ".note.nv.cuinfo", ".note.nv.cuver", ".nv.compat"
_DEBUG_TEXT = (".nv_debug_ptx_txt", ".nv.merc.nv_debug_ptx_txt")
_VENDOR = b"NVIDIA Corp\0"
_NOTE = 24
_FIRST, _NEWEST_MAJOR = (12, 8), 13


class RestampRefused(PlanError):
    """A cubin that is not marked anew, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restamped:
    """The new cubin.

    Attributes:
        generation: CUDA release of the ptxas that made it, like (12, 9).
        changes: fields that were changed, in words.
    """

    image: bytes
    generation: tuple[int, int]
    changes: tuple[str, ...]


def restamp(cubin: bytes) -> Restamped:
    """Mark a cubin of 12.0a as one of 12.1a.

    Raises:
        RestampRefused: it is relocatable or linked, of another architecture, of a compiler that was not measured, or
            not laid out as those write it.
    """
    try:
        return _restamp(CubinFile(cubin))
    except InputError as error:
        raise RestampRefused(f"its machine code is not as expected: {error.message}") from error


def _restamp(file: CubinFile) -> Restamped:
    if file.abi != _ABI:
        raise RestampRefused(f"its cubin has ABI {file.abi[0]:#x}/{file.abi[1]}, expected 0x41/8")
    if file.type != _EXECUTABLE:
        raise RestampRefused("its machine code is relocatable (-rdc=true): the device link needs all of its parts")
    if (found := file.flags >> 8 & 0xFF) != OLD:
        raise RestampRefused(f"its cubin says sm_{found}, expected sm_{OLD}")
    file.set_flags(file.flags & ~0xFF00 | NEW << 8)
    changes = ["e_flags"]
    generation = _mark_tool(file)
    changes += [_TKINFO, *_mark_info(file, generation)]
    for name in _DEBUG_TEXT:
        section = file.optional(name)
        if section is not None and (text := file.read(section)).count(OLD_NAME.encode()):
            file.put(section, 0, retargeted(text, OLD_NAME, NEW_NAME, (0, 0)))
            changes.append(name)
    section = file.only(_COMPAT)
    compat = _marked_compat(file.read(section), file.flags, generation)
    if compat != file.read(section):
        changes.append(_COMPAT)
    if len(compat) == section.size:
        file.put(section, 0, compat)
    else:
        align = _TABLE_ALIGN if generation < _UNALIGNED_SINCE else 1
        file = file.shrunk(section, compat, table_align=align)
    return Restamped(image=file.image, generation=generation, changes=tuple(changes))


def _mark_tool(file: CubinFile) -> tuple[int, int]:
    """Mark the option text; returns the release of the compiler."""
    section = file.only(_TKINFO)
    data = file.read(section)
    at = _note(section, data, 2000)
    release, start, options = _tool(data, at)
    place = options.find(f"-arch {OLD_NAME} ".encode())
    if place < 0 or options.count(b"-arch ") != 1:
        raise RestampRefused(f"the options noted in its cubin name no {OLD_NAME}")
    file.put(section, start + place + len("-arch "), NEW_NAME.encode())
    return release


def _mark_info(file: CubinFile, release: tuple[int, int]) -> list[str]:
    """Mark the virtual architecture, where it is 12.0."""
    name = _CUINFO if release[0] >= 13 else _CUVER
    section = file.only(name)
    data = file.read(section)
    at = _note(section, data, 1000)
    virtual, number = struct.unpack_from("<HI", data, at + 2)
    if name == _CUINFO and number != 0x82 + release[1]:
        raise RestampRefused(f"its notes disagree on the compiler: {number:#x} is not CUDA {release[0]}.{release[1]}")
    if virtual != OLD:
        return []
    file.put(section, at + 2, struct.pack("<H", NEW))
    return [name]


def _note(section: Section, data: bytes, kind: int) -> int:
    """Offset of the descriptor of a section that is one note of NVIDIA's."""
    if len(data) >= _NOTE:
        length, size, found = struct.unpack_from("<III", data)
        end = _NOTE + size + -size % 4
        if section.name == _TKINFO and end + _NOTE < len(data) and data[end + 12 : end + _NOTE] == _VENDOR:
            raise RestampRefused("its machine code was device-linked (-rdc=true or LTO): more than one tool is noted")
        if (length, found, end) == (len(_VENDOR), kind, len(data)) and data[12:_NOTE] == _VENDOR and size >= 8:
            return _NOTE
    raise RestampRefused(f"{section.name} is not the one note expected")


def _tool(data: bytes, at: int) -> tuple[tuple[int, int], int, bytes]:
    """Release, and place and text of the options of the one compiler noted.

    The descriptor is six numbers and the texts that four of them point into: tool, version, build, options.
    """
    texts = at + 24
    if len(data) < texts:
        raise RestampRefused(f"{_TKINFO} is too short")
    starts = [texts + offset for offset in struct.unpack_from("<6I", data, at)[2:]]
    ends = [data.find(b"\0", start) for start in starts]
    if min(ends) < 0:
        raise RestampRefused(f"{_TKINFO} points outside its texts")
    tool, version, _, options = (data[start:end] for start, end in zip(starts, ends, strict=True))
    release = re.search(rb"release (\d+)\.(\d+),", version)
    if tool != b"ptxas" or release is None:
        raise RestampRefused(f"its machine code was written by {tool.decode(errors='replace')}, not by ptxas alone")
    found = int(release[1]), int(release[2])
    if found < _FIRST or found[0] > _NEWEST_MAJOR:
        raise RestampRefused(f"its compiler is of CUDA {found[0]}.{found[1]}, which was not measured")
    return found, starts[3], options


def _marked_compat(data: bytes, flags: int, generation: tuple[int, int]) -> bytes:
    records = compat_records(data)
    new = generation[0] >= 13
    if not (records.get(_RECORD_A) == b"\x01" if new else flags & _FLAG_A):
        raise RestampRefused(f"its cubin is not marked as {OLD_NAME}")
    if (RECORD_CAN_FASTPATH in records) is not new:
        raise RestampRefused(f"{_COMPAT} has not the records of CUDA {generation[0]}.{generation[1]}")
    if not new:
        return data
    kept = []
    at = 0
    while at < len(data):
        form, attribute = data[at : at + 2].ljust(2, b"\0")
        size = 4 + (int.from_bytes(data[at + 2 : at + 4], "little") if form == 4 else 0)
        record = data[at : at + size]
        if form not in (2, 3, 4) or len(record) != size:
            raise RestampRefused(f"{_COMPAT} holds a record that is not understood")
        if attribute == RECORD_CAN_FASTPATH:
            record = record[:4] + bytes(size - 4)
        if attribute != _RECORD_SHORT or generation < _SHORT_SINCE:
            kept.append(record)
        at += size
    return b"".join(kept)
