"""Which architectures a rebuild compiles for, and the grade that this should give."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shim.arch import Arch, ComputeCapability, Grade, same_family
from shim.errors import UsageError

_FALLBACK: Final = ComputeCapability(8, 0)


class Strategy(StrEnum):
    """`native`: the target's own code. `family`: one build for all cards of the family. `sm80`: 8.0 and its PTX."""

    NATIVE = "native"
    FAMILY = "family"
    SM80 = "sm80"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchPlan:
    """What every nvcc call is to make.

    Attributes:
        arch: machine code. ptx: PTX beside it.
        promised: the grade that the target will give the result; less is a failure.
    """

    strategy: Strategy
    arch: Arch
    ptx: tuple[Arch, ...]
    promised: Grade

    def __str__(self) -> str:
        return " + ".join([f"sm_{self.arch}", *(f"PTX {ptx}" for ptx in self.ptx)])


def choose(strategy: Strategy, target: ComputeCapability, *, suffix: bool, with_ptx: tuple[Arch, ...] = ()) -> ArchPlan:
    """The architectures of a strategy.

    Args:
        suffix: the source uses instructions that only `a` and `f` architectures have (`shim.building.suffix`).
        with_ptx: further PTX to embed.

    Raises:
        UsageError: the target has no family to build for, or is older than the fallback.
    """
    if strategy is Strategy.SM80:
        if target < _FALLBACK:
            raise UsageError(f"{target} cannot run code for 8.0", hint="use --strategy native")
        arch = Arch(_FALLBACK)
        return ArchPlan(
            strategy=strategy,
            arch=arch,
            ptx=tuple(dict.fromkeys((arch, *with_ptx))),
            promised=Grade.NATIVE if target == _FALLBACK else Grade.SAME_MAJOR if target.major == 8 else Grade.JIT,
        )
    if strategy is Strategy.NATIVE:
        arch, promised = Arch(target, "a" if suffix else ""), Grade.NATIVE
    else:
        arch = Arch(_oldest_of_family(target), "f" if suffix else "")
        promised = _family_grade(arch, target)
    return ArchPlan(strategy=strategy, arch=arch, ptx=with_ptx, promised=promised)


def _oldest_of_family(target: ComputeCapability) -> ComputeCapability:
    members = [ComputeCapability(target.major, minor) for minor in range(target.minor + 1)]
    family = [member for member in members if same_family(member, target)]
    if not family:
        raise UsageError(f"{target} belongs to no family of architectures", hint="use --strategy native")
    return min(family)


def _family_grade(arch: Arch, target: ComputeCapability) -> Grade:
    if arch.capability == target:
        return Grade.NATIVE
    return Grade.FAMILY if arch.feature else Grade.SAME_MAJOR
