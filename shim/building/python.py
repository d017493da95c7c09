"""The Python environment that a wheel is built against: asked, never imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shim.errors import ToolError, UsageError
from shim.process import run

_SECONDS: Final = 120.0
_ASK: Final = """
import importlib.metadata as m, json, sys, sysconfig
found = {}
for d in m.distributions():
    name = d.metadata["Name"]
    if name: found.setdefault(name.lower().replace("_", "-").replace(".", "-"), d.version)
paths = sysconfig.get_paths()
print(json.dumps({"version": list(sys.version_info[:3]), "prefix": sys.prefix, "executable": sys.executable,
    "sites": sorted({paths["purelib"], paths["platlib"]}), "scripts": paths["scripts"], "packages": found,
    "include": paths["include"]}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPython:
    """Attributes:
    executable: to run. sites: its site-packages. scripts: where its programs lie.
    packages: normalised names of what is installed -> version.
    include: folder of Python.h.
    """

    executable: Path
    version: tuple[int, int, int]
    prefix: Path
    sites: tuple[Path, ...]
    scripts: Path
    packages: Mapping[str, str]
    include: Path

    @property
    def torch(self) -> tuple[int, int] | None:
        """Version of its torch, None when it has none."""
        text = self.packages.get("torch")
        if text is None:
            return None
        from packaging.version import InvalidVersion, Version

        try:
            return Version(text).release[:2] + (0,) * (2 - len(Version(text).release))  # type: ignore[return-value]
        except InvalidVersion:
            return None


def ask_python(prefix: Path | None) -> BuildPython:
    """Ask the Python of an environment; the one that shim runs in when None. A path to a program is fine, too.

    Raises:
        UsageError: there is no Python there.
        ToolError: it does not run.
    """
    executable = _find(prefix)
    done = run([executable, "-I", "-c", _ASK], timeout=_SECONDS).check()
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return BuildPython(
            executable=executable,
            version=tuple(said["version"]),
            prefix=Path(said["prefix"]),
            sites=tuple(map(Path, said["sites"])),
            scripts=Path(said["scripts"]),
            packages=said["packages"],
            include=Path(said["include"]),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ToolError(f"{executable} does not say what it is: {error}", hint="name another with --python") from error


def _find(prefix: Path | None) -> Path:
    if prefix is None:
        return Path(sys.executable)
    if prefix.is_file():
        return prefix.absolute()
    for name in ("bin/python3", "bin/python"):
        if (prefix / name).exists():
            return (prefix / name).absolute()
    raise UsageError(f"{prefix}: no Python environment (no bin/python3)", hint="--python takes a prefix or a program")
