"""What will be done to a wheel or file, and what will not, with the reason for each."""

from __future__ import annotations

from dataclasses import dataclass

from shim.arch import Grade, Target
from shim.devicecode.model import GpuImage
from shim.recipes.outcome import Match, State
from shim.source.edits import FileEdit


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One image that a step compiles (PTX) or takes as it is (relocatable machine code of the target)."""

    container: int
    image: GpuImage


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectSass:
    """Compile the sources, device-link them when the container is a linked one, add the machine code to it.

    Attributes:
        container, offset: index and file offset of the container that gets the new image.
        wrappers: file offsets of the wrapper records that point at it; empty for a .fatbin file.
        arch: what ptxas is asked for, "sm_121" or "sm_121a".
        link: the sources are relocatable and have to be device-linked.
    """

    container: int
    offset: int
    wrappers: tuple[int, ...]
    sources: tuple[Source, ...]
    arch: str
    link: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A container (or, with container None, a whole library) that stays as it is although the target wants more.

    code: stable kebab-case name; the table of docs/patching.md lists them.
    """

    code: str
    container: int | None
    offset: int
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPlan:
    """Steps for one file.

    Attributes:
        before: grade now. promised: grade that `verify` will hold the result to.
        skipped: containers left out by `--only`.
        ptx_bytes: PTX text to compile, for the estimate of the cost.
    """

    member: str
    before: Grade
    promised: Grade
    steps: tuple[InjectSass, ...]
    refusals: tuple[Refusal, ...]
    skipped: int
    ptx_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps for one wheel or file. Libraries that need nothing are not in it.

    Attributes:
        recipes: those for this package and version, with what becomes of each. edits: of files, in order.
    """

    target: Target
    subject: str
    libraries: tuple[LibraryPlan, ...]
    recipes: tuple[Match, ...] = ()
    edits: tuple[FileEdit, ...] = ()

    @property
    def steps(self) -> int:
        return sum(len(library.steps) for library in self.libraries)

    @property
    def refused_by(self) -> Match | None:
        """The recipe that says that nothing honest can be done to the whole package."""
        return next((match for match in self.recipes if match.state is State.REFUSES), None)

    @property
    def edited(self) -> dict[str, bytes]:
        """Contents of edited files, by path, after the last edit of each."""
        return {edit.path: edit.after for edit in self.edits}

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(refusal for library in self.libraries for refusal in library.refusals)
