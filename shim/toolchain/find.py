"""Where the programs of a CUDA toolkit may lie, in the order in which they are preferred."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ToolError
from shim.toolchain.tool import Tool, ask_version

_HOMES = ("SHIM_CUDA_HOME", "CUDA_HOME", "CUDA_PATH")
_PACKAGES = ("nvidia/cu13/bin", "nvidia/cuda_nvcc/bin")  # layout of NVIDIA's wheels of CUDA 13 and CUDA 12
_STANDARD = Path("/usr/local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a search depends on. The default is this process; tests pass their own."""

    environ: Mapping[str, str]
    import_path: tuple[str, ...]
    prefix: Path
    standard: Path = _STANDARD

    @classmethod
    def present(cls) -> Surroundings:
        """Return the surroundings of this process."""
        return cls(environ=os.environ, import_path=tuple(sys.path), prefix=Path(sys.prefix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Tools of one name, in order of preference, and why other files of that name were passed over."""

    tools: tuple[Tool, ...]
    broken: tuple[str, ...]


def find_tools(name: str, *, explicit: Path | None = None) -> tuple[Tool, ...]:
    """Return every working tool of this name, in order of preference.

    The order is: `explicit`, SHIM_CUDA_HOME, CUDA_HOME, CUDA_PATH, PATH, NVIDIA's wheels in the running
    environment, the conda prefix, the standard install folders. The tool store is not looked into.

    Raises:
        ToolError: `explicit` is given and does not work.
    """
    return survey(name, explicit=explicit).tools


def survey(name: str, *, explicit: Path | None = None, around: Surroundings | None = None) -> Survey:
    """Return what `find_tools` returns, with the reasons for what it leaves out.

    Raises:
        ToolError: `explicit` is given and does not work.
    """
    tools, broken = [], []
    seen: set[Path] = set()
    if explicit is not None:
        tools.append(ask_version(explicit.absolute(), name=name, origin=f"--{name}"))
        seen.add(explicit.resolve())
    for origin, path in _candidates(name, around or Surroundings.present()):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            tools.append(ask_version(path, name=name, origin=origin))
        except ToolError as err:
            broken.append(f"{path} (from {origin}): {err.message.splitlines()[0]}")
    return Survey(tools=tuple(tools), broken=tuple(broken))


def _candidates(name: str, around: Surroundings) -> Iterator[tuple[str, Path]]:
    for origin, folder in _folders(around):
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            yield origin, path


def library_files(name: str, *, around: Surroundings | None = None) -> Iterator[tuple[str, Path]]:
    """Yield (origin, path) of each library of this name beside the programs of a toolkit, in order of preference."""
    seen: set[Path] = set()
    for origin, folder in _folders(around or Surroundings.present()):
        for path in (folder.parent / "lib64" / name, folder.parent / "lib" / name):
            if origin != "PATH" and path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield origin, path


def _folders(around: Surroundings) -> Iterator[tuple[str, Path]]:
    for variable in _HOMES:
        if home := around.environ.get(variable):
            yield variable, Path(home).absolute() / "bin"
    for entry in around.environ.get("PATH", "").split(os.pathsep):
        if Path(entry).is_absolute():  # an empty or relative entry means the current folder, whosever it is
            yield "PATH", Path(entry)
    for entry in around.import_path:
        if entry:
            yield from (("package", Path(entry).absolute() / folder) for folder in _PACKAGES)
    yield from (("conda", folder / "bin") for folder in _conda_prefixes(around))
    yield from (("standard", folder / "bin") for folder in _standard_homes(around.standard))


def _conda_prefixes(around: Surroundings) -> Iterable[Path]:
    if prefix := around.environ.get("CONDA_PREFIX"):
        yield Path(prefix).absolute()
    if (around.prefix / "conda-meta").is_dir():
        yield around.prefix


def _standard_homes(standard: Path) -> Iterable[Path]:
    """`/usr/local/cuda` is the link the user has set; the folders with a version stand beside it."""
    yield standard / "cuda"
    try:
        yield from sorted(standard.glob("cuda-*"))
    except OSError:
        return
