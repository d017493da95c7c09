"""Input and output files of a tool, by name but in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

from shim.errors import ToolError

_PIECE = 1 << 24
_HINT = "check free memory, TMPDIR and the limit on open files (ulimit -n)"


class MemoryFiles:
    """A temporary folder whose files are memory: run a tool with `cwd=folder, pass_fds=descriptors`.

    Each name is a link to an anonymous memory file (memfd). Three reasons, all measured with CUDA 13.0
    and 13.5: ptxas and nvlink exit with 0 when the disk is full (`-o /dev/full`), so a file on disk could
    come back cut off; with `-g` ptxas writes the names of its input and output into the cubin, so names
    must not vary; and nvlink tells a cubin from a host object by the name's extension, so that the bare
    path of a descriptor links to nothing, without an error.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="shim-")
        self._descriptors: dict[str, int] = {}

    @property
    def folder(self) -> Path:
        """The folder that holds the names."""
        return Path(self._folder.name)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the tool must inherit to reach the contents."""
        return tuple(self._descriptors.values())

    def add(self, name: str, content: bytes = b"") -> None:
        """Make a file, empty if the tool is to write it.

        Raises:
            ToolError: no memory or no place for a name is left.
        """
        try:
            descriptor = os.memfd_create(name)
            self._descriptors[name] = descriptor
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            (self.folder / name).symlink_to(f"/proc/self/fd/{descriptor}")
        except OSError as err:
            raise ToolError(f"cannot make a temporary file in {self.folder}: {err.strerror}", hint=_HINT) from err

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        descriptor = self._descriptors[name]
        content = bytearray()
        while piece := os.pread(descriptor, _PIECE, len(content)):
            content += piece
        return bytes(content)

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        self._folder.cleanup()
