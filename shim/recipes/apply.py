"""Carries out the file edits of a recipe on a tree. Pure: the new contents are returned, nothing is written."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from shim.arch import ComputeCapability
from shim.errors import InputError, RecipeError
from shim.recipes.model import (
    AppendPython,
    BuildEnv,
    CMakeOverlay,
    EditPython,
    FileAction,
    Recipe,
    ReplaceText,
    SetArchList,
)
from shim.source.cmake_edit import set_variable
from shim.source.edits import Edited, FileEdit
from shim.source.glob import matching
from shim.source.overlay import EditedTree
from shim.source.text_edit import replace_text
from shim.source.tree import SourceTree

_HINT: Final = "the package is not what the recipe was written for; please report it with its version"


def placeholders(device: ComputeCapability, *, suffix: str = "") -> dict[str, str]:
    """What {archs}, {torch_archs}, {sm} and {gencode} stand for when a build is for one device.

    >>> placeholders(ComputeCapability(12, 1))["gencode"]
    '-gencode=arch=compute_121,code=sm_121'
    """
    arch = f"{device.sm}{suffix}"
    return {
        "archs": arch,
        "torch_archs": f"{device}{suffix}",
        "sm": f"sm_{arch}",
        "gencode": f"-gencode=arch=compute_{arch},code=sm_{arch}",
    }


def edit(recipe: Recipe, tree: SourceTree, values: Mapping[str, str] | None = None) -> tuple[FileEdit, ...]:
    """The recipe's edits, one for each file, in the order in which files are first touched.

    Args:
        values: what placeholders stand for; those of the recipe's first target when None.

    Raises:
        RecipeError: an action finds fewer or more places than it says, or has no effect.
    """
    filled = placeholders(recipe.targets[0]) if values is None else values
    before: dict[str, bytes] = {}
    now = EditedTree(tree, {})
    for index, action in enumerate(recipe.file_actions):
        where = f"{recipe.id}: {_key(recipe, action, index)}"
        try:
            changed = _carry_out(action, now, filled, where)
        except InputError as error:
            raise RecipeError(f"{where}: {error.message}", hint=_HINT) from error
        for path, content in changed.items():
            before.setdefault(path, now.read(path) if path in now.names() else b"")
            now = now.with_edits([FileEdit(path=path, before=b"", after=content, origin=recipe.id)])
    edits = tuple(
        FileEdit(path=path, before=old, after=now.read(path), origin=recipe.id) for path, old in before.items()
    )
    for change in edits:
        if change.before == change.after:
            raise RecipeError(f"{recipe.id}: {change.path}: the actions undo each other", hint="mend the recipe")
    return edits


def edit_all(
    recipes: Iterable[Recipe], tree: SourceTree, values: Mapping[str, str] | None = None
) -> tuple[FileEdit, ...]:
    """Edits of several recipes, each on top of those before it.

    Raises:
        RecipeError: one of them finds the places gone that it is for.
    """
    edits: list[FileEdit] = []
    now = EditedTree(tree, {})
    for recipe in recipes:
        if recipe.file_actions:
            made = edit(recipe, now, values)
            now = now.with_edits(made)
            edits += made
    return tuple(edits)


def build_environment(recipe: Recipe, values: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for the build, placeholders filled in.

    Raises:
        RecipeError: a placeholder that is not known.
    """
    filled = placeholders(recipe.targets[0]) if values is None else values
    found: dict[str, str] = {}
    for action in recipe.actions:
        if isinstance(action, BuildEnv):
            found |= {name: fill(value, filled, f"{recipe.id}: {name}") for name, value in action.set.items()}
    return found


def fill(text: str, values: Mapping[str, str], where: str) -> str:
    """Put values in the place of {name}. Raises RecipeError for a name that is not known."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise RecipeError(
                f"{where}: no placeholder {found[0]} (expected one of {', '.join(f'{{{name}}}' for name in values)})"
            )
        return values[found[1]]

    return re.sub(r"\{([a-z_]+)\}", value, text)


def _key(recipe: Recipe, action: FileAction, index: int) -> str:
    number = next((n for n, one in enumerate(recipe.actions) if one is action), index)
    return f"action[{number}]"


def _carry_out(action: FileAction, tree: SourceTree, values: Mapping[str, str], where: str) -> dict[str, bytes]:
    if isinstance(action, CMakeOverlay):
        content = module_text(action.module, where)
        if action.path in tree.names() and tree.read(action.path) == content:
            raise RecipeError(f"{where}: {action.path} is that module already: no effect is an error", hint=_HINT)
        return {action.path: content}
    run = _runner(action, values, where)
    changed: dict[str, bytes] = {}
    count = 0
    files = matching(tree.names(), action.path)
    for name in files:
        try:
            result = run(tree.read(name))
        except RecipeError as error:
            raise RecipeError(f"{where}: {name}: {error.message}", hint=error.hint or _HINT) from error
        if result.count:
            changed[name] = result.content
            count += result.count
    if count != action.count:
        place = action.path if files else f"{action.path} (no such file)"
        raise RecipeError(
            f"{where}: {place}: expected {action.count} place{'s' * (action.count != 1)} to edit, found {count}",
            hint=_HINT,
        )
    return changed


def _runner(action: FileAction, values: Mapping[str, str], where: str) -> Callable[[bytes], Edited]:
    match action:
        case EditPython():
            from shim.source.python_edit import replace_code  # libcst takes a while to load

            return lambda text: replace_code(text, find=action.find, replace=action.replace, scope=action.scope)
        case AppendPython():
            from shim.source.python_append import append_items

            return lambda text: append_items(text, target=action.target, add=action.add, scope=action.scope)
        case ReplaceText():
            return lambda text: replace_text(text, find=action.find, replace=action.replace)
        case SetArchList():
            value = fill(action.value, values, where)
            return lambda text: set_variable(text, variable=action.variable, value=value)
        case CMakeOverlay():
            raise AssertionError("a module is put in place, not edited")


def module_text(name: str, where: str) -> bytes:
    """A CMake module that shim ships (`shim/recipes/modules`). Raises RecipeError when there is none of that name."""
    file = importlib.resources.files("shim.recipes").joinpath("modules", name)
    if not file.is_file():
        raise RecipeError(f"{where}: shim has no CMake module {name!r}", hint="see shim/recipes/modules")
    return file.read_bytes()
