"""The flag probe for projects of CMake, which tests its compilers: configure only, then read compile_commands.json."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from shim.building.backend import BackendRun
from shim.building.probe import UnitFlags
from shim.errors import InputError
from shim.source.rules.files import parse_python, read_small
from shim.source.tree import FolderTree

_PAIR = re.compile(r"code=\[?([\w,]+)\]?")
_LIMIT = 64 << 20


def is_cmake_project(root: Path, backend: str) -> bool:
    """CMakeLists.txt at the root, and a backend or setup.py that runs CMake."""
    if not (root / "CMakeLists.txt").is_file():
        return False
    if backend.startswith(("scikit_build_core", "py_build_cmake", "mesonpy")):
        return True
    setup = read_small(FolderTree(root), "setup.py")
    return parse_python(setup) is not None and re.search(rb"[\"']cmake[\"']|skbuild", setup) is not None


def configure(backend: BackendRun, folder: Path) -> tuple[UnitFlags, ...]:
    """Configure with the real compiler and return what each CUDA source would get.

    Raises:
        BuildError: CMake is missing or failed. InputError: it wrote no list of commands.
    """
    words = ["cmake", "-S", str(backend.source), "-B", str(folder), "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    words += ["-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={backend.program}"]
    words += [f"-DPython3_EXECUTABLE={backend.program}", f"-DPYTHON_EXECUTABLE={backend.program}"]
    words += shlex.split(backend.environ.get("CMAKE_ARGS", ""))
    backend.call([*words, "-Wno-dev"])
    path = folder / "compile_commands.json"
    try:
        commands = json.loads(path.read_bytes()[:_LIMIT])
        return tuple(_unit(entry, backend.source) for entry in commands if entry["file"].endswith(".cu"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: CMake wrote no list of its commands", hint="see the build's output") from error


def _unit(entry: dict[str, str], root: Path) -> UnitFlags:
    words = entry.get("command") or " ".join(entry.get("arguments", []))
    asked = dict.fromkeys(code for found in _PAIR.findall(words) for code in found.split(","))
    asked |= dict.fromkeys(
        re.findall(r"(?:-arch|--gpu-architecture)[= ]((?:sm|compute)_\w+|native|all|all-major)\b", words)
    )
    standard = re.findall(r"--?std[= ](\S+)", words)
    source = Path(entry["file"])
    name = source.relative_to(root) if source.is_relative_to(root) else source
    return UnitFlags(
        source=str(name), asked=tuple(asked) or ("default",), dropped=(), standard=standard[-1] if standard else ""
    )
