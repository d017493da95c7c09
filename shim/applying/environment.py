"""Carries out recipes on the installed distributions of an environment, and takes them back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shim.applying.applied import folder_of, read_applied
from shim.applying.environment_result import DistributionResult, Ending, EnvironmentResult, ToolWanted
from shim.applying.installed_edits import apply_edits, sweep, take_back
from shim.applying.replace import locked, sha256
from shim.arch import Target
from shim.errors import InputError, ShimError, UsageError
from shim.provenance.recipes import diffs_from, recipe_records
from shim.recipes.apply import edit_all
from shim.recipes.facts import InstalledProofs
from shim.recipes.match import Match, State, candidates, match
from shim.recipes.model import AppliesTo, Recipe, RunEnv, Toolchain
from shim.recipes.order import in_order
from shim.scan.installed import Distribution, distributions, owned_files
from shim.source.edits import FileEdit
from shim.source.overlay import EditedTree, NamedTree
from shim.source.tree import SourceTree

_KINDS: Final = (AppliesTo.INSTALLED, AppliesTo.ENVIRONMENT, AppliesTo.RUN)


def apply_to_environment(
    prefix: Path, recipes: Sequence[Recipe], target: Target, *, chosen: Collection[str] = (), dry_run: bool = False
) -> EnvironmentResult:
    """Apply what fits to every installed distribution, each of them whole or not at all.

    A distribution that cannot be changed does not keep the others from it; its result has the error.

    Args:
        chosen: ids; only these then, opt-in ones included.

    Raises:
        UsageError: a chosen id is not known. InputError: there is no environment at `prefix`.
    """
    known = {recipe.id for recipe in recipes}
    if unknown := sorted(set(chosen) - known):
        raise UsageError(f"no recipe has the id {unknown[0]!r}", hint="`shim recipes list` names them")
    installed = distributions(prefix)
    results = []
    for distribution in installed:
        wanted = _for(distribution, recipes, target)
        if not wanted and not folder_of(distribution).exists():
            continue
        results.append(_apply(distribution, prefix, wanted, target, chosen, dry_run))
    return EnvironmentResult(
        prefix=str(prefix), target=target, results=tuple(result for result in results if result is not None)
    )


def undo_environment(prefix: Path, target: Target, *, names: Collection[str] = ()) -> EnvironmentResult:
    """Take back what was applied, also by runs that were interrupted.

    Args:
        names: of distributions or recipes; everything when empty. Of a distribution, all recipes go together.

    Raises:
        UsageError: nothing of that name was applied. InputError: there is no environment at `prefix`.
    """
    results = []
    left = set(names)
    for distribution in distributions(prefix):
        if not folder_of(distribution).exists():
            continue
        try:
            with locked(distribution.site):
                applied = read_applied(distribution)
                ids = {_normalized(distribution.name), *(applied.recipes if applied is not None else ())}
                asked = {name for name in names if name in ids or _normalized(name) in ids}
                if names and not asked:
                    continue
                left -= asked
                take_back(distribution)
        except ShimError as error:
            results.append(_result(distribution, Ending.FAILED, error=error))
        else:
            results.append(_result(distribution, Ending.TAKEN_BACK))
    if left:
        raise UsageError(
            f"nothing was applied by the name of {sorted(left)[0]!r}", hint="name a recipe or a distribution"
        )
    return EnvironmentResult(prefix=str(prefix), target=target, results=tuple(results))


def _normalized(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _for(distribution: Distribution, recipes: Iterable[Recipe], target: Target) -> dict[str, tuple[Recipe, AppliesTo]]:
    """Recipes for this distribution by id, with the kind they are judged as: files first."""
    found: dict[str, tuple[Recipe, AppliesTo]] = {}
    for kind in _KINDS:
        fitting = candidates(recipes, package=distribution.name, version=distribution.version, kind=kind, target=target)
        for recipe in fitting:
            found.setdefault(recipe.id, (recipe, kind))
    return found


def _apply(
    distribution: Distribution,
    prefix: Path,
    wanted: Mapping[str, tuple[Recipe, AppliesTo]],
    target: Target,
    chosen: Collection[str],
    dry_run: bool,
) -> DistributionResult | None:
    try:
        with locked(distribution.site):
            if not dry_run:
                sweep(distribution)
            return _apply_locked(distribution, prefix, wanted, target, chosen, dry_run)
    except ShimError as error:
        return _result(distribution, Ending.FAILED, error=error)


def _apply_locked(
    distribution: Distribution,
    prefix: Path,
    wanted: Mapping[str, tuple[Recipe, AppliesTo]],
    target: Target,
    chosen: Collection[str],
    dry_run: bool,
) -> DistributionResult | None:
    applied = read_applied(distribution)
    before = set(applied.recipes) if applied is not None else set()
    asked = {key: pair for key, pair in wanted.items() if not chosen or key in chosen or key in before}
    if not asked:
        return None
    tree = _pristine(distribution)
    matches = _judge(distribution, prefix, asked, target, tree, {*chosen, *before})
    doing = in_order([found.recipe for found in matches if found.state is State.APPLIES])
    edits = edit_all(doing, tree)
    same = bool(before) and before == {change.origin for change in edits} and _same_result(distribution, edits)
    result = _result(
        distribution,
        _ending(matches, edits, same=same, dry_run=dry_run),
        matches=tuple(_marked(found, before) if same else found for found in matches),
        edits=() if same else edits,
        variables=_variables(doing),
        tools=_tools(doing),
    )
    if dry_run or same or not edits:
        return result
    _check_installed_in_full(distribution)
    if before:
        take_back(distribution)
    contents = {change.path: change.after for change in edits}
    apply_edits(distribution, contents, recipe_records(doing, edits), diffs_from(edits, tree))
    return result


def _judge(
    distribution: Distribution,
    prefix: Path,
    wanted: Mapping[str, tuple[Recipe, AppliesTo]],
    target: Target,
    tree: SourceTree,
    chosen: Collection[str],
) -> tuple[Match, ...]:
    proofs = InstalledProofs(distribution, prefix, target)
    found: list[Match] = []
    for kind in _KINDS:
        found += match(
            [recipe for recipe, judged_as in wanted.values() if judged_as is kind],
            package=distribution.name,
            version=distribution.version,
            kind=kind,
            target=target,
            tree=tree,
            proofs=proofs,
            chosen=chosen,
        )
    return tuple(sorted(found, key=lambda one: one.recipe.id))


def _pristine(distribution: Distribution) -> SourceTree:
    """The files as they were installed: originals in the place of edited ones."""
    from shim.applying.applied import ORIGINALS

    own = f"{folder_of(distribution).relative_to(distribution.site).as_posix()}/"
    names = [name for name in owned_files(distribution) if not name.startswith(own)]
    applied = read_applied(distribution)
    tree = NamedTree(distribution.site, names)
    if applied is None:
        return tree
    originals = folder_of(distribution) / ORIGINALS
    changed = {file.path: (originals / file.original).read_bytes() for file in applied.files if file.original}
    return EditedTree(tree, changed)


def _same_result(distribution: Distribution, edits: Sequence[FileEdit]) -> bool:
    """Whether the files on disk are what these edits would make."""
    final = {change.path: change.after for change in edits}
    return all(
        (distribution.site / path).is_file() and sha256((distribution.site / path).read_bytes()) == sha256(content)
        for path, content in final.items()
    )


def _ending(matches: Sequence[Match], edits: Sequence[FileEdit], *, same: bool, dry_run: bool) -> Ending:
    states = {found.state for found in matches}
    if same:
        return Ending.ALREADY
    if edits:
        return Ending.PLANNED if dry_run else Ending.APPLIED
    if State.APPLIES in states:
        return Ending.VARIABLES
    if states & {State.REFUSES, State.UNPROVEN}:
        return Ending.REFUSED
    return Ending.ALREADY if State.APPLIED in states else Ending.NOTHING


def _marked(found: Match, before: Collection[str]) -> Match:
    if found.recipe.id in before and found.state is State.APPLIES:
        return Match(recipe=found.recipe, state=State.APPLIED, why="shim applied it; `shim undo --env` takes it back")
    return found


def _check_installed_in_full(distribution: Distribution) -> None:
    """Raises InputError for an editable install: its files are somebody's working copy."""
    path = distribution.dist_info / "direct_url.json"
    try:
        info = json.loads(path.read_bytes())["dir_info"]["editable"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    if info is True:
        raise InputError(
            f"{distribution.name}: is an editable install, whose files are a working copy",
            hint="edit the sources there, or install it from a wheel",
        )


def _variables(recipes: Iterable[Recipe]) -> dict[str, str]:
    found: dict[str, str] = {}
    for recipe in recipes:
        for action in recipe.actions:
            if isinstance(action, RunEnv):
                found |= action.set
    return found


def _tools(recipes: Iterable[Recipe]) -> tuple[ToolWanted, ...]:
    return tuple(
        ToolWanted(variable=action.variable, tool=action.tool, version=action.version, recipe=recipe.id)
        for recipe in recipes
        for action in recipe.actions
        if isinstance(action, Toolchain)
    )


def _result(distribution: Distribution, ending: Ending, **values: Any) -> DistributionResult:
    return DistributionResult(name=distribution.name, version=distribution.version, ending=ending, **values)
