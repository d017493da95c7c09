"""Does a proof hold? A gate that shuts the target out is opened only when one does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shim.arch import ComputeCapability
from shim.errors import InputError
from shim.model import KernelNote
from shim.recipes.model import (
    DependencyProof,
    JitTableProof,
    KernelProof,
    NotAGate,
    Proof,
    SourceProof,
)
from shim.recipes.pattern import occurrences, regex
from shim.source.glob import matching
from shim.source.tree import SourceTree

_OK = "ok"  # `shim.scan.kernels`: the image that will be chosen has the kernel, with a body


class ProofSource(Protocol):
    """Facts about the package and where it is used. Each is looked up when a proof asks for it."""

    def kernels(self, member: str) -> Iterable[KernelNote]:
        """Kernels of the members that match a glob, judged for the target (`scan --kernels`)."""
        ...

    def installed_version(self, distribution: str) -> str | None:
        """Version of a distribution beside the package; None when it is not there, or that cannot be known."""
        ...

    def installed_contains(self, distribution: str, path: str, text: str) -> bool:
        """Whether a file of a distribution beside the package holds the text."""
        ...


def holds(
    proof: Proof, *, tree: SourceTree, source: ProofSource | None, target: ComputeCapability, sdist: bool
) -> tuple[bool, str]:
    """Whether a proof holds, and the fact that decides, in words.

    Args:
        source: None when nothing can be asked; proofs that need it do not hold then.
        sdist: the package is being rebuilt from source.
    """
    match proof:
        case KernelProof():
            return _kernel(proof, source, target)
        case JitTableProof(path=path, find=find):
            files = [name for name in matching(tree.names(), path) if occurrences(find, _read(tree, name))]
            return bool(files), f"{files[0] if files else path} {'has' if files else 'lacks'} {find.text!r}"
        case DependencyProof():
            return _dependency(proof, source)
        case SourceProof(why=why):
            return sdist, why if sdist else "the package is not being rebuilt"
        case NotAGate(why=why):
            return False, why


def _kernel(proof: KernelProof, source: ProofSource | None, target: ComputeCapability) -> tuple[bool, str]:
    if source is None:
        return False, f"the kernels of {proof.member} were not read"
    name = regex(proof.name)
    seen = 0
    for note in source.kernels(proof.member):
        if name.search(note.name) is None:
            continue
        seen += 1
        built = proof.arch is None or any(image.endswith(f"_{proof.arch}") for image in note.images)
        if note.status == _OK and note.size and built:
            return True, f"{note.name} has {note.size} bytes that load on {target}"
    words = "is not in it" if not seen else f"does not load on {target}, or has an empty body ({seen} found)"
    return False, f"{proof.member}: a kernel that matches {proof.name!r} {words}"


def _dependency(proof: DependencyProof, source: ProofSource | None) -> tuple[bool, str]:
    version = None if source is None else source.installed_version(proof.distribution)
    if source is None or version is None:
        return False, f"{proof.distribution} is not installed where the package would be used"
    if not proof.versions.contains(version, prereleases=True):
        return False, f"{proof.distribution} {version} is not {proof.versions}"
    if proof.library is not None and proof.contains is not None:
        found = source.installed_contains(proof.distribution, proof.library, proof.contains)
        return (
            found,
            f"{proof.library} of {proof.distribution} {version} {'has' if found else 'lacks'} {proof.contains!r}",
        )
    return True, f"{proof.distribution} {version} is {proof.versions}"


def _read(tree: SourceTree, name: str) -> bytes:
    try:
        return tree.read(name)
    except InputError:
        return b""
