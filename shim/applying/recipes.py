"""Recipes for a wheel: matched against its members, their edits made beside the plan for its libraries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from shim.errors import RecipeError
from shim.planning import Act, Plan
from shim.recipes.apply import edit_all
from shim.recipes.facts import PackageProofs
from shim.recipes.match import Match, State, candidates, match
from shim.recipes.model import AppliesTo, InjectSass, Recipe, Retarget
from shim.recipes.order import in_order
from shim.scan.sources import ZipSource
from shim.source.glob import matching
from shim.source.overlay import ArchiveTree
from shim.wheels.archive import WheelArchive
from shim.wheels.name import WheelName

_HINT = "patch without them by --no-recipes, and please report the name of the wheel"


def with_recipes(
    plan: Plan,
    archive: WheelArchive,
    name: WheelName,
    recipes: Sequence[Recipe],
    chosen: Collection[str] | None,
    *,
    nvidia: bool,
) -> Plan:
    """The plan with the recipes for this wheel and their edits.

    Args:
        chosen: ids of opt-in recipes asked for; None: no recipes at all.
        nvidia: the whole wheel is NVIDIA's, so that nothing in it is edited.

    Raises:
        RecipeError: a recipe no longer fits the wheel, two conflict, or an edit has no effect.
    """
    version = str(name.version)
    fitting = candidates(
        recipes, package=str(name.normalized), version=version, kind=AppliesTo.WHEEL, target=plan.target
    )
    if chosen is None or not fitting:
        return plan
    if nvidia:
        why = "the whole wheel is NVIDIA's; its licence forbids changes"
        return replace(plan, recipes=tuple(Match(recipe=r, state=State.UNPROVEN, why=why) for r in fitting))
    tree = ArchiveTree(archive)
    try:
        found = match(
            fitting,
            package=str(name.normalized),
            version=version,
            kind=AppliesTo.WHEEL,
            target=plan.target,
            tree=tree,
            proofs=PackageProofs(ZipSource(archive), plan.target),
            chosen=chosen,
        )
        doing = in_order(one.recipe for one in found if one.state is State.APPLIES)
        for recipe in doing:
            _check_members(recipe, tree.names(), plan)
        edits = edit_all(doing, tree)
    except RecipeError as error:
        raise RecipeError(f"{archive.path.name}: {error.message}", hint=_HINT) from error
    for edit in edits:
        if edit.path.startswith(f"{archive.dist_info}/"):
            raise RecipeError(f"{edit.origin}: {edit.path}: the wheel's own metadata are not edited by recipes")
    order = {recipe.id: number for number, recipe in enumerate(doing)}
    return replace(
        plan,
        recipes=tuple(sorted(found, key=lambda one: (order.get(one.recipe.id, len(order)), one.recipe.id))),
        edits=edits,
    )


def _check_members(recipe: Recipe, names: Collection[str], plan: Plan) -> None:
    """What a recipe wants machine code in must be there, and what it wants retargeted must need that.

    `patch` plans every library anyway, and retargets wherever its rule says so, with or without a recipe.
    """
    for action in recipe.actions:
        if isinstance(action, InjectSass | Retarget) and not matching(names, action.members):
            raise RecipeError(f"{recipe.id}: no longer fits: no member matches {action.members!r}")
        if isinstance(action, Retarget) and not _is_retargeted(plan, matching(names, action.members)):
            raise RecipeError(
                f"{recipe.id}: no longer fits: no container of {action.members!r} has PTX for another architecture of "
                "the target's family alone"
            )


def _is_retargeted(plan: Plan, members: Collection[str]) -> bool:
    """Whether a library among these is retargeted, or was left out by `--only` or for its licence."""
    libraries = [library for library in plan.libraries if library.member in members]
    return any(
        library.skipped
        or any(make.act is Act.RETARGET for step in library.steps for make in step.makes)
        or any(refusal.code == "nvidia-licensed" for refusal in library.refusals)
        for library in libraries
    )
