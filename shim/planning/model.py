"""What will be done to a wheel or file, and what will not, with the reason for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shim.arch import Grade, Target
from shim.devicecode.model import GpuImage
from shim.planning.layout import LayoutChoice
from shim.planning.wanted import Wanted
from shim.recipes.outcome import Match, State
from shim.source.edits import FileEdit


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One image that a step compiles (PTX) or takes as it is (relocatable machine code of the target)."""

    container: int
    image: GpuImage


class Act(StrEnum):
    """How a new image is made."""

    COMPILE = "compile"
    """ptxas, from PTX as it is."""
    LINK = "link"
    """ptxas for each relocatable source, then nvlink."""
    LINK_LTO = "link-lto"
    """The same with nvJitLink, since some source is LTO-IR."""
    RETARGET = "retarget"
    """ptxas, from PTX whose `.target` was rewritten from another architecture of the same family."""
    RESTAMP = "restamp"
    """Machine code of another architecture of the same family, marked anew. Nothing is compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """One new image for a container.

    Attributes:
        sources: what it is made from; one, except for LINK and LINK_LTO.
        arch: what it will be, "sm_121" or "sm_121a"; unique within a container.
    """

    act: Act
    sources: tuple[Source, ...]
    arch: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What becomes of one container: new images first, then the old ones that are kept, in their order.

    Attributes:
        container, offset: index and file offset.
        wrappers: file offsets of the wrapper records that point at it; empty for a .fatbin file.
        drops: positions of images that are left out. When a make fails, nothing is dropped.
        packs: positions of stored images that are compressed.
    """

    container: int
    offset: int
    wrappers: tuple[int, ...]
    makes: tuple[Make, ...]
    drops: tuple[int, ...] = ()
    packs: tuple[int, ...] = ()


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


def is_postponed(code: str) -> bool:
    """Refusals that end by running the same command again."""
    return code == "left-out-by-budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Grade of a file on one target: now, and as `verify` will hold the result to."""

    target: Target
    before: Grade
    after: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """What steps leave out of a file, and what they compress.

    Attributes:
        dropped: (image, how many), such as ("sm_90a", 12). dropped_bytes: what they take in the file.
        packed: old images to compress. packable_bytes: what they take now.
    """

    dropped: tuple[tuple[str, int], ...] = ()
    dropped_bytes: int = 0
    packed: int = 0
    packable_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPlan:
    """Steps for one file.

    Attributes:
        promises: one for each target.
        layout: how the file will be written, as far as it can be told before anything is compiled.
        skipped: containers left out by `--only`.
        ptx_bytes: PTX text to compile, for the estimate of the cost.
        licence: why NVIDIA's licence covers the file that is changed all the same (`--allow-nvidia`), else "".
        notes: what is in the file and stays as it is, without being needed otherwise on any target.
        reduction: what the drops and packs of the steps come to.
    """

    member: str
    promises: tuple[Promise, ...]
    steps: tuple[ContainerPlan, ...]
    refusals: tuple[Refusal, ...]
    layout: LayoutChoice
    skipped: int = 0
    ptx_bytes: int = 0
    licence: str = ""
    notes: tuple[str, ...] = ()
    reduction: Reduction = Reduction()

    @property
    def before(self) -> Grade:
        """The worst over all targets."""
        return min(promise.before for promise in self.promises)

    @property
    def promised(self) -> Grade:
        """The worst over all targets."""
        return min(promise.after for promise in self.promises)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps for one wheel or file. Libraries that need nothing are not in it.

    Attributes:
        recipes: those for this package and version, with what becomes of each. edits: of files, in order.
        notes: what patching does not change and the user should know, such as variables to set.
    """

    wanted: Wanted
    subject: str
    libraries: tuple[LibraryPlan, ...]
    recipes: tuple[Match, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        """The first target."""
        return self.wanted.targets[0]

    @property
    def steps(self) -> int:
        return sum(len(library.steps) for library in self.libraries)

    @property
    def refused_by(self) -> Match | None:
        """The recipe that says that nothing can be done to the whole package.

        Not where the user asked for restamping and something is restamped: that answers "no code for the target".
        """
        if any(make.act is Act.RESTAMP for library in self.libraries for step in library.steps for make in step.makes):
            return None
        return next((match for match in self.recipes if match.state is State.REFUSES), None)

    @property
    def left_out(self) -> tuple[tuple[str, int], ...]:
        """(member, container) of those that `--budget` left no time for."""
        return tuple(
            (library.member, refusal.container)
            for library in self.libraries
            for refusal in library.refusals
            if is_postponed(refusal.code) and refusal.container is not None
        )

    @property
    def edited(self) -> dict[str, bytes]:
        """Contents of edited files, by path, after the last edit of each."""
        return {edit.path: edit.after for edit in self.edits}

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(refusal for library in self.libraries for refusal in library.refusals)
