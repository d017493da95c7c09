"""The one place where rebuilding asks for recipes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.arch import Target
from shim.building.strategy import ArchPlan
from shim.errors import PlanError
from shim.recipes.apply import build_environment, edit_all, placeholders
from shim.recipes.load import load_recipes
from shim.recipes.match import Match, State, match
from shim.recipes.model import AppliesTo
from shim.recipes.order import in_order
from shim.source.edits import FileEdit
from shim.source.rules import BuildSetting, RuleContext
from shim.source.tree import SourceTree

_SILENT = (State.APPLIES, State.APPLIED)


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
    tree: SourceTree,
    *,
    package: str,
    version: str,
    target: Target,
    plan: ArchPlan,
    roots: Sequence[Path] = (),
    chosen: Collection[str] = (),
) -> RecipeWork:
    """Recipes for the sdist of this package and version; nothing when there is none, or no version to go by.

    Raises:
        RecipeError: a recipe is broken or no longer fits the files.
        PlanError: a recipe says that nothing honest can be done.
    """
    if not version:
        return RecipeWork(notes=("no recipes: nothing but setup.py tells the version",))
    matches = match(
        load_recipes(roots),
        package=package,
        version=version,
        kind=AppliesTo.SDIST,
        target=target,
        tree=tree,
        proofs=None,
        chosen=chosen,
    )
    _refuse(matches, package, version)
    recipes = in_order(one.recipe for one in matches if one.state is State.APPLIES)
    values = _values(plan)
    settings = [
        BuildSetting(name=name, value=value, origin=recipe.id, why=recipe.title)
        for recipe in recipes
        for name, value in build_environment(recipe, values).items()
    ]
    return RecipeWork(
        ids=tuple(recipe.id for recipe in recipes),
        edits=edit_all(recipes, tree, values),
        settings=tuple(settings),
        notes=tuple(f"recipe {one.recipe.id}: {one.state}: {one.why}" for one in matches if one.state not in _SILENT),
    )


def _refuse(matches: Sequence[Match], package: str, version: str) -> None:
    for one in matches:
        if one.state is State.REFUSES and one.recipe.refusal is not None:
            refusal = one.recipe.refusal
            raise PlanError(f"{package} {version}: {refusal.reason} [{one.recipe.id}]", hint=refusal.advice or None)


def _values(plan: ArchPlan) -> Mapping[str, str]:
    """Placeholders for the architectures of the rebuild, which need not be those of the device."""
    context = RuleContext(arch=plan.arch, ptx=plan.ptx)
    found = placeholders(plan.arch.capability, suffix=plan.arch.feature)
    return found | {"torch_archs": context.torch_list}
