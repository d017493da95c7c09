"""Recipes as values. `shim.recipes.load` makes them from TOML; docs/recipes.md has the table of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from packaging.specifiers import SpecifierSet

from shim.arch import Arch, ComputeCapability

SCHEMA: Final = 1


class AppliesTo(StrEnum):
    """What a recipe is carried out on."""

    WHEEL = "wheel"
    SDIST = "sdist"
    INSTALLED = "installed"
    ENVIRONMENT = "environment"
    RUN = "run"


LOCAL: Final = frozenset({AppliesTo.INSTALLED, AppliesTo.ENVIRONMENT, AppliesTo.RUN})
"""Where the dependencies of a package are those it will run with, so that they can be looked at."""


class Risk(StrEnum):
    """How much a recipe may change beside what it is for."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class GateKind(StrEnum):
    """What an edit does to a test of the device: opens a path (needs a proof), widens an exclusion, or neither."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Text to look for: a literal, or a regular expression in MULTILINE mode."""

    text: str
    is_regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What must be there for a recipe to fit.

    Attributes:
        path: glob; `*` stays within a folder, `**` crosses them.
        count: files that match and hold `find` exactly `occurrences` times.
        sha256: hashes of the whole file that are known; empty: any.
    """

    path: str
    count: int
    find: Pattern | None
    occurrences: int
    sha256: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """A sign that upstream has done the work: `find` occurs in a file that matches `path`, or is absent from it."""

    path: str
    find: Pattern
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProof:
    """A kernel of the wheel that loads on the target and has a body.

    arch: None means any image that loads on the target; else the image must be there.
    """

    member: str
    name: str
    arch: Arch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JitTableProof:
    """The package compiles on the user's machine, and its table of architectures has the target."""

    path: str
    find: Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyProof:
    """A named distribution, looked at where the package is installed, brings what the gate asks for."""

    distribution: str
    versions: SpecifierSet
    library: str | None
    contains: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProof:
    """The rebuild that applies the recipe compiles the code itself."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAGate:
    """A statement that no path is opened. It proves nothing."""

    why: str


Proof = KernelProof | JitTableProof | DependencyProof | SourceProof | NotAGate


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPython:
    """Replace expressions, or runs of statements, that equal `find` but for formatting, within `scope`."""

    path: str
    scope: str
    find: str
    replace: str
    count: int
    gate: GateKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendPython:
    """Add elements to the literal assigned to `target`."""

    path: str
    scope: str
    target: str
    add: str
    count: int
    gate: GateKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceText:
    """Replace a literal text."""

    path: str
    find: str
    replace: str
    count: int
    gate: GateKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SetArchList:
    """Give a CMake variable other values where `set()` sets it. `value` may hold placeholders."""

    path: str
    variable: str
    value: str
    count: int
    gate: GateKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEnv:
    """Environment of the build. Values may hold placeholders."""

    set: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnv:
    """Environment of programs that use the package."""

    set: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CMakeOverlay:
    """Put a CMake module that shim ships at `path`, over one that is there."""

    module: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Name a newer tool to the package by the variable it reads."""

    tool: str
    version: str
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectSass:
    """Ask `patch` for machine code in these members."""

    members: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retarget:
    """State that `patch` compiles PTX of another member of the target's family in these members."""

    members: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Nothing that is honest can be done."""

    reason: str
    advice: str


Action = (
    EditPython
    | AppendPython
    | ReplaceText
    | SetArchList
    | BuildEnv
    | RunEnv
    | CMakeOverlay
    | Toolchain
    | InjectSass
    | Retarget
    | Refuse
)

FileAction = EditPython | AppendPython | ReplaceText | SetArchList | CMakeOverlay
"""Those that change files (`shim.recipes.apply.edit`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsWhen:
    """What makes the recipe needless: a version range, or something to look at. `path` and `find` can be checked."""

    versions: SpecifierSet | None
    probe: str
    path: str
    find: Pattern | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Published files that the recipe is tried on.

    Attributes:
        published: versions within the range. outside: the nearest ones that it must leave alone.
        shape_only: none can be had; a made file of the same shape stands in.
        filename: "sdist", or the platform of a wheel.
        python: version whose wheel is fetched.
    """

    published: tuple[str, ...]
    outside: tuple[str, ...]
    shape_only: bool
    filename: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What has to change in one package, for a range of its versions.

    Attributes:
        packages: normalised names. file: where it was read from.
        after: recipes that go first when they apply too. conflicts: those that must not apply together with it.
    """

    id: str
    title: str
    packages: tuple[str, ...]
    versions: SpecifierSet
    applies_to: frozenset[AppliesTo]
    targets: tuple[ComputeCapability, ...]
    risk: Risk
    opt_in: bool
    why: str
    evidence: tuple[str, ...]
    ends_when: EndsWhen
    after: tuple[str, ...]
    conflicts: tuple[str, ...]
    anchors: tuple[Anchor, ...]
    superseded: tuple[Superseded, ...]
    proofs: tuple[Proof, ...]
    actions: tuple[Action, ...]
    trial: Trial
    file: Path

    @property
    def opens_gate(self) -> bool:
        """Whether a proof is needed."""
        return any(getattr(action, "gate", None) is GateKind.POSITIVE for action in self.actions)

    @property
    def refusal(self) -> Refuse | None:
        """Its refusal, if that is what it is."""
        return next((action for action in self.actions if isinstance(action, Refuse)), None)

    @property
    def file_actions(self) -> tuple[FileAction, ...]:
        """Its changes of files, in order."""
        return tuple(action for action in self.actions if isinstance(action, FileAction))
