"""NVIDIA's linking library nvJitLink, asked in a child process: hostile input may crash it, and it never unloads."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from shim.errors import ToolError
from shim.process import Completed, run
from shim.toolchain.memory_files import MemoryFiles
from shim.toolchain.tool import Tool

NAME = "nvJitLink"
RESULT = "linked.cubin"
_CHILD = Path(__file__).with_name("nvjitlink_child.py")
_ANSWER_SECONDS = 60.0


def is_library(name: str) -> bool:
    """Whether a file of the tool store is a library, not a program."""
    return ".so" in name


def ask_library(path: Path, *, name: str, origin: str) -> Tool:
    """Load the library in a child process and return it as a tool; its patch number is not known to itself.

    Raises:
        ToolError: it does not load here, or is not nvJitLink of CUDA 12 or newer.
    """
    done = run([sys.executable, "-I", _CHILD, "version", path], timeout=_ANSWER_SECONDS)
    found = re.fullmatch(r"nvJitLink (\d+)\.(\d+)", done.stdout.strip())
    if done.returncode != 0 or not found:
        said = done.stderr.strip().splitlines() or [done.ending]
        raise ToolError(f"{path} is no working {name}: {said[-1]}")
    version = (int(found[1]), int(found[2]), 0)
    return Tool(name=NAME, path=path, version=version, origin=origin, banner=done.stdout.strip())


def link_lto(
    library: Tool, arch: str, inputs: Mapping[str, bytes], *, options: Sequence[str] = (), seconds: float, memory: int
) -> tuple[Completed, bytes]:
    """Link with `-lto` for `arch` ("sm_121").

    Args:
        inputs: contents by name, in the order of the link; the extension tells the kind: `.fatbin` (a container
            with LTO-IR) or `.cubin` (a relocatable one).
        options: further ones of nvJitLinkCreate. memory: bytes of private memory it may take.

    Returns:
        how the child ended (exit code 1 when nvJitLink refused, its words on stderr), and the cubin.

    Raises:
        ToolError, ToolTimeoutError: see `shim.process.run`.
    """
    with MemoryFiles() as files:
        for name, content in inputs.items():
            files.add(name, content)
        files.add(RESULT)
        words = (RESULT, str(len(inputs)), *inputs, "-lto", f"-arch={arch}", *options)
        done = run(
            [sys.executable, "-I", _CHILD, "link", library.path, *words],
            cwd=files.folder,
            pass_fds=files.descriptors,
            timeout=seconds,
            max_rss=memory,
        )
        return done, files.read(RESULT)
