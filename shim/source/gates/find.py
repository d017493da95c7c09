"""All gates of a package: those in Python, in build files, and in CUDA sources that a build would meet.

Which files are looked at is told in `shim.source.buildfiles.choose`. Compiled files are not read here (`guards`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import attrgetter

from shim.arch import ComputeCapability
from shim.errors import InputError
from shim.source.buildfiles.choose import LARGEST, Choice, facts_of
from shim.source.buildfiles.cmake_quirks import SELECT_FLAGS
from shim.source.buildfiles.model import BuildSystem, FileFacts
from shim.source.buildfiles.sources import missing_sources, read_includes
from shim.source.gates.buildfile import gates_of, header_gates, missing_gates
from shim.source.gates.facts import build_system
from shim.source.gates.model import Gate
from shim.source.gates.python import find_python_gates
from shim.source.tree import SourceTree

_OWN_SELECT_FLAGS = "select_compute_arch.cmake"


def find_gates(tree: SourceTree, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates of a tree, by path and line. Files that cannot be read or understood have none; none is an error.

    A place that is both a fact of the build and a test in Python is told once, as the former.
    """
    names = sorted(tree.names())
    choice = Choice(names)
    taken = [name for name in names if choice.takes(name)]
    gates: list[Gate] = []
    facts: dict[str, FileFacts] = {}
    for name in taken:
        if not (choice.is_python(name) or choice.is_build_file(name)):
            continue
        source = _read(tree, name)
        facts[name] = facts_of(source, name)
        built = gates_of(facts[name], source, target)
        gates.extend(built)
        if choice.is_python(name):
            known = {gate.line for gate in built if gate.changes}
            gates.extend(gate for gate in find_python_gates(source, name, target) if gate.line not in known)
    if choice.is_source:
        listed = [source for one in facts.values() for source in one.sources]
        removed, absent = read_includes(tree, [name for name in taken if choice.is_cuda(name)], set(names))
        gates.extend(header_gates(removed))
        gates.extend(missing_gates([*missing_sources(listed, set(names)), *absent]))
        system = build_system(tree, choice.root, names)
        gates = [gate for gate in gates if not _unused(gate.path, system)]
    return tuple(sorted(_without_helped(gates, names), key=attrgetter("path", "line", "form")))


def _unused(path: str, system: BuildSystem) -> bool:
    """CMake code in a package that setuptools builds on its own."""
    return system is BuildSystem.SETUPTOOLS and Choice.is_cmake(path)


def _without_helped(gates: Collection[Gate], names: Collection[str]) -> Iterator[Gate]:
    """Calls of `cuda_select_nvcc_arch_flags` are judged by the package's own copy of the function, if it has one."""
    own = any(name.endswith(f"/{_OWN_SELECT_FLAGS}") for name in names)
    return (gate for gate in gates if not (own and gate.form == SELECT_FLAGS))


def _read(tree: SourceTree, name: str) -> bytes:
    try:
        source = tree.read(name)
    except InputError:
        return b""
    return source if len(source) <= LARGEST else b""
