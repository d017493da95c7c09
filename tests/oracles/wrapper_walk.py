"""What a process really has after dlopen: the relocated wrappers of a library and the containers they lead to.

`walk(library)` runs this file in a child process. The child loads the library, asks the loader for its load address,
reads the wrappers out of its own memory and calls the functions of tests/builders/host_code.cpp where they exist.
Sections are found with pyelftools, so no code of shim takes part.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WRAPPER = struct.Struct("<IIQQ")
WRAPPER_MAGIC = 0x466243B1
RTLD_DI_LINKMAP = 2
CHECKS = (
    "shim_constructor_ran",
    "shim_thread_local",
    "shim_ifunc",
    "shim_wrappers_lead_to_containers",
    "shim_exception",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWrapper:
    """One wrapper in memory: its version, the container's size with header, and the SHA-256 of the container.

    prelinked: SHA-256 of the containers that start-up code put into the array of a version-2 wrapper.
    """

    version: int
    size: int
    sha256: str
    prelinked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLibrary:
    """`checks`: name of a host function -> whether it answered 1 (functions the library lacks are left out)."""

    wrappers: tuple[LoadedWrapper, ...]
    checks: dict[str, bool]


def walk(
    library: Path,
    *,
    addresses: Sequence[int] = (),
    images: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> LoadedLibrary:
    """Loads `library` in a child process.

    addresses: of the wrappers, relative to the load address; by default those of section .nvFatBinSegment.
    images: a folder that gets each container's bytes out of memory, as SHA256.fatbin.
    environment: added to the child's, such as LD_LIBRARY_PATH.
    Raises RuntimeError with the child's words when loading or reading fails.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(library), str(images or ""), *map(str, addresses)]
    environ = {**os.environ, **(environment or {})}
    run = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environ)
    if run.returncode:
        raise RuntimeError(f"loading {library} ended with {run.returncode}: {run.stderr}")
    answer = json.loads(run.stdout)
    return LoadedLibrary(
        wrappers=tuple(
            LoadedWrapper(**{**wrapper, "prelinked": tuple(wrapper["prelinked"])}) for wrapper in answer["wrappers"]
        ),
        checks=answer["checks"],
    )


def _load_address(handle: int) -> int:
    link_map = ctypes.c_void_p()
    if ctypes.CDLL(None).dlinfo(ctypes.c_void_p(handle), RTLD_DI_LINKMAP, ctypes.byref(link_map)):
        raise RuntimeError("dlinfo failed")
    return ctypes.c_uint64.from_address(link_map.value or 0).value  # l_addr is the first field


def _wrapper_addresses(path: Path) -> list[int]:
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".nvFatBinSegment")
        start, size = section["sh_addr"], section["sh_size"]
    return list(range(start, start + size, WRAPPER.size))


def _read_container(address: int, images: Path | None) -> bytes:
    header = ctypes.string_at(address, 16)
    if header[:4] != bytes.fromhex("50ed55ba"):
        raise RuntimeError(f"no container at {address:#x}: {header.hex()}")
    container = ctypes.string_at(address, 16 + int.from_bytes(header[8:], "little"))
    if images is not None:
        (images / f"{hashlib.sha256(container).hexdigest()}.fatbin").write_bytes(container)
    return container


def _array(address: int) -> Iterator[int]:
    """Pointers up to the null pointer at the end; none before start-up code has filled the array."""
    while pointer := ctypes.c_uint64.from_address(address).value:
        yield pointer
        address += 8


def _read_wrapper(address: int, images: Path | None) -> dict[str, object]:
    magic, version, data, last = WRAPPER.unpack(ctypes.string_at(address, WRAPPER.size))
    if magic != WRAPPER_MAGIC:
        raise RuntimeError(f"no wrapper at {address:#x}")
    container = _read_container(data, images)
    parts = [_read_container(part, images) for part in _array(last)] if version == 2 and last else []
    return {
        "version": version,
        "size": len(container),
        "sha256": hashlib.sha256(container).hexdigest(),
        "prelinked": [hashlib.sha256(part).hexdigest() for part in parts],
    }


def _main(path: Path, images: Path | None, addresses: list[int]) -> None:
    addresses = addresses or _wrapper_addresses(path)
    library = ctypes.CDLL(str(path))
    base = _load_address(library._handle)
    wrappers = [_read_wrapper(base + address, images) for address in addresses]
    checks = {name: bool(getattr(library, name)()) for name in CHECKS if hasattr(library, name)}
    print(json.dumps({"wrappers": wrappers, "checks": checks}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None, [int(word) for word in sys.argv[3:]])
