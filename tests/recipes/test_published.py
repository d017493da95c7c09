"""Every shipped recipe on the files that are really published: fitting in its range, keeping away outside."""

from __future__ import annotations

import ast
from collections.abc import Collection

import pytest
from packaging.version import Version

from shim.arch import ComputeCapability, Target
from shim.errors import RecipeError
from shim.recipes.anchors import check_anchors
from shim.recipes.apply import build_environment, edit
from shim.recipes.load import load_recipes
from shim.recipes.match import State, candidates, match
from shim.recipes.model import AppliesTo, BuildEnv, Recipe
from shim.source.overlay import EditedTree
from shim.source.tree import SourceTree
from tests.recipes import published

RECIPES = {recipe.id: recipe for recipe in load_recipes()}
TARGET = Target(device=ComputeCapability(12, 1))
SPARK = {State.APPLIES, State.UNPROVEN, State.OPT_IN, State.REFUSES}
"""States of a recipe that fits. Proofs by kernels and dependencies need more files than these."""

pytestmark = pytest.mark.real


def _cases(inside: bool) -> list[object]:
    """A recipe with a package and a version; all but the last version of each range count as slow."""
    found = []
    for recipe in RECIPES.values():
        versions = recipe.trial.published if inside else recipe.trial.outside
        for version in versions:
            marks = [] if version == versions[-1] and inside else [pytest.mark.slow]  # one of each is enough for CI
            found += [
                pytest.param(recipe, name, version, id=f"{recipe.id}-{name}-{version}", marks=marks)
                for name in recipe.packages
            ]
    return found


def _tree(recipe: Recipe, package: str, version: str) -> SourceTree:
    return published.tree(package, version, recipe.trial.filename, recipe.trial.python)


def _kind(recipe: Recipe) -> AppliesTo:
    return min(recipe.applies_to, key=list(AppliesTo).index)


@pytest.mark.parametrize(("recipe", "package", "version"), _cases(inside=True))
def test_fits_and_has_effect(recipe: Recipe, package: str, version: str) -> None:
    tree = _tree(recipe, package, version)
    check_anchors(recipe, tree, tree.names())
    kind = _kind(recipe)
    (found,) = match([recipe], package=package, version=version, kind=kind, target=TARGET, tree=tree, proofs=None)
    assert found.state in SPARK, found.why
    if recipe.refusal is not None:
        assert found.state is State.REFUSES
        return
    if any(isinstance(action, BuildEnv) for action in recipe.actions):
        assert all(build_environment(recipe).values())
    if not recipe.file_actions:
        return
    edits = edit(recipe, tree)  # raises unless every action finds the count that it states
    assert edits
    assert all(change.before != change.after for change in edits)
    for change in edits:
        if change.path.endswith(".py"):
            ast.parse(change.after)
    now = EditedTree(tree, {}).with_edits(edits)
    (again,) = match([recipe], package=package, version=version, kind=kind, target=TARGET, tree=now, proofs=None)
    assert again.state is State.APPLIED
    with pytest.raises(RecipeError):
        edit(recipe, now)


@pytest.mark.parametrize(("recipe", "package", "version"), _cases(inside=False))
def test_keeps_away_outside_of_its_range(recipe: Recipe, package: str, version: str) -> None:
    published.choose(package, version, recipe.trial.filename, recipe.trial.python)  # it is there to be met
    found = candidates([recipe], package=package, version=version, kind=_kind(recipe), target=TARGET)
    assert found == ()


def _neighbours(recipe: Recipe, listed: Collection[Version]) -> set[Version]:
    """The published versions next to the range, one on either side of every stretch that lies within."""
    ordered = sorted(version for version in listed if not version.is_prerelease)
    inside = [recipe.versions.contains(version, prereleases=True) for version in ordered]
    pairs = zip(zip(ordered, inside, strict=True), zip(ordered[1:], inside[1:], strict=True), strict=False)
    return {pair[0] if pair[1] is False else other[0] for pair, other in pairs if pair[1] is not other[1]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [pytest.param(one, id=one.id) for one in RECIPES.values() if not one.trial.shape_only]
)
def test_range_is_tried_at_its_ends(recipe: Recipe) -> None:
    trial = recipe.trial
    for package in recipe.packages:
        listed = published.versions(package, trial.filename, trial.python)
        inside = [one for one in listed if recipe.versions.contains(one, prereleases=True)]
        stable = [one for one in inside if not one.is_prerelease] or inside
        tried = {Version(version) for version in trial.published}
        assert tried <= set(listed)
        assert {stable[0], stable[-1]} <= tried, f"first and last of the range: {stable[0]}, {stable[-1]}"
        assert _neighbours(recipe, listed) <= {Version(version) for version in trial.outside}
