"""What the user asks of a rebuild, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from shim.arch import Arch, Target
from shim.building.effort import Effort
from shim.building.isolation import IsolationPlan
from shim.building.metadata import SourceMetadata
from shim.building.probe import ProbeResult
from shim.building.strategy import ArchPlan, Strategy
from shim.building.suffix import SuffixSign
from shim.source.edits import FileEdit
from shim.source.rules import BuildSetting
from shim.wheels.limits import Limits

TIMEOUT = 6 * 3600.0
"""Seconds that one hook of a backend may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildRequest:
    """Attributes:
    subject: a requirement, an sdist or a folder.
    folder: where the wheel goes.
    machine: processor that the wheel is wanted for; None for this one.
    python: environment to build against (prefix or program), None for the running one.
    toolkit: CUDA_HOME, None to search.
    settings: variables of the user's own; they win over those of rules and recipes.
    pass_env: names of present variables that the build may see.
    requirements: further build requirements.
    recipe_roots: folders with further recipes. recipes: ids of opt-in ones that are asked for.
    network: the build may use the network.
    as_is: no rule and no recipe is applied.
    again: do not go on with what an earlier run left.
    """

    subject: str
    folder: Path
    target: Target = field(default_factory=Target)
    machine: str | None = None
    strategy: Strategy = Strategy.NATIVE
    with_ptx: tuple[Arch, ...] = ()
    dry_run: bool = False
    python: Path | None = None
    toolkit: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    recipe_roots: tuple[Path, ...] = ()
    recipes: tuple[str, ...] = ()
    jobs: int | None = None
    timeout: float = TIMEOUT
    network: bool = False
    as_is: bool = False
    repair: bool = True
    again: bool = False
    force: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What will be done, before anything of the package runs.

    settings: variables for the build, by rules, recipes and the user; of equal names the last wins.
    """

    metadata: SourceMetadata
    plan: ArchPlan
    signs: tuple[SuffixSign, ...]
    edits: tuple[FileEdit, ...]
    settings: tuple[BuildSetting, ...]
    recipes: tuple[str, ...]
    effort: Effort
    notes: tuple[str, ...]


class RebuildOutcome(StrEnum):
    """`planned`: a dry run, everything would reach the target. `short`: a dry run, something would not."""

    BUILT = "built"
    PLANNED = "planned"
    SHORT = "short"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildResult:
    """Attributes:
    path: the wheel, None for a dry run.
    mode: what the stand-in for nvcc does in the build ("drop-only", "replace" ...).
    asked: hosts that the build asked for and did not get.
    checks: what was verified, in words.
    """

    outcome: RebuildOutcome
    prepared: Preparation
    isolation: IsolationPlan
    probe: ProbeResult | None
    mode: str
    jobs: int
    work: Path
    path: Path | None = None
    checks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: bool = False
