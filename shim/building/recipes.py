"""The one place where rebuilding asks for recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.arch import Target
from shim.building.strategy import ArchPlan
from shim.source.edits import FileEdit
from shim.source.rules import BuildSetting
from shim.source.tree import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeWork:
    """What recipes ask of a rebuild.

    Attributes:
        ids: recipes that apply, in order. edits: of files, in order. settings: variables, filled in.
        notes: about those that do not apply, and why.
    """

    ids: tuple[str, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    settings: tuple[BuildSetting, ...] = ()
    notes: tuple[str, ...] = ()


def recipe_work(
    tree: SourceTree, *, package: str, version: str, target: Target, plan: ArchPlan, roots: Sequence[Path] = ()
) -> RecipeWork:
    """Recipes of this package and version; nothing when there is none.

    Raises:
        RecipeError: a recipe is broken, no longer fits the files, or refuses.
    """
    return RecipeWork()
