"""The shipped recipes as a set: how many, for what, tried on what. No network."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from shim.arch import ComputeCapability, Target
from shim.errors import RecipeError
from shim.recipes.anchors import check_anchors
from shim.recipes.apply import edit
from shim.recipes.load import load_recipes, shipped_folder
from shim.recipes.match import State, match
from shim.recipes.model import AppliesTo, DependencyProof, GateKind, Recipe, SourceProof
from shim.source.overlay import EditedTree
from shim.source.tree import FolderTree
from tests.recipes import catalogue

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECIPES = load_recipes()
SHAPE_ONLY = [recipe for recipe in RECIPES if recipe.trial.shape_only]


def test_at_least_forty_over_twenty_libraries() -> None:
    assert len(RECIPES) >= 40
    assert len({path.parent.name for path in shipped_folder().glob("*/*.toml")}) >= 20
    assert len({package for recipe in RECIPES for package in recipe.packages}) >= 20


def test_ids_are_unique_and_name_their_files() -> None:
    counted = Counter(path.stem for path in shipped_folder().rglob("*.toml"))
    assert {name for name, count in counted.items() if count > 1} == set()
    assert set(counted) == {recipe.id for recipe in RECIPES}


@pytest.mark.parametrize("recipe", [pytest.param(one, id=one.id) for one in RECIPES])
def test_says_why_and_how_it_was_tried(recipe: Recipe) -> None:
    assert len(recipe.why) > 60
    assert recipe.evidence
    assert recipe.ends_when.versions is not None or recipe.ends_when.probe
    assert recipe.trial.published or (recipe.trial.shape_only and (HERE / "shape" / recipe.id).is_dir())
    assert recipe.anchors or recipe.refusal is not None


def test_no_shape_is_left_over() -> None:
    assert {path.name for path in (HERE / "shape").iterdir()} == {recipe.id for recipe in SHAPE_ONLY}


@pytest.mark.parametrize("recipe", [pytest.param(one, id=one.id) for one in RECIPES if one.opens_gate])
def test_an_opened_gate_is_proven_where_it_can_be(recipe: Recipe) -> None:
    for proof in recipe.proofs:
        if isinstance(proof, SourceProof):
            assert recipe.applies_to == {AppliesTo.SDIST}
        if isinstance(proof, DependencyProof):
            assert recipe.applies_to <= {AppliesTo.INSTALLED, AppliesTo.ENVIRONMENT, AppliesTo.RUN}


@pytest.mark.parametrize("recipe", [pytest.param(one, id=one.id) for one in RECIPES if one.file_actions])
def test_no_edit_lets_12_into_code_for_10(recipe: Recipe) -> None:
    """Kernels for 10.x use tensor memory, which 12.x lacks; nor is the device passed off as another one."""
    for action in recipe.file_actions:
        if getattr(action, "gate", None) is not GateKind.POSITIVE:
            continue
        found, made = getattr(action, "find", ""), getattr(action, "replace", "") + getattr(action, "add", "")
        assert "tcgen05" not in found
        if "100" in found or "(10, " in found:  # then 12 stands beside it by its own name, as 120 did or would
            assert "120" in made or "12" in made
        assert "get_device_capability =" not in made


@pytest.mark.parametrize("recipe", [pytest.param(one, id=one.id) for one in SHAPE_ONLY])
def test_shapes(recipe: Recipe) -> None:
    tree = FolderTree(HERE / "shape" / recipe.id)
    check_anchors(recipe, tree, tree.names())
    kind = next(kind for kind in AppliesTo if kind in recipe.applies_to)
    target = Target(device=ComputeCapability(12, 1))
    version = {"vllm": "0.29.1.dev10", "sageattention": "2.2.0", "k2": "1.24.4", "ctranslate2": "4.8.5"}
    where = {"package": recipe.packages[0], "version": version[recipe.packages[0]], "kind": kind, "target": target}
    (found,) = match([recipe], **where, tree=tree, proofs=None)
    assert found.state is State.APPLIES, found.why
    if not recipe.file_actions:
        return
    now = EditedTree(tree, {}).with_edits(edit(recipe, tree))
    (again,) = match([recipe], **where, tree=now, proofs=None)
    assert again.state in (State.APPLIED, State.SUPERSEDED)
    with pytest.raises(RecipeError):
        edit(recipe, now)


def test_each_class_of_failure_is_answered() -> None:
    classes = tomllib.loads((HERE / "coverage.toml").read_text("utf-8"))["class"]
    assert [one["number"] for one in classes] == list(range(1, 19))
    known = {recipe.id for recipe in RECIPES}
    for one in classes:
        assert set(one["recipes"]) <= known, one["name"]
        assert one["recipes"] or one["code"], one["name"]
        assert all((ROOT / path).is_file() for path in one["code"]), one["name"]
        assert one["why"].strip()


def test_catalogue_is_what_the_recipes_say() -> None:
    assert catalogue.PAGE.read_text("utf-8") == catalogue.page(), "python -m tests.recipes.catalogue writes it"
