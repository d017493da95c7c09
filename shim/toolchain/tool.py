"""A program of a CUDA toolkit, and what tells one build of it from another."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ToolError
from shim.process import run
from shim.store import make_key

_VERSION = re.compile(r"release \d+\.\d+, V(\d+)\.(\d+)\.(\d+)")
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program found on this machine.

    Attributes:
        name: `ptxas`, `nvlink`, `nvcc` or `fatbinary`.
        path: absolute, links not resolved (nvcc finds its parts from the path it was called by).
        version: of the toolkit, like (13, 0, 88).
        origin: where it was found: an option such as `--ptxas`, `SHIM_CUDA_HOME`, `CUDA_HOME`, `CUDA_PATH`,
            `PATH`, `package`, `conda`, `standard` or `store`.
        banner: all it says to `--version`.
    """

    name: str
    path: Path
    version: tuple[int, int, int]
    origin: str
    banner: str

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))} ({self.path}, from {self.origin})"


def ask_version(path: Path, *, name: str, origin: str) -> Tool:
    """Run `path --version` and return the tool.

    Raises:
        ToolError: it cannot be run, or what it says is not the version of a CUDA tool.
    """
    done = run([path, "--version"], timeout=_ANSWER_SECONDS).check()
    found = _VERSION.search(done.stdout)
    if not found:
        said = done.stdout.strip().splitlines() or ["nothing"]
        raise ToolError(f"{path} does not tell the version of a CUDA {name}; it says: {said[-1]}")
    major, minor, patch = map(int, found.groups())
    version = (major, minor, patch)
    return Tool(name=name, path=path, version=version, origin=origin, banner=done.stdout.strip())


def tool_digest(tool: Tool) -> str:
    """Return 64 hexadecimal digits for this build of the tool; part of the key of all it makes.

    Made of the file's hash and the banner, since the file may be a script that starts the real program.

    Raises:
        ToolError: the file cannot be read.
    """
    try:
        with tool.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise ToolError(f"cannot read {tool.path}: {err.strerror}") from err
    return make_key("tool", digest, tool.banner)
