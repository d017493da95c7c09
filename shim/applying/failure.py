"""Why a compile or link failed, as a value: one unit's failure does not stop the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shim.process import Completed

_QUOTED = 2000  # characters of the tool's own words


class FailureKind(StrEnum):
    """Kinds of failure that call for different next steps."""

    OPTIONS = "options"
    """The entry's options are not replayed, or the tool does not know one."""
    PTX_TOO_NEW = "ptx-too-new"
    """A newer tool is needed."""
    LTO_TOO_NEW = "lto-too-new"
    """LTO-IR of a newer CUDA than any nvJitLink that may be used."""
    INCOMPLETE = "incomplete"
    """It linked, but the result is not what the library needs."""
    FUTURE_ARCHITECTURE = "future-architecture"
    """Code for one architecture only (90a, 100a, 120a): nothing to compile for another."""
    OTHER_FAMILY = "other-family"
    """Code for another family (100f, 103f)."""
    SUFFIX_NEEDED = "suffix-needed"
    """Code for 121a: the target must be sm_121a."""
    UNKNOWN_TARGET = "unknown-target"
    """The tool does not know an architecture."""
    INSTRUCTION = "instruction"
    """An instruction the target does not have."""
    INVALID_INPUT = "invalid-input"
    """The text is not PTX, or an object cannot be linked."""
    MEMORY = "memory"
    """The memory limit was reached."""
    TIMEOUT = "timeout"
    CRASH = "crash"
    NO_OUTPUT = "no-output"
    """The tool ended well and wrote nothing, or something that is not a cubin."""
    TOOL = "tool"
    """The tool could not be run."""


# What ptxas, nvlink and nvJitLink say, 12.9.86 to 13.5.37; the first that fits decides.
_SAID = (
    (FailureKind.MEMORY, r"Memory allocation failure|bad_alloc|out of memory"),
    (FailureKind.PTX_TOO_NEW, r"Unsupported \.version "),
    (FailureKind.LTO_TOO_NEW, r"may need newer version of nvJitLink"),
    (FailureKind.FUTURE_ARCHITECTURE, r"cannot be compiled to future architecture"),
    (FailureKind.OTHER_FAMILY, r"cannot be compiled to different SM-family"),
    (FailureKind.SUFFIX_NEEDED, r"PTX with \.target '\w+' cannot be compiled for architecture"),
    (FailureKind.UNKNOWN_TARGET, r"Unsupported \.target |is not defined for option '(gpu-name|arch)'"),
    (FailureKind.OPTIONS, r"Unknown option|for option '|Invalid default cache modifier"),
    (FailureKind.INSTRUCTION, r"not supported on \.target|cannot be compiled for architecture"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileFailure:
    """A unit that was not compiled or linked.

    Attributes:
        key: the unit's.
        label: the unit's, for messages.
        text: the tool's own first words, or shim's reason.
        seconds: CPU seconds spent.
    """

    key: str
    label: str
    kind: FailureKind
    text: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.label}: {self.kind}: {self.text}"


def classify(done: Completed) -> tuple[FailureKind, str]:
    """Return the kind and the words of a run that ended badly."""
    said = "\n".join(line for line in done.stderr.splitlines() if "info    :" not in line).strip()
    for kind, pattern in _SAID:
        if found := re.search(pattern, said):
            line_start = said.rfind("\n", 0, found.start()) + 1
            return kind, said[line_start:].strip()[:_QUOTED]
    if done.returncode < 0:
        return FailureKind.CRASH, f"{done.program} ended with {done.ending}\n{said}".strip()[:_QUOTED]
    return FailureKind.INVALID_INPUT, (said or f"{done.program} ended with {done.ending}")[:_QUOTED]


def is_cubin(data: bytes) -> bool:
    """True if this starts like an ELF file of NVIDIA's machine (EM_CUDA, 190). The reader checks the rest."""
    return len(data) > 64 and data[:6] == b"\x7fELF\x02\x01" and data[18:20] == b"\xbe\x00"
