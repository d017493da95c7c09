"""Which architectures an installed torch lets extensions ask for: read from its files, which are not run.

`torch/utils/cpp_extension.py` checks every entry of TORCH_CUDA_ARCH_LIST against the list `supported_arches` in
`_get_cuda_arch_flags` and raises "Unknown CUDA arch (...) or GPU not supported" for others. 12.0 is there from 2.7 on,
12.1 from 2.8 on; no release up to 2.14 takes a form with `f` (read and executed from each release's own file).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.arch import ComputeCapability

_LARGEST = 8 << 20
_FUNCTION = "_get_cuda_arch_flags"
_LIST = "supported_arches"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchArchs:
    """What one torch takes.

    Attributes:
        folder: the package `torch`.
        cuda: the CUDA version it was built with, like (13, 0); None for a CPU build.
        accepted: entries of TORCH_CUDA_ARCH_LIST, without `+PTX`; () if they could not be read.
    """

    folder: Path
    cuda: tuple[int, int] | None
    accepted: tuple[str, ...]

    def takes(self, arch: str) -> bool:
        """Whether `arch` (like "12.1a", or with "+PTX") may stand in TORCH_CUDA_ARCH_LIST."""
        return arch.removesuffix("+PTX") in self.accepted

    def best_for(self, device: ComputeCapability, feature: str = "") -> str | None:
        """The entry nearest to a device: itself, else the highest capability not above it; None if none is known."""
        if self.takes(f"{device}{feature}"):
            return f"{device}{feature}"
        below = [known for entry in self.accepted if (known := _plain(entry)) and known <= device]
        return str(max(below)) if below else None


def read_torch(paths: Sequence[Path]) -> TorchArchs | None:
    """Return what the first torch under these folders (of `sys.path`) takes; None if there is no torch."""
    for path in paths:
        folder = path / "torch"
        if (folder / "version.py").is_file():
            return TorchArchs(
                folder=folder,
                cuda=_cuda_version(_read(folder / "version.py")),
                accepted=accepted_archs(_read(folder / "utils" / "cpp_extension.py")),
            )
    return None


def accepted_archs(source: bytes) -> tuple[str, ...]:
    """Return the list `supported_arches` of a `cpp_extension.py`; () if the file does not hold one in plain form."""
    tree = _parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == _FUNCTION]
    for node in ast.walk(functions[0]) if functions else ():
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == _LIST for t in node.targets):
            return tuple(_strings(node.value))
    return ()


def _strings(value: ast.expr) -> Iterable[str]:
    if isinstance(value, ast.List | ast.Tuple):
        for element in value.elts:
            if isinstance(element, ast.Constant) and isinstance(element.value, str):
                yield element.value


def _cuda_version(source: bytes) -> tuple[int, int] | None:
    for node in _parse(source).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        value = node.value.value if isinstance(node.value, ast.Constant) else None
        if isinstance(target, ast.Name) and target.id == "cuda" and isinstance(value, str) and (known := _plain(value)):
            return known.major, known.minor
    return None


def _plain(entry: str) -> ComputeCapability | None:
    major, _, minor = entry.partition(".")
    return ComputeCapability(int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _parse(source: bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""
