"""Signs in a package without device code: sources compiled on the user's machine, or a build without CUDA."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from shim.scan.sources import Source, SourceFile

_CUDA_SOURCES: Final = (".cu", ".cuh")

# Modules whose import means that GPU code is compiled where the package runs; submodules are meant too.
_COMPILERS: Final = {
    "triton": "Triton",
    "torch.utils.cpp_extension": "torch's extension builder",
    "cuda.bindings.nvrtc": "NVRTC",
    "cuda.nvrtc": "NVRTC",
    "cuda.core": "NVRTC",
    "numba.cuda": "numba",
    "pycuda.compiler": "nvcc",
    "cutlass.cute": "the CuTe DSL",
    "tilelang": "TileLang",
    "warp": "Warp",
    "taichi": "Taichi",
}
_CUPY_KERNELS: Final = frozenset({"RawKernel", "RawModule", "ElementwiseKernel", "ReductionKernel"})
_HINT: Final = re.compile(rb"triton|cpp_extension|nvrtc|cuda|pycuda|cutlass|tilelang|warp|taichi|cupy")

# What libraries print when asked for the GPU although built without it; CTranslate2 says the first.
_WITHOUT_CUDA: Final = re.compile(
    rb"not compiled with CUDA|compiled without CUDA|not built with CUDA|built without CUDA|"
    rb"without CUDA support"
)

_MAX_SCRIPTS: Final = 4000
_MAX_SCRIPT: Final = 1 << 20
_MAX_BINARY: Final = 2 << 30  # bytes searched for a sentence, over all files


def cuda_sources(files: Sequence[SourceFile]) -> tuple[str, ...]:
    """Paths of CUDA C++ sources in the package."""
    return tuple(file.path for file in files if file.path.lower().endswith(_CUDA_SOURCES))


def compilers_used(source: Source) -> Counter[str]:
    """Compilers for the GPU that Python files of the package import: name -> number of files."""
    found: Counter[str] = Counter()
    scripts = [file for file in source.files if file.path.endswith(".py") and file.size <= _MAX_SCRIPT]
    for file in scripts[:_MAX_SCRIPTS]:
        text = source.read(file.path, _MAX_SCRIPT)
        if _HINT.search(text):
            found.update(_compilers_in(text))
    return found


def cuda_is_none(source: Source) -> str:
    """Path of a `version.py` that says `cuda = None`, as torch writes in its CPU builds; else ""."""
    for file in source.files:
        if file.path.count("/") == 1 and file.path.endswith("/version.py") and file.size <= _MAX_SCRIPT:
            for node in _walk(source.read(file.path, _MAX_SCRIPT)):
                if isinstance(node, ast.Assign | ast.AnnAssign) and _assigns_none(node, "cuda"):
                    return file.path
    return ""


def says_no_cuda(source: Source, binaries: Sequence[str]) -> tuple[str, str]:
    """(path, sentence) of the first compiled file that can say it was built without CUDA, else ("", "")."""
    budget = _MAX_BINARY
    for path in binaries:
        tail = b""
        for chunk in source.chunks(path):
            match = _WITHOUT_CUDA.search(tail + chunk)
            if match:
                return path, match[0].decode()
            tail = bytes(chunk[-64:])
            budget -= len(chunk)
            if budget < 0:
                return "", ""
    return "", ""


def _compilers_in(text: bytes) -> set[str]:
    used = set()
    for node in _walk(text):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                modules = [module, *(f"{module}.{alias.name}" for alias in names)]
            case ast.Attribute(value=ast.Name(id="cupy" | "cp"), attr=name) if name in _CUPY_KERNELS:
                used.add("CuPy")
                continue
            case _:
                continue
        used.update(name for name in map(_compiler_of, modules) if name)
    return used


def _compiler_of(module: str) -> str:
    parts = module.split(".")
    prefixes = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((_COMPILERS[prefix] for prefix in prefixes if prefix in _COMPILERS), "")


def _walk(text: bytes) -> Iterator[ast.AST]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in other people's strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # Python 2 sources, templates, and what was made to break parsers: no evidence in there
    yield from ast.walk(tree)


def _assigns_none(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return named and isinstance(node.value, ast.Constant) and node.value.value is None
