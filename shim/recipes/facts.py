"""Facts that proofs of recipes ask for: kernels of installed files or of a wheel's members, and the neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path

from shim.arch import Target
from shim.model import KernelNote
from shim.scan.installed import Distribution, find_distribution, owned_files
from shim.scan.kernels import note_kernels
from shim.scan.library import scan_library
from shim.scan.sources import Source, SourceFile, TreeSource
from shim.source.glob import matching


class PackageProofs:
    """Kernels of one package, by glob; nothing is known of other distributions."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self._kernels: dict[str, Sequence[KernelNote]] = {}

    def kernels(self, member: str) -> Iterable[KernelNote]:
        """See `ProofSource.kernels`. Raises InputError for a library that contradicts itself."""
        files = {file.path: file for file in self._source.files}
        for name in matching(files, member):
            if name not in self._kernels:
                self._kernels[name] = self._read(files[name])
            yield from self._kernels[name]

    def _read(self, file: SourceFile) -> Sequence[KernelNote]:
        code = self._source.device_code(file, lambda amount: None)
        if code is None or not code.has_device_code:
            return ()
        return note_kernels(scan_library(code, self._target), self._source, self._target)

    def installed_version(self, distribution: str) -> str | None:
        """Not known here."""
        return None

    def installed_contains(self, distribution: str, path: str, text: str) -> bool:
        """Not known here."""
        return False


class InstalledProofs(PackageProofs):
    """Facts about an installed distribution and those beside it."""

    def __init__(self, distribution: Distribution, prefix: Path, target: Target) -> None:
        super().__init__(TreeSource(distribution.site, owned_files(distribution)), target)
        self._prefix = prefix

    def installed_version(self, distribution: str) -> str | None:
        """Version in the same environment, None when it is not there."""
        found = find_distribution(distribution, self._prefix)
        return None if found is None else found.version

    def installed_contains(self, distribution: str, path: str, text: str) -> bool:
        """Whether a file of that distribution holds the text, in UTF-8."""
        found = find_distribution(distribution, self._prefix)
        if found is None:
            return False
        return any(_holds(found.site / name, text.encode()) for name in matching(owned_files(found), path))


def _holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return content.find(text) >= 0
