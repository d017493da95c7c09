"""Does the dynamic loader still take a patched library? Constructors run, so it happens in a limited child."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from shim.devicecode import DeviceCode
from shim.errors import VerifyError
from shim.process import run
from shim.wheels.archive import WheelArchive

_SECONDS = 120.0
_MEMORY = 8 << 30
_LIBRARY = re.compile(r"\.so(\.\d+)*$|\.so\.")

# Run in the child with the library's path as its argument. RTLD_NOW: every symbol is looked up, as an import would.
_CHILD = """
import ctypes, os, sys
try:
    ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_LOCAL)
except OSError as error:
    print(error)
    sys.exit(3)
"""


def check_load(path: Path, original: Path, code: DeviceCode) -> str:
    """Load a patched library in a child process.

    Returns:
        "loads", or "not checked: " and why: another machine's library, or one that does not load here unpatched either
        (a library it needs is not installed).

    Raises:
        VerifyError: the original loads and the patched one does not.
    """
    if code.machine != platform.machine() or code.elf_type != "dyn":
        return f"not checked: it is for {code.machine or 'another machine'}"
    fault = _load(path)
    if fault is None:
        return "loads"
    before = _load(original)
    if before is not None:
        return f"not checked: {before}"
    raise VerifyError(
        f"{code.member}: the patched library does not load: {fault}",
        hint="Nothing was written. This is a bug of shim; please report it with the name of the wheel.",
    )


def check_loads(archive: WheelArchive, patched: Mapping[str, tuple[DeviceCode, Path]], folder: Path) -> dict[str, str]:
    """Load patched libraries of a wheel among the wheel's other libraries, as an installed package would.

    Args:
        patched: member path -> (what it holds, the new file). folder: room to unpack the wheel's libraries twice.

    Returns and raises as `check_load`, by member.
    """
    old, new = folder / "tree-old", folder / "tree-new"
    for path in unpack_libraries(archive, old):
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (new / path).hardlink_to(patched[path][1] if path in patched else old / path)
    return {path: check_load(new / path, old / path, code) for path, (code, _) in patched.items()}


def unpack_libraries(archive: WheelArchive, folder: Path) -> list[str]:
    """Unpack all shared libraries of a wheel at their places in `folder`; returns their paths there."""
    found = [member for member in archive.members if not member.is_dir and _LIBRARY.search(member.path)]
    for member in found:
        (folder / member.path).parent.mkdir(parents=True, exist_ok=True)
        archive.extract(member, folder / member.path)
    return [member.path for member in found]


def _load(path: Path) -> str | None:
    """What the loader said against a library, None when it took it."""
    done = run([sys.executable, "-c", _CHILD, path], timeout=_SECONDS, max_rss=_MEMORY, env=dict(os.environ))
    return None if done.returncode == 0 else done.stdout.strip().replace(str(path), path.name) or done.ending
