"""Run by `mapping` in a child process, with the standard library alone: load a library and read, out of memory, which
containers its start-up code put into the list of each device link.

Arguments: the library, the most entries of a list, folders to look for the CUDA runtime in (JSON), and the file
offsets of version-2 wrappers. Prints one line: for each wrapper, file offsets of the containers in its list.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PT_LOAD = 1
WRAPPER = struct.Struct("<IIQQ")  # docs/formats.md 1
MAGIC = 0x466243B1
POINTER = 8


class Segment(ctypes.Structure):
    """Elf64_Phdr."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("vaddr", ctypes.c_uint64),
        ("paddr", ctypes.c_uint64),
        ("filesz", ctypes.c_uint64),
        ("memsz", ctypes.c_uint64),
        ("align", ctypes.c_uint64),
    )


class Loaded(ctypes.Structure):
    """The start of struct dl_phdr_info (dl_iterate_phdr(3))."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(Segment)),
        ("count", ctypes.c_uint16),
    )


class Image:
    """A loaded library: where each part of the file is in memory. Nothing outside its segments is read."""

    def __init__(self, base: int, parts: list[tuple[int, int, int, int]]) -> None:
        self._base = base
        self._parts = parts  # (file offset, address without base, bytes of the file, bytes in memory)

    def at_offset(self, offset: int) -> int:
        for start, vaddr, size, _ in self._parts:
            if start <= offset and offset + WRAPPER.size <= start + size:
                return self._base + vaddr + offset - start
        raise SystemExit(f"the wrapper at {offset:#x} is not loaded")

    def offset_of(self, address: int) -> int:
        for start, vaddr, size, _ in self._parts:
            if vaddr <= address - self._base < vaddr + size:
                return start + address - self._base - vaddr
        raise SystemExit(f"the list of a device link holds {address:#x}, which is not in the library")

    def read(self, address: int, size: int) -> bytes:
        at = address - self._base
        if not any(vaddr <= at and at + size <= vaddr + memory for _, vaddr, _, memory in self._parts):
            raise SystemExit(f"a wrapper names {address:#x}, which is not in the library")
        return ctypes.string_at(address, size)


def find(path: str) -> Image:
    """The loaded library with this path."""
    found: list[Image] = []
    wanted = Path(path)

    def visit(loaded: ctypes._Pointer[Loaded], _size: int, _data: object) -> int:
        info = loaded.contents
        with contextlib.suppress(OSError):
            if info.name and wanted.samefile(os.fsdecode(info.name)):
                segments = [info.segments[number] for number in range(info.count)]
                parts = [(s.offset, s.vaddr, s.filesz, s.memsz) for s in segments if s.type == PT_LOAD]
                found.append(Image(info.base, parts))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Loaded), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(kind(visit), None)
    if not found:
        raise SystemExit("the loader does not list the library")
    return found[0]


def members(image: Image, wrapper: int, most: int) -> Iterator[int]:
    """File offsets of the containers in the list of one device link."""
    magic, version, _, array = WRAPPER.unpack(image.read(image.at_offset(wrapper), WRAPPER.size))
    if magic != MAGIC or version != 2:
        raise SystemExit(f"no wrapper of version 2 at {wrapper:#x}")
    for number in range(most + 1):
        (address,) = struct.unpack("<Q", image.read(array + POINTER * number, POINTER))
        if not address:
            return
        yield image.offset_of(address)
    raise SystemExit("the list of a device link does not end")


def load(path: str, folders: Iterable[str]) -> None:
    """Load it; a CUDA runtime that the loader does not find may be in one of NVIDIA's wheels."""
    try:
        ctypes.CDLL(path, mode=os.RTLD_LAZY)
        return
    except OSError as error:
        first = error
    for folder in folders:
        for runtime in sorted(Path(folder).glob("nvidia/*/lib/libcudart.so.*")):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(runtime), mode=os.RTLD_GLOBAL)
    try:
        ctypes.CDLL(path, mode=os.RTLD_LAZY)
    except OSError:
        raise SystemExit(str(first)) from None


def main(path: str, most: str, folders: str, *wrappers: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    load(path, [folder for folder in json.loads(folders) if folder])
    image = find(path)
    print()  # a constructor may have left a line without an end
    print(json.dumps([list(members(image, int(wrapper), int(most))) for wrapper in wrappers]))


if __name__ == "__main__":
    main(*sys.argv[1:])
