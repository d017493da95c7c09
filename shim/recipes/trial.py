"""Tries recipes on the published files that they name: they fit, have an effect, and refuse a second time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shim.arch import Target
from shim.errors import RecipeError, ShimError
from shim.recipes.anchors import check_anchors
from shim.recipes.apply import build_environment, edit
from shim.recipes.facts import PackageProofs
from shim.recipes.match import State, candidates, match
from shim.recipes.model import Recipe
from shim.recipes.subject import PackageSubject, open_subject
from shim.source.overlay import EditedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One recipe on one published version. `error` is "" when all is well; `words` says what was seen."""

    recipe: str
    version: str
    words: str
    error: str


def try_recipe(recipe: Recipe, target: Target) -> Iterator[TrialResult]:
    """Fetch every version of `[test].published` and try the recipe on it; fetched files stay in the cache."""
    for version in recipe.trial.published:
        try:
            words = try_on(recipe, fetch_published(recipe, version), target)
        except (ShimError, OSError) as error:
            yield TrialResult(recipe=recipe.id, version=version, words="", error=str(error))
        else:
            yield TrialResult(recipe=recipe.id, version=version, words=words, error="")


def try_on(recipe: Recipe, path: Path, target: Target) -> str:
    """Try a recipe on one file, and say what was seen.

    Raises:
        RecipeError: it does not fit, has no effect, or could be applied twice.
        InputError: the file cannot be read.
    """
    with open_subject(path) as subject:
        check_anchors(recipe, subject.tree, subject.tree.names())
        edits = edit(recipe, subject.tree) if recipe.file_actions else ()
        after = EditedTree(subject.tree, {}).with_edits(edits)
        if edits:
            _check_second(recipe, after)
        state = _state(recipe, subject, target)
    files = ", ".join(change.path for change in edits)
    variables = ", ".join(build_environment(recipe))
    done = "; ".join(part for part in (files and f"edits {files}", variables and f"sets {variables}") if part)
    return f"{state}{': ' if done else ''}{done}"


def fetch_published(recipe: Recipe, version: str) -> Path:
    """The published file of a version, as `[test].filename` says; from the cache when it is there.

    Raises:
        ToolError: it cannot be fetched. InputError: there is no such file.
    """
    from shim.scan.fetch import fetch, fetch_source, parse_requirement

    requirement = parse_requirement(f"{recipe.packages[0]}=={version}")
    if recipe.trial.filename == "sdist":
        return fetch_source(requirement, python=recipe.trial.python).path
    machine = recipe.trial.filename.partition(" ")[2] or None
    return fetch(requirement, machine=machine, python=recipe.trial.python).path


def _check_second(recipe: Recipe, after: EditedTree) -> None:
    try:
        edit(recipe, after)
    except RecipeError:
        return
    raise RecipeError(f"{recipe.id}: can be applied a second time")


def _state(recipe: Recipe, subject: PackageSubject, target: Target) -> State:
    """The state for the first kind that the recipe is for. Dependencies are not known here: unproven is no fault.

    Raises:
        RecipeError: the version is outside of the recipe's range, or upstream has it already.
    """
    for kind in sorted(recipe.applies_to):
        fitting = candidates([recipe], package=recipe.packages[0], version=subject.version, kind=kind, target=target)
        if fitting:
            break
    else:
        raise RecipeError(f"{recipe.id}: {subject.version} is outside of {recipe.versions}, or the target is")
    found = match(
        [recipe],
        package=recipe.packages[0],
        version=subject.version,
        kind=kind,
        target=target,
        tree=subject.tree,
        proofs=PackageProofs(subject.source, target),
        chosen=(recipe.id,),
    )[0]
    if found.state in (State.SUPERSEDED, State.APPLIED):
        raise RecipeError(f"{recipe.id}: {found.state}: {found.why}")
    return found.state
