"""What `apply --env` and `undo --env` did to an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shim.arch import Target
from shim.errors import RecipeError, ShimError
from shim.recipes.outcome import Match
from shim.source.edits import FileEdit


class Ending(StrEnum):
    """What became of one distribution."""

    APPLIED = "applied"
    VARIABLES = "variables"  # no file changes; programs need variables
    PLANNED = "planned"  # a dry run would have applied something
    ALREADY = "applied-already"
    NOTHING = "nothing-to-do"
    REFUSED = "refused"
    FAILED = "failed"
    TAKEN_BACK = "taken-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolWanted:
    """A tool that a recipe names to the package by a variable."""

    variable: str
    tool: str
    version: str
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionResult:
    """What was done to one distribution, or would be.

    Attributes:
        matches: recipes for this package and version. edits: of files, in order.
        variables: environment that its programs need. tools: variables whose value is the path of a tool.
        error: why it was left as it is, None unless FAILED.
    """

    name: str
    version: str
    ending: Ending
    matches: tuple[Match, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[ToolWanted, ...] = ()
    error: ShimError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentResult:
    """All distributions for which there is a recipe."""

    prefix: str
    target: Target
    results: tuple[DistributionResult, ...]

    @property
    def variables(self) -> dict[str, str]:
        """Variables of all of them. Raises RecipeError when two recipes disagree."""
        found: dict[str, str] = {}
        for result in self.results:
            for name, value in result.variables.items():
                if found.setdefault(name, value) != value:
                    raise RecipeError(
                        f"{name}: one recipe asks for {found[name]!r}, that of {result.name} for {value!r}",
                        hint="choose one with --recipe ID",
                    )
        return found
