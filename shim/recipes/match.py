"""Which recipes a package wants, and what stands in the way of the others. Pure: reads a tree, changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from shim.arch import Target
from shim.errors import RecipeError
from shim.recipes.anchors import check_anchors, count_in
from shim.recipes.applied import is_applied
from shim.recipes.model import AppliesTo, Recipe
from shim.recipes.outcome import Match, State
from shim.recipes.proof import ProofSource, holds
from shim.source.glob import matching
from shim.source.tree import SourceTree

__all__ = ["Match", "State", "candidates", "match"]


def match(
    recipes: Iterable[Recipe],
    *,
    package: str,
    version: str,
    kind: AppliesTo,
    target: Target,
    tree: SourceTree,
    proofs: ProofSource | None,
    chosen: Collection[str] = (),
) -> tuple[Match, ...]:
    """Judge the recipes for one package. Those for other packages, versions, kinds or targets are left out.

    Args:
        chosen: ids asked for by name; opt-in recipes apply only then.

    Raises:
        RecipeError: anchors of a recipe do not hold, so it no longer fits; all such recipes are named.
    """
    found: list[Match] = []
    faults: list[str] = []
    for recipe in candidates(recipes, package=package, version=version, kind=kind, target=target):
        try:
            state, why = _judge(recipe, kind, target, tree, proofs, chosen, version)
        except RecipeError as error:
            faults.append(error.message)
        else:
            found.append(Match(recipe=recipe, state=state, why=why))
    if faults:
        raise RecipeError(
            "\n".join(faults),
            hint=f"{package} {version} is not what the recipe was written for; please report it with that version",
        )
    return tuple(found)


def candidates(
    recipes: Iterable[Recipe], *, package: str, version: str, kind: AppliesTo, target: Target
) -> tuple[Recipe, ...]:
    """Recipes for this package, version, kind and target, whatever its files hold. A bad version fits nothing."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return ()
    name = canonicalize_name(package)
    return tuple(
        recipe
        for recipe in recipes
        if name in recipe.packages
        and kind in recipe.applies_to
        and target.device.canonical in {device.canonical for device in recipe.targets}
        and recipe.versions.contains(parsed, prereleases=True)
    )


def _judge(
    recipe: Recipe,
    kind: AppliesTo,
    target: Target,
    tree: SourceTree,
    proofs: ProofSource | None,
    chosen: Collection[str],
    version: str,
) -> tuple[State, str]:
    names = tree.names()
    if (why := _superseded(recipe, tree, names, version)) is not None:
        return State.SUPERSEDED, why
    if is_applied(recipe, tree):
        return State.APPLIED, "every edit is there already"
    if recipe.opt_in and recipe.id not in chosen:
        return State.OPT_IN, f"only with --recipe {recipe.id} (risk: {recipe.risk})"
    check_anchors(recipe, tree, names)
    if (refusal := recipe.refusal) is not None:
        return State.REFUSES, f"{refusal.reason} {refusal.advice}"
    if not recipe.opens_gate:
        return State.APPLIES, recipe.title
    reasons = []
    for proof in recipe.proofs:
        proven, why = holds(proof, tree=tree, source=proofs, target=target.device, sdist=kind is AppliesTo.SDIST)
        if proven:
            return State.APPLIES, why
        reasons.append(why)
    return State.UNPROVEN, "; ".join(reasons)


def _superseded(recipe: Recipe, tree: SourceTree, names: Collection[str], version: str) -> str | None:
    ends = recipe.ends_when
    if ends.versions is not None and ends.versions.contains(version, prereleases=True):
        return f"{version} is {ends.versions}, where upstream has it"
    for sign in recipe.superseded:
        for name in matching(names, sign.path):
            if (count_in(sign.find, tree, name) > 0) is not sign.absent:
                return f"{name} {'lacks' if sign.absent else 'has'} {sign.find.text!r}: upstream has it"
    if ends.find is not None:
        for name in matching(names, ends.path):
            if count_in(ends.find, tree, name):
                return f"{name} has {ends.find.text!r}: upstream has it"
    return None
