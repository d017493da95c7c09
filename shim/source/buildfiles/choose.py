"""Which files of a package are looked at: what takes part in a build or in a run, not tests and copies of others' code.

Left out are: `*.dist-info` (where `apply` keeps originals), folders of tests, benchmarks, examples, documentation and
continuous integration; files of tests by name; folders for other makers' devices; a setup.py below the one that is
built; and copies of CUTLASS, Composable Kernel and googletest, told by a header that only such a copy holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from shim.source.buildfiles.cmake_file import cmake_facts
from shim.source.buildfiles.model import FileFacts
from shim.source.buildfiles.python_file import python_facts
from shim.source.buildfiles.text_file import text_facts

LARGEST: Final = 8 << 20
"""Bytes of a file; nothing that people write is larger."""

_FOLDERS: Final = re.compile(
    r"(^|/)(tests?|testing|benchmarks?|bench|examples?|docs?|samples|tutorials?|\.github|\.ci|__pycache__|[^/]+\.dist-info)/",
    re.IGNORECASE,
)
_OTHER_MAKERS: Final = re.compile(r"(^|/)(klxpu|xpu|npu|mps|hpu|supa|sdaa|mlu|musa|rocm|hip|amd)/")
_FILES: Final = re.compile(r"(^|/)((test|benchmark|bench)_[^/]*|[^/]*_test|conftest|benchmark)\.py$")
_COPY_MARKS: Final = {  # header -> what the folder of a whole copy is called
    "include/cutlass/cutlass.h": "cutlass",
    "include/ck/ck.hpp": "composable_kernel",
    "googletest/include/gtest/gtest.h": "googletest",
}
_CMAKE: Final = re.compile(r"(^|/)CMakeLists\.txt$|\.cmake(\.in)?$")
_TEXT: Final = re.compile(
    r"(^|/)(Makefile|makefile|GNUmakefile|pyproject\.toml|setup\.cfg|meson\.build|Dockerfile)$|\.(mk|sh)$"
)
_STARTS: Final = ("setup.py", "pyproject.toml", "CMakeLists.txt")
_DEVICE: Final = re.compile(r"\.(cu|cuh)$")


class Choice:
    """Judges file names of one tree.

    Attributes:
        root: folder of its setup.py or pyproject.toml. is_source: something in it can be built.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._copies = tuple(
            _copy(name, mark, project)
            for mark, project in _COPY_MARKS.items()
            for name in names
            if name.endswith(f"/{mark}")
        )
        # The folder that an sdist unpacks to may itself be called "test".
        tops = {name.partition("/")[0] for name in names}
        self._top = len(tops.pop()) if len(tops) == 1 and all("/" in name for name in names) else 0
        self.root = root_of(names)
        self.is_source = any(name.rpartition("/")[2] in _STARTS for name in names)
        self._scripts = {name for name in names if name.endswith("/setup.py")}

    def takes(self, name: str) -> bool:
        """Whether a file counts at all."""
        if self._copies and name.startswith(self._copies):
            return False
        if name in self._scripts and name.rpartition("/")[0] != self.root:
            return False
        inner = name[self._top :]
        return not any(pattern.search(inner) for pattern in (_FOLDERS, _OTHER_MAKERS, _FILES))

    @staticmethod
    def is_python(name: str) -> bool:
        """A Python module or script."""
        return name.endswith(".py")

    @staticmethod
    def is_build_file(name: str) -> bool:
        """CMake, make, shell, or settings of a build. Python files are told by their content."""
        return _CMAKE.search(name) is not None or _TEXT.search(name) is not None

    @staticmethod
    def is_cmake(name: str) -> bool:
        """CMake code."""
        return _CMAKE.search(name) is not None

    @staticmethod
    def is_cuda(name: str) -> bool:
        """CUDA source or header."""
        return _DEVICE.search(name) is not None


def _copy(name: str, mark: str, project: str) -> str:
    """Prefix of a copy: all of its folder, or only its headers where they stand among those of others."""
    folder = name.removesuffix(mark)
    return folder if folder.rstrip("/").rpartition("/")[2] == project else name.rpartition("/")[0] + "/"


def root_of(names: Collection[str]) -> str:
    """The folder that holds setup.py or pyproject.toml: nearest to the top, "" for the top itself."""
    found = [name for name in names if name.rpartition("/")[2] in ("setup.py", "pyproject.toml")]
    folders = sorted(name.rpartition("/")[0] for name in found)
    return min(folders, key=lambda folder: folder.count("/") + bool(folder), default="")


def facts_of(source: bytes, path: str) -> FileFacts:
    """Facts of one file by its name; none for other kinds of files and for those that are too large."""
    if len(source) > LARGEST:
        return FileFacts()
    if Choice.is_python(path):
        return python_facts(source, path)
    if _CMAKE.search(path):
        return cmake_facts(source, path)
    return text_facts(source, path) if _TEXT.search(path) else FileFacts()
