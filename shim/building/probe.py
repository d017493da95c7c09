"""The flag probe: the whole build with stand-in compilers that write down what they are asked and compile nothing.

It says in seconds which architectures each translation unit would get. CMake projects that test their CUDA compiler
cannot be run like this; those are configured with the real one and their compile commands are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from packaging.requirements import Requirement

from shim.building.strategy import ArchPlan
from shim.toolchain.front import NvccCall


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFlags:
    """What one translation unit would be compiled for.

    Attributes:
        asked: code the build asks for, "sm_80", "compute_80"; ("default",) where it names none.
        dropped: of these, what the toolkit does not know: nvcc would stop.
        standard: of C++, "" when not named.
    """

    source: str
    asked: tuple[str, ...]
    dropped: tuple[str, ...]
    standard: str

    def reaches(self, plan: ArchPlan) -> bool:
        """Whether the unit gets what was promised without help."""
        return f"sm_{plan.arch}" in self.asked and all(f"compute_{ptx}" in self.asked for ptx in plan.ptx)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What was found out.

    Attributes:
        units: in order of compilation. finished: the build ran to its end. note: why not, or how it was found out.
        wanted: what the backend asked for and did not find; then nothing was run.
    """

    units: tuple[UnitFlags, ...]
    finished: bool
    seconds: float
    note: str = ""
    wanted: tuple[Requirement, ...] = ()

    def lacking(self, plan: ArchPlan) -> tuple[UnitFlags, ...]:
        return tuple(unit for unit in self.units if not unit.reaches(plan) or unit.dropped)


def unit_flags(calls: Sequence[NvccCall]) -> tuple[UnitFlags, ...]:
    """The calls of nvcc that compile; a unit that is compiled twice alike is listed once."""
    found: dict[UnitFlags, None] = {}
    for call in calls:
        if not call.compiles or call.kind == "link":
            continue
        sources = [word for word in call.argv if PurePath(word).suffix in (".cu", ".cpp", ".cc", ".cxx", ".c")]
        if not sources:
            continue
        asked = tuple(arch for arch in call.archs_before if arch not in call.dropped) or ("default",)
        unit = UnitFlags(
            source=_short(sources[-1], call.cwd),
            asked=asked,
            dropped=call.dropped,
            standard=_standard(call.argv),
        )
        found[unit] = None
    return tuple(found)


def _standard(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    names = re.findall(r"--?std[= ](\S+)", text)
    return names[-1] if names else ""


def _short(source: str, cwd: str) -> str:
    path = PurePath(source)
    folder = PurePath(cwd)
    for root in (folder, *folder.parents):
        if len(root.parts) > 1 and path.is_relative_to(root) and (root.name == "source" or root == folder):
            return str(path.relative_to(root))
    return "/".join(path.parts[-3:])
