"""Files with nothing in them, for builds of which only the command lines are wanted."""

from __future__ import annotations

import platform
import shutil
import struct
from pathlib import Path

from shim.errors import ToolError
from shim.process import run

_MACHINES = {"x86_64": 62, "aarch64": 183}
_SECONDS = 60.0


def make_stubs(folder: Path, cc: Path) -> dict[str, str]:
    """Write an empty object and an empty shared library of this machine; return their paths by name.

    Raises:
        ToolError: the machine is unknown, or its compiler cannot link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    empty, library = folder / "empty.o", folder / "empty.so"
    empty.write_bytes(empty_object(platform.machine()))
    run([cc, "-shared", "-nostdlib", "-o", library, empty], timeout=_SECONDS).check()
    return {"object": str(empty), "library": str(library)}


def empty_object(machine: str) -> bytes:
    """An ELF64 relocatable file with no code: a null section, .note.GNU-stack and the section names.

    Raises:
        ToolError: no number is known for the machine.
    """
    if machine not in _MACHINES:
        raise ToolError(f"cannot record a build on a machine of kind {machine}")
    names = b"\0.note.GNU-stack\0.shstrtab\0"
    table = 64 + len(names) + (-len(names)) % 8
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 1, _MACHINES[machine], 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    stack = struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, 0, 0, 0, 1, 0)
    strings = struct.pack("<IIQQQQIIQQ", 17, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
    return head + names.ljust(table - 64, b"\0") + bytes(64) + stack + strings


def host_compilers() -> dict[str, Path]:
    """The C and C++ compilers of this machine, by the names of their stand-ins.

    Raises:
        ToolError: one is missing.
    """
    found = {}
    for name, programs in (("cc", ("cc", "gcc", "clang")), ("c++", ("c++", "g++", "clang++"))):
        path = next(filter(None, map(shutil.which, programs)), None)
        if path is None:
            raise ToolError(f"no {name} on PATH", hint="install gcc and g++")
        found[name] = Path(path)
    return found
