"""What a source tree says of itself without being run: name, version, build backend and its requirements."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import Any, Final

from shim.errors import InputError
from shim.source.tree import SourceTree

_LEGACY: Final = "setuptools.build_meta:__legacy__"
_SDIST: Final = re.compile(r"(?P<name>.+)-(?P<version>\d[^-]*?)(?:\.tar\.gz|\.tgz|\.zip)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMetadata:
    """Attributes:
    name: as spelt. version: "" when only setup.py knows.
    requires: build requirements of pyproject.toml. declared: there is a `[build-system]` with requirements.
    backend: `module:object`. backend_path: folders of the tree that hold it.
    known_from: the file that told name and version.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    declared: bool
    backend: str
    backend_path: tuple[str, ...]
    known_from: str


def read_metadata(tree: SourceTree, *, label: str, filename: str = "") -> SourceMetadata:
    """Read PKG-INFO, pyproject.toml and, for want of these, the file name.

    Args:
        label: what to call the tree in errors. filename: of the sdist, "" for a folder.

    Raises:
        InputError: there is nothing to build, pyproject.toml is broken, or there is no name.
    """
    names = set(tree.names())
    if not names & {"setup.py", "pyproject.toml", "setup.cfg"}:
        raise InputError(
            f"{label}: neither pyproject.toml nor setup.py: nothing says how to build it",
            hint="name the folder that holds pyproject.toml or setup.py",
        )
    project = _pyproject(tree, label) if "pyproject.toml" in names else {}
    system = project.get("build-system", {})
    if not isinstance(system, dict):
        raise _broken(label, "build-system is no table")
    name, version, source = _identity(tree, names, project, filename)
    if not name:
        raise InputError(
            f"{label}: no PKG-INFO, and pyproject.toml has no name: only setup.py knows it",
            hint="name the sdist, whose file name tells, or add a PKG-INFO",
        )
    requires = _strings(system.get("requires", ["setuptools>=40.8", "wheel"]), label, "build-system.requires")
    backend = system.get("build-backend", _LEGACY)
    if not isinstance(backend, str):
        raise _broken(label, "build-system.build-backend is no text")
    return SourceMetadata(
        name=name,
        version=version,
        requires=requires,
        declared="requires" in system,
        backend=backend,
        backend_path=_strings(system.get("backend-path", []), label, "build-system.backend-path"),
        known_from=source,
    )


def _identity(tree: SourceTree, names: set[str], project: dict[str, Any], filename: str) -> tuple[str, str, str]:
    if "PKG-INFO" in names:
        headers = BytesHeaderParser().parsebytes(tree.read("PKG-INFO")[: 1 << 20])
        name, version = str(headers.get("Name", "")).strip(), str(headers.get("Version", "")).strip()
        if name and version:
            return name, version, "PKG-INFO"
    table = project.get("project", {})
    found = _SDIST.fullmatch(filename)
    if isinstance(table, dict) and isinstance(table.get("name"), str):
        version = table.get("version", "")
        if isinstance(version, str) and version:
            return table["name"], version, "pyproject.toml"
        return table["name"], found["version"] if found else "", "pyproject.toml"
    return (found["name"], found["version"], "file name") if found else ("", "", "")


def _pyproject(tree: SourceTree, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(tree.read("pyproject.toml").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(label, str(error).splitlines()[0] if str(error) else "nested too deeply") from error


def _strings(value: object, label: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _broken(label, f"{where} is no list of texts")
    return tuple(value)


def _broken(label: str, what: str) -> InputError:
    return InputError(f"{label}: pyproject.toml: {what}", hint="the package is broken: report it to its authors")
