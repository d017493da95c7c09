"""What an assembler takes, learnt by giving it something to assemble.

A question costs 8 ms, and hashing a ptxas (to remember the answer for exactly that file) 27 ms, so
the answers are not kept (measured with ptxas 13.0.88 on x86-64).
"""

from __future__ import annotations

import re

from shim.process import run
from shim.toolchain.memory_files import MemoryFiles
from shim.toolchain.tool import Tool

_TOO_NEW = (99, 9)
_CURRENT = re.compile(r"current version is '(\d+)\.(\d+)'")
_ANSWER_SECONDS = 60.0


def refusal(tool: Tool, *, isa: tuple[int, int], arch: str) -> str:
    """Return why a ptxas does not turn PTX of this ISA version into code for `arch`; "" if it does.

    Args:
        arch: a real architecture, like `sm_121a`.

    Raises:
        ToolError: it cannot be run, or gives no answer.
    """
    with MemoryFiles() as files:
        files.add("question.ptx", _question(isa))
        files.add("answer.cubin")
        done = run(
            [tool.path, f"-arch={arch}", "-o", "answer.cubin", "question.ptx"],
            cwd=files.folder,
            pass_fds=files.descriptors,
            timeout=_ANSWER_SECONDS,
        )
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or [f"{done.program} ended with {done.ending}"])[0]
        return "" if files.read("answer.cubin") else f"{done.program} wrote no output"


def accepts(tool: Tool, *, isa: tuple[int, int], arch: str) -> bool:
    """True if a ptxas turns PTX of this ISA version into code for `arch`."""
    return not refusal(tool, isa=isa, arch=arch)


def newest_isa(tool: Tool, *, arch: str) -> tuple[int, int] | None:
    """Return the newest PTX ISA version a ptxas takes for `arch`; None if it does not know `arch`.

    ptxas names its newest version when it refuses a newer one; the version is then tried.
    """
    found = _CURRENT.search(refusal(tool, isa=_TOO_NEW, arch=arch))
    if not found:
        return None
    isa = int(found[1]), int(found[2])
    return isa if accepts(tool, isa=isa, arch=arch) else None


def _question(isa: tuple[int, int]) -> bytes:
    # The oldest target of the ISA version that current tools still read: PTX ISA, "release history".
    target = "sm_75" if isa >= (6, 3) else "sm_30" if isa >= (3, 0) else "sm_20"
    head = f".version {isa[0]}.{isa[1]}\n.target {target}\n.address_size 64\n"
    return f"{head}.visible .entry k() {{ ret; }}\n".encode()
