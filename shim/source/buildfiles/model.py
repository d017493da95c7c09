"""What the build files of a source tree say about the GPU, with byte spans that an edit can rely on.

A span is (start, end) in bytes of the file as stored: `content[start:end]` is exactly the `text` of the mention, so a
rule that replaces it changes nothing else. Facts say what is written; what it does on a target is a `Gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MentionKind(StrEnum):
    """How a build file names architectures. The span covers what is in quotation marks here."""

    GENCODE = "gencode"  # "arch=compute_80,code=sm_80" (without -gencode=)
    NVCC_ARCH = "nvcc-arch"  # `-arch=` and `--gpu-architecture=`: "sm_60"
    CMAKE = "cmake"  # value of set(CMAKE_CUDA_ARCHITECTURES "75;80" ...): "75;80", without outer quotes
    ENV = "env"  # value of TORCH_CUDA_ARCH_LIST and its like: "8.0 8.6 9.0+PTX", without quotes
    LIST = "list"  # element of a list or text of architectures under a name, such as NAME = "80;90" or ["8.0", ...]


class BuildSystem(StrEnum):
    """What `pip` hands the tree to, from `build-backend` of pyproject.toml; without one, setuptools."""

    SETUPTOOLS = "setuptools"
    SCIKIT_BUILD_CORE = "scikit-build-core"
    SCIKIT_BUILD = "scikit-build"
    CMAKE = "cmake"  # setup.py that runs cmake itself, or py-build-cmake
    MESON = "meson-python"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A place in a build file.

    Attributes:
        path: in the tree. line: from 1. start, end: bytes. text: what stands there, decoded.
        scope: qualified name of the function or class around it, "" at module level or in CMake.
        condition: conditions it hangs on, as written, joined by " and "; "" when it always counts.
        reached: whether they hold on Linux with CUDA 13, a new torch and no ROCm; None when that depends on more.
    """

    path: str
    line: int
    start: int
    end: int
    text: str
    scope: str = ""
    condition: str = ""
    reached: bool | None = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchMention(Mention):
    """A place that names architectures to compile for.

    Attributes:
        archs: all that are named, as "80", "90a" or "120f", without doubles. () when it is computed.
        sass: those that machine code is made for. virtual: those whose PTX is kept. "8.0+PTX" is in both.
        variable: CMake variable, environment variable, or name in Python that holds it; "".
        overridable: a user can replace it without an edit (environment variable, -D); False for a fixed list.
        computed: some of it is put together when the build runs (an f-string with an arch in it).
    """

    kind: MentionKind
    archs: tuple[str, ...]
    sass: tuple[str, ...] = ()
    virtual: tuple[str, ...] = ()
    variable: str = ""
    overridable: bool = False
    computed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardFlag(Mention):
    """A C++ standard asked for. `text` is the flag ("-std=c++17", "/std:c++17"), or "17" of `CMAKE_CXX_STANDARD 17`.

    standard: 17. compiler: "cxx", "nvcc" or "" when both or unknown.
    """

    standard: int
    compiler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Mention):
    """An environment variable that the build reads.

    Attributes:
        name: of the variable. default: what counts when it is not set, None when there is none or it is computed.
        role: "archs" (names architectures), "force-cuda" (builds CUDA parts without a GPU in sight), "force-build"
            (compiles instead of taking a prebuilt file), "jobs", "nvcc-flags", "toolkit" or "".
    """

    name: str
    default: str | None = None
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCheck(Mention):
    """A place that asks whether a GPU is visible while building.

    outcome: "cpu-only" (CUDA parts are left out), "raises" (the build stops), or "archs" (its arch becomes the list).
    forced_by: environment variables that take its place (FORCE_CUDA).
    """

    outcome: str
    forced_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Download(Mention):
    """A place that fetches something while building. prevented_by: variables that make it compile instead.

    what: "wheel" (a prebuilt file of the package), "source" (FetchContent, ExternalProject, git clone).
    """

    what: str
    prevented_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSource(Mention):
    """A source file that a build file lists, by a path relative to the build file. `text` is the name as written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSource(Mention):
    """A file that is listed by a build file or included by a source, and that the tree does not hold.

    file: where it would have to be, in the tree; "" when it was looked for everywhere.
    """

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedHeader(Mention):
    """An `#include` of a header that CUDA 13 does not have; `text` is its name. instead: the header to use, or ""."""

    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk(Mention):
    """Code that handles architectures in a way that goes wrong with new ones.

    form: names it (docs/gates.md has the table). detail: the architectures it knows, as "80;90", or "".
    """

    form: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What one build file says. `torch`: it builds against torch. `builds`: it starts or describes a build.

    legacy_findcuda: uses of FindCUDA or `cuda_select_nvcc_arch_flags`.
    """

    archs: tuple[ArchMention, ...] = ()
    standards: tuple[StandardFlag, ...] = ()
    variables: tuple[Variable, ...] = ()
    gpu_checks: tuple[GpuCheck, ...] = ()
    downloads: tuple[Download, ...] = ()
    sources: tuple[ListedSource, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    legacy_findcuda: tuple[Mention, ...] = ()
    torch: bool = False
    builds: bool = False
    system: BuildSystem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """Everything that the build files of a tree say about the GPU.

    Attributes:
        root: folder in the tree that holds setup.py or pyproject.toml ("" or "pkg-1.0"); paths of facts start with it.
        system: what builds it. torch: uses torch's extension builder or finds Torch in CMake.
        requires: build requirements of pyproject.toml, as written.
        archs: all mentions, by path and position.
        legacy_findcuda: uses of FindCUDA or `cuda_select_nvcc_arch_flags` in CMake.
        standards: hard C++ standards. variables: environment variables read, the first place of each name.
        gpu_checks, downloads, quirks: as found.
        cuda_sources: .cu files in the tree. missing_sources: listed or included, but not there.
        removed_headers: includes of headers that CUDA 13 does not have.
    """

    root: str
    system: BuildSystem
    torch: bool
    requires: tuple[str, ...]
    archs: tuple[ArchMention, ...]
    standards: tuple[StandardFlag, ...]
    variables: tuple[Variable, ...]
    gpu_checks: tuple[GpuCheck, ...]
    downloads: tuple[Download, ...]
    cuda_sources: tuple[str, ...]
    missing_sources: tuple[MissingSource, ...]
    removed_headers: tuple[RemovedHeader, ...]
    quirks: tuple[Quirk, ...]
    legacy_findcuda: tuple[Mention, ...]

    def named(self, role: str) -> tuple[str, ...]:
        """Names of the variables with a role, such as "force-cuda"."""
        return tuple(dict.fromkeys(variable.name for variable in self.variables if variable.role == role))
