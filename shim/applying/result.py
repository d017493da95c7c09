"""What `patch` did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from shim.arch import Grade
from shim.planning import Layout, Plan, Refusal


class Outcome(StrEnum):
    """How a run ended; the command line turns it into an exit code (docs/cli.md)."""

    PATCHED = "patched"
    PARTLY = "partly-patched"
    NOTHING_TO_DO = "nothing-to-do"
    ALREADY = "already-patched"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What compiling took.

    Attributes:
        cpu_seconds: of ptxas and nvlink, where they ran to their end; nothing for what came from the cache.
        cores: that this process may use.
        left_out: units for which `--budget` left no time.
    """

    units: int = 0
    compiled: int = 0
    cached: int = 0
    left_out: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    cores: int = 1
    tools: tuple[str, ...] = ()

    @property
    def efficiency(self) -> float:
        """CPU time by what the cores could have given in that time: 1 when all compiled all the time."""
        return self.cpu_seconds / (self.wall_seconds * self.cores) if self.wall_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryResult:
    """One patched library, as verified."""

    member: str
    before: Grade
    after: Grade
    layout: Layout
    images: int
    kernels: int
    added_bytes: int
    strip_unsafe: bool
    load: str  # "loads", "not checked: ..." or "" when it was not asked for
    remarks: tuple[str, ...] = ()  # what is unusual or unproven about new images, each once


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchResult:
    """The outcome of one `patch`.

    Attributes:
        path: the new file, None when none was written. undo: side-car with reverse data, None when it is inside.
        refusals: (member, refusal) of what stays as it is although the target wants more.
        checks: what verification did, in words.
        timings: seconds by phase.
    """

    outcome: Outcome
    plan: Plan
    path: Path | None = None
    undo: Path | None = None
    sizes: tuple[int, int] = (0, 0)
    libraries: tuple[LibraryResult, ...] = ()
    refusals: tuple[tuple[str, Refusal], ...] = ()
    work: Work = field(default_factory=Work)
    checks: tuple[str, ...] = ()
    dropped_signatures: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
