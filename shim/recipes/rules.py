"""Rules that span the keys of a recipe: the guarantees of docs/recipes.md that can be told from the file alone."""

from __future__ import annotations

from typing import Final

from packaging.version import InvalidVersion, Version

from shim.recipes.model import (
    LOCAL,
    Action,
    AppendPython,
    AppliesTo,
    BuildEnv,
    CMakeOverlay,
    DependencyProof,
    EditPython,
    GateKind,
    InjectSass,
    NotAGate,
    Recipe,
    Refuse,
    ReplaceText,
    Retarget,
    RunEnv,
    SetArchList,
    SourceProof,
    Toolchain,
)
from shim.recipes.table import Table

_REMOVALS: Final = frozenset({"", "False", "None", "0", "pass", "True", "..."})
_FILES: Final = frozenset({AppliesTo.WHEEL, AppliesTo.SDIST, AppliesTo.INSTALLED, AppliesTo.ENVIRONMENT})
_SUITS: Final[dict[type[Action], frozenset[AppliesTo]]] = {
    EditPython: _FILES,
    AppendPython: _FILES,
    ReplaceText: _FILES,
    SetArchList: frozenset({AppliesTo.SDIST}),
    BuildEnv: frozenset({AppliesTo.SDIST}),
    CMakeOverlay: frozenset({AppliesTo.SDIST}),
    RunEnv: LOCAL,
    Toolchain: LOCAL | {AppliesTo.SDIST},
    InjectSass: frozenset({AppliesTo.WHEEL}),
    Retarget: frozenset({AppliesTo.WHEEL}),
    Refuse: frozenset(AppliesTo),
}


def check_rules(recipe: Recipe, table: Table) -> None:
    """Rules that span keys: the guarantees of docs/recipes.md."""
    if recipe.file.stem != recipe.id:
        table.fault("id", f"expected the name of the file, {recipe.file.stem!r}, found {recipe.id!r}")
    if not recipe.actions:
        table.fault("action", "expected at least one, found none")
    if recipe.refusal is not None and len(recipe.actions) > 1:
        table.fault("action", "a refusal stands alone")
    if recipe.file_actions and not recipe.anchors:
        table.fault("anchor", "expected at least one: a recipe that edits files says what must be there")
    if recipe.id in recipe.after or recipe.id in recipe.conflicts:
        table.fault("after", "a recipe cannot name itself")
    if not recipe.trial.published and not recipe.trial.shape_only:
        table.fault("test.published", "expected a version to try it on, or shape-only = true, found neither")
    for index, action in enumerate(recipe.actions):
        _check_action(recipe, action, f"action[{index}]", table)
    for key, versions, inside in (
        ("published", recipe.trial.published, True),
        ("outside", recipe.trial.outside, False),
    ):
        for index, version in enumerate(versions):
            _check_version(recipe, version, inside, f"test.{key}[{index}]", table)
    if recipe.opens_gate:
        _check_proofs(recipe, table)


def _check_version(recipe: Recipe, version: str, inside: bool, where: str, table: Table) -> None:
    try:
        found = recipe.versions.contains(Version(version), prereleases=True)
    except InvalidVersion:
        table.fault(where, f"not a version: {version!r}")
        return
    if found is not inside:
        word = "lies outside of" if inside else "lies within"
        table.fault(where, f"{version} {word} versions ({recipe.versions})")


def _check_action(recipe: Recipe, action: Action, where: str, table: Table) -> None:
    if not recipe.applies_to & _SUITS[type(action)]:
        kinds = ", ".join(sorted(_SUITS[type(action)]))
        table.fault(where, f"such an action is for {kinds}; applies-to names {', '.join(sorted(recipe.applies_to))}")
    if isinstance(action, EditPython | ReplaceText):
        if action.find == action.replace:
            table.fault(f"{where}.replace", "equals find: no effect is an error")
        if action.gate is GateKind.NEGATIVE and action.replace.strip() in _REMOVALS:
            table.fault(f"{where}.replace", "a negative gate is widened, never removed")


def _check_proofs(recipe: Recipe, table: Table) -> None:
    proofs = [proof for proof in recipe.proofs if not isinstance(proof, NotAGate)]
    if not proofs:
        table.fault("proof", "an action opens a positive gate: expected a proof other than not-a-gate, found none")
    for index, proof in enumerate(recipe.proofs):
        if isinstance(proof, DependencyProof) and not recipe.applies_to <= LOCAL and len(proofs) == 1:
            table.fault(
                f"proof[{index}]",
                "a dependency is known only where the package is used: applies-to must be installed, environment or "
                "run",
            )
        if isinstance(proof, SourceProof) and recipe.applies_to != {AppliesTo.SDIST}:
            table.fault(f"proof[{index}]", "only a rebuild compiles: applies-to must be sdist alone")
