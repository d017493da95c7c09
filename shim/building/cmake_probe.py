"""The flag probe for projects of CMake, which tests its compilers: configured with the real ones, and not built."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from shim.building.backend import BackendRun, BuildError, build_wheel
from shim.building.probe import UnitFlags
from shim.errors import InputError
from shim.source.rules.files import build_files, parse_python, read_small
from shim.source.tree import FolderTree

_CODE = re.compile(r"\b(?:sm|compute)_\d+[af]?\b")
_GENCODE = re.compile(r"--?gen(?:erate-)?code[= ](\S+)")
_LIMIT = 64 << 20
_SCRIPT = """#!/bin/sh
at=.
next=
for word in "$@"; do
  [ -n "$next" ] && at=$word && next=
  case "$word" in
    --build|--install|--open) exit 0 ;;
    -B) next=1 ;;
    -B*) at=${{word#-B}} ;;
  esac
done
unset PYTHONPATH
{real} "$@"
code=$?
[ -f "$at/compile_commands.json" ] && cp "$at/compile_commands.json" {kept}/$$.json
exit $code
"""


def is_cmake_project(root: Path, backend: str) -> bool:
    """A backend or setup.py that runs CMake, and something for it to run."""
    tree = FolderTree(root)
    if not any(PurePosixPath(name).name == "CMakeLists.txt" for name in build_files(tree)):
        return False
    if backend.startswith(("scikit_build_core", "py_build_cmake")):
        return True
    setup = read_small(tree, "setup.py")
    return parse_python(setup) is not None and re.search(rb"[\"']cmake[\"']|skbuild", setup) is not None


def probe_cmake(backend: BackendRun, folder: Path) -> tuple[UnitFlags, ...]:
    """Let the project configure itself with its own arguments, and return what each CUDA source would get.

    Before `cmake` on PATH stands a script that configures with the real one, keeps the list of commands, and builds
    nothing, so the rest of the build fails or makes an empty wheel: neither matters.

    Args:
        folder: to work in; made here.

    Raises:
        BuildError: CMake is missing, or configuring failed. InputError: it wrote no list of commands.
    """
    kept = folder / "commands"
    kept.mkdir(parents=True)
    own = _stand_in(backend, folder / "bin", kept)
    environ = {**backend.environ, "CMAKE_EXPORT_COMPILE_COMMANDS": "ON"}
    environ["PATH"] = f"{own}{os.pathsep}{backend.environ['PATH']}"
    environ["PYTHONPATH"] = str(folder / "modules")  # scikit-build-core asks the package `cmake` first
    try:
        build_wheel(replace(backend, environ=environ), folder / "dist")
    except BuildError:
        if not any(kept.iterdir()):
            raise
    lists = sorted(kept.iterdir())
    if not lists:
        raise InputError("CMake was not run, or wrote no list of its commands", hint=f"see {backend.log}")
    return tuple(dict.fromkeys(unit for path in lists for unit in _units(path, backend.source)))


def _stand_in(backend: BackendRun, folder: Path, kept: Path) -> Path:
    real = shutil.which("cmake", path=backend.environ["PATH"])
    if real is None:
        hint = "install it, or pass --with cmake"
        raise BuildError("the build needs cmake, which is not on PATH", hint=hint, diagnosis=None)
    folder.mkdir()
    script = folder / "cmake"
    script.write_text(_SCRIPT.format(real=shlex.quote(real), kept=shlex.quote(str(kept))), encoding="utf-8")
    script.chmod(0o755)
    module = folder.parent / "modules" / "cmake"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(f"CMAKE_BIN_DIR = {str(folder)!r}\n", encoding="utf-8")
    return folder


def _units(path: Path, root: Path) -> tuple[UnitFlags, ...]:
    try:
        commands = json.loads(path.read_bytes()[:_LIMIT])
        return tuple(_unit(entry, root) for entry in commands if entry["file"].endswith(".cu"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path.name}: not CMake's list of commands: {error}", hint="see the build's output"
        ) from error


def _unit(entry: dict[str, str], root: Path) -> UnitFlags:
    words = entry.get("command") or " ".join(entry.get("arguments", []))
    codes = [re.sub(r".*code=", "", pair) for pair in _GENCODE.findall(words)]
    asked = dict.fromkeys(code for text in codes for code in _CODE.findall(text))
    asked |= dict.fromkeys(
        re.findall(r"(?:-arch|--gpu-architecture)[= ]((?:sm|compute)_\w+|native|all|all-major)\b", words)
    )
    standard = re.findall(r"--?std[= ](\S+)", words)
    source = Path(entry["file"])
    name = source.relative_to(root) if source.is_relative_to(root) else source
    return UnitFlags(
        source=str(name), asked=tuple(asked) or ("default",), dropped=(), standard=standard[-1] if standard else ""
    )
