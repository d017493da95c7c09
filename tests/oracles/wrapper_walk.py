"""What a process really has after dlopen: the relocated wrappers of a library and the containers they lead to.

`walk(library)` runs this file in a child process. The child loads the library, asks the loader for its load address,
reads the wrappers out of its own memory and calls the functions of tests/builders/host_code.cpp where they exist.
Sections are found with pyelftools, so no code of shim takes part.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Sequence
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
    """One wrapper in memory: its version, the container's size with header, and the SHA-256 of the container."""

    version: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLibrary:
    """`checks`: name of a host function -> whether it answered 1 (functions the library lacks are left out)."""

    wrappers: tuple[LoadedWrapper, ...]
    checks: dict[str, bool]


def walk(library: Path, *, addresses: Sequence[int] = (), timeout: float = 60) -> LoadedLibrary:
    """Loads `library` in a child process.

    addresses: of the wrappers, relative to the load address; by default those of section .nvFatBinSegment.
    Raises RuntimeError with the child's words when loading or reading fails.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(library), *map(str, addresses)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if run.returncode:
        raise RuntimeError(f"loading {library} ended with {run.returncode}: {run.stderr}")
    answer = json.loads(run.stdout)
    return LoadedLibrary(
        wrappers=tuple(LoadedWrapper(**wrapper) for wrapper in answer["wrappers"]), checks=answer["checks"]
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


def _read_wrapper(address: int) -> dict[str, object]:
    magic, version, data, _ = WRAPPER.unpack(ctypes.string_at(address, WRAPPER.size))
    if magic != WRAPPER_MAGIC:
        raise RuntimeError(f"no wrapper at {address:#x}")
    header = ctypes.string_at(data, 16)
    if header[:4] != bytes.fromhex("50ed55ba"):
        raise RuntimeError(f"wrapper at {address:#x} leads to {header.hex()}")
    container = ctypes.string_at(data, 16 + int.from_bytes(header[8:], "little"))
    return {"version": version, "size": len(container), "sha256": hashlib.sha256(container).hexdigest()}


def _main(path: Path, addresses: list[int]) -> None:
    addresses = addresses or _wrapper_addresses(path)
    library = ctypes.CDLL(str(path))
    base = _load_address(library._handle)
    wrappers = [_read_wrapper(base + address) for address in addresses]
    checks = {name: bool(getattr(library, name)()) for name in CHECKS if hasattr(library, name)}
    print(json.dumps({"wrappers": wrappers, "checks": checks}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
