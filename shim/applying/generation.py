"""Does the compiler that made some machine code of 12.0a write the same for 12.1a? Asked before any of it is restamped.

Every sample is compiled for sm_120a and, with `.target` edited, for sm_121a. The first, restamped, must be the second
byte for byte, the whole file. What is compiled is kept in the cache by the hash of the ptxas: each is asked once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.applying.compile import Outcome, compile_units
from shim.applying.failure import CompileFailure
from shim.applying.restamp import NEW_NAME, OLD_NAME, RestampRefused, restamp
from shim.applying.restamp_samples import Sample, samples
from shim.applying.retarget import retargeted
from shim.applying.units import CompiledUnit, CompileUnit
from shim.errors import ToolError
from shim.planning.retarget import first_isa
from shim.store import ContentStore
from shim.toolchain import Tool, ptxas_of_release


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A release whose ptxas writes the same for both.

    Attributes:
        tool: the ptxas that was asked. exact: it is of the very release, not a stand-in.
    """

    release: tuple[int, int]
    tool: Tool
    exact: bool

    def __str__(self) -> str:
        version = ".".join(map(str, self.tool.version))
        number = f"{len(samples())} samples"
        if self.exact:
            return f"ptxas {version}, of the release that made it, gives equal bytes for {number}"
        release = ".".join(map(str, self.release))
        why = ", which does not know 12.1" if self.release < (12, 9) else ""
        return f"lower confidence: ptxas {version} was asked in place of {release}{why}; equal bytes for {number}"


class Generations:
    """Asks each release once.

    Args:
        store: cache of compiled samples; None = keep nothing. ptxas: the one the user named. offline: fetch nothing.
    """

    def __init__(self, store: ContentStore | None, ptxas: Path | None = None, *, offline: bool = False) -> None:
        self._store = store
        self._ptxas = ptxas
        self._offline = offline
        self._answers: dict[tuple[int, int], Confirmation | RestampRefused] = {}

    def confirm(self, release: tuple[int, int]) -> Confirmation:
        """Raises RestampRefused: there is no such ptxas, or it writes something else for 12.1a."""
        if release not in self._answers:
            try:
                self._answers[release] = self._ask(release)
            except RestampRefused as error:
                self._answers[release] = error
        answer = self._answers[release]
        if isinstance(answer, RestampRefused):
            raise answer
        return answer

    def _ask(self, release: tuple[int, int]) -> Confirmation:
        try:
            tool = ptxas_of_release(release, explicit=self._ptxas, offline=self._offline)
        except ToolError as error:
            words = f"CUDA {release[0]}.{release[1]} made its machine code, and that cannot be asked: {error.message}"
            raise RestampRefused(words, hint=error.hint) from error
        confirm_with(tool, self._store)
        return Confirmation(release=release, tool=tool, exact=tool.version[:2] == release)


def confirm_with(tool: Tool, store: ContentStore | None) -> None:
    """Ask one ptxas. Raises RestampRefused when it does not write for 12.1a what restamping makes of 12.0a."""
    pairs = [
        (_unit(sample, sample.ptx, OLD_NAME, tool), _unit(sample, _edited(sample), NEW_NAME, tool))
        for sample in samples()
    ]
    made = compile_units([unit for pair in pairs for unit in pair], store=store)
    for old, new in pairs:
        marked = restamp(_cubin(made[old.key], tool))
        if marked.generation != tool.version[:2] or marked.image != _cubin(made[new.key], tool):
            raise RestampRefused(f"{tool} writes something else for {NEW_NAME} than for {OLD_NAME}: {new.label}")


def _edited(sample: Sample) -> bytes:
    return retargeted(sample.ptx, OLD_NAME, NEW_NAME, first_isa(NEW_NAME))


def _unit(sample: Sample, ptx: bytes, target: str, tool: Tool) -> CompileUnit:
    label = f"sample {sample.name}"
    return CompileUnit(key=f"{label} {target}", ptx=ptx, options=sample.options, target=target, tool=tool, label=label)


def _cubin(outcome: Outcome, tool: Tool) -> bytes:
    if isinstance(outcome, CompiledUnit):
        return outcome.cubin
    why = f"{outcome.label}: {outcome.text}" if isinstance(outcome, CompileFailure) else "a sample in time"
    raise RestampRefused(f"{tool} does not compile {why}")
