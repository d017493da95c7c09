"""What becomes of the recipes whose package and version fit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shim.recipes.model import Recipe


class State(StrEnum):
    """What becomes of a recipe whose package and version fit."""

    APPLIES = "applies"
    SUPERSEDED = "superseded"  # upstream has done it already
    APPLIED = "applied-already"
    UNPROVEN = "unproven"  # it would open a gate, and no proof holds
    OPT_IN = "opt-in"  # it applies when it is asked for by name
    REFUSES = "refuses"  # it says that nothing honest can be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A recipe for this package and version. `why` is the fact that decided."""

    recipe: Recipe
    state: State
    why: str
