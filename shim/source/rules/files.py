"""Which files of a source tree decide how it is built, and which hold CUDA code."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Final

from shim.errors import InputError
from shim.source.tree import SourceTree

SIZE_LIMIT: Final = 8 << 20
"""Longer files are not looked at: no build file and no hand-written source is that long."""

_CUDA: Final = (".cu", ".cuh", ".h", ".hh", ".hpp", ".hxx", ".inl", ".inc", ".cc", ".cpp", ".cxx", ".c")
_SKIPPED: Final = frozenset({"tests", "test", "benchmarks", "benchmark", "examples", "docs", "doc", ".git", "build"})
_VENDORED: Final = frozenset({"cutlass", "composable_kernel"})


def build_files(tree: SourceTree) -> tuple[str, ...]:
    """setup.py and what it imports, other Python files of the root, CMake files, makefiles; sorted."""
    names = [name for name in tree.names() if not _skipped(name)]
    helpers = _imported_by_setup(tree, names)
    return tuple(sorted(name for name in names if _is_build_file(name) or PurePosixPath(name).parts[0] in helpers))


def cuda_files(tree: SourceTree) -> tuple[str, ...]:
    """C++ and CUDA sources and headers outside of tests and of vendored CUTLASS copies; sorted."""
    return tuple(sorted(name for name in tree.names() if name.lower().endswith(_CUDA) and not _skipped(name)))


def translation_units(tree: SourceTree) -> tuple[str, ...]:
    """The .cu files; sorted."""
    return tuple(name for name in cuda_files(tree) if name.lower().endswith(".cu"))


def uses_torch(tree: SourceTree) -> bool:
    """Whether the build files speak of torch."""
    return any(b"torch" in read_small(tree, name).lower() for name in build_files(tree))


def read_small(tree: SourceTree, name: str) -> bytes:
    """Contents of a file, b"" when it is too long or cannot be read."""
    try:
        content = tree.read(name)
    except InputError:
        return b""
    return content if len(content) <= SIZE_LIMIT else b""


def parse_python(source: bytes) -> ast.Module | None:
    """Syntax tree of a Python file; None for what Python cannot parse."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_build_file(name: str) -> bool:
    path = PurePosixPath(name)
    if path.name in ("CMakeLists.txt", "Makefile", "GNUmakefile") or path.suffix in (".cmake", ".mk"):
        return True
    return len(path.parts) == 1 and (path.suffix == ".py" or path.name in ("pyproject.toml", "setup.cfg"))


def _skipped(name: str) -> bool:
    folders = PurePosixPath(name).parts[:-1]
    return any(folder.lower() in _SKIPPED for folder in folders) or any(folder in _VENDORED for folder in folders)


def _imported_by_setup(tree: SourceTree, names: Collection[str]) -> frozenset[str]:
    """Folders of the root that setup.py imports from, such as `op_builder`; the package itself, too, if it does."""
    if "setup.py" not in names:
        return frozenset()
    module = parse_python(read_small(tree, "setup.py"))
    folders = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    return frozenset() if module is None else frozenset(folders.intersection(_imports(module)))


def _imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
