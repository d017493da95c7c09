"""Looks for gates in a package: in its Python and build files, and in the texts of its libraries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from shim.errors import InputError
from shim.model import GateNote
from shim.scan.gate_words import advice_for, code_for
from shim.scan.guards import compiled_gates
from shim.scan.library import LibraryScan
from shim.scan.options import ScanOptions
from shim.scan.sources import Source
from shim.source.buildfiles.choose import LARGEST
from shim.source.gates.find import find_gates
from shim.source.gates.model import Gate

_MOST: Final = 20_000  # gates of one package; torch, the richest known, has 300


def find_package_gates(
    source: Source, libraries: Sequence[LibraryScan], options: ScanOptions, *, name: str = "", version: str = ""
) -> tuple[GateNote, ...]:
    """Gates of a package, those of its text files first. Compiled ones are looked for only when asked for.

    Args:
        name, version: of the package, to find recipes for it; "" when there is none.
    """
    found = list(find_gates(PackageTree(source), options.target.device))
    if options.gates:
        found.extend(compiled_gates(libraries, source, options.target.device))
    return tuple(_note(gate, options, name, version) for gate in found[:_MOST])


class PackageTree:
    """The files of a package as a tree of sources. The one folder that an sdist unpacks to is left out of the names."""

    def __init__(self, source: Source) -> None:
        self._source = source
        paths = [file.path for file in source.files]
        tops = {path.partition("/")[0] for path in paths}
        own = len(tops) == 1 and all("/" in path for path in paths)
        starts = ("setup.py", "pyproject.toml", "CMakeLists.txt", "PKG-INFO")
        prefix = f"{tops.pop()}/" if own else ""
        self._prefix = prefix if any(f"{prefix}{name}" in paths for name in starts) else ""
        self._sizes = {file.path.removeprefix(self._prefix): file.size for file in source.files}

    def names(self) -> Collection[str]:
        return self._sizes.keys()

    def read(self, name: str) -> bytes:
        size = self._sizes.get(name)
        if size is None:
            raise InputError(f"{name}: there is no such file in the package")
        return self._source.read(f"{self._prefix}{name}", LARGEST) if size <= LARGEST else b""


def _note(gate: Gate, options: ScanOptions, name: str, version: str) -> GateNote:
    recipe = options.advise(name, version, gate) if options.advise is not None and version else ""
    return GateNote(
        path=gate.path,
        line=gate.line,
        offset=gate.offset,
        scope=gate.scope,
        form=gate.form,
        sign=gate.sign.value,
        effect=gate.effect.value,
        confidence=gate.confidence,
        changes=gate.changes,
        code=code_for(gate),
        text=gate.text,
        words=gate.words,
        advice=recipe or advice_for(gate),
    )
