"""Has a recipe been carried out on these files before? Told from the files alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from shim.errors import InputError, RecipeError
from shim.recipes.anchors import check_anchors
from shim.recipes.apply import edit, fill, module_text, placeholders
from shim.recipes.model import AppendPython, CMakeOverlay, EditPython, FileAction, Recipe, ReplaceText, SetArchList
from shim.source.cmake_edit import is_set
from shim.source.glob import matching
from shim.source.overlay import EditedTree
from shim.source.text_edit import count_text, replace_text
from shim.source.tree import SourceTree


def is_applied(recipe: Recipe, tree: SourceTree) -> bool:
    """Whether every edit stands in the files already: nothing is left to find, and what it writes is there.

    Where the edits can be reversed, that must also lead back to files that the recipe fits; else a common
    replacement, such as `True`, would pass for an edit of ours.
    """
    actions = recipe.file_actions
    if not actions:
        return False
    names = tree.names()
    filled = placeholders(recipe.targets[0])
    try:
        if not all(_is_there(action, tree, names, filled) for action in actions):
            return False
        backwards = _reversed(actions)
        if backwards is None:
            return True
        before = EditedTree(tree, {}).with_edits(edit(replace(recipe, actions=backwards), tree, filled))
        check_anchors(recipe, before, names)
    except (RecipeError, InputError):
        return False
    return True


def _reversed(actions: tuple[FileAction, ...]) -> tuple[EditPython | ReplaceText, ...] | None:
    """Actions that undo these, None when one of them cannot be reversed from the files alone."""
    found: list[EditPython | ReplaceText] = []
    for action in reversed(actions):
        if not isinstance(action, EditPython | ReplaceText) or not action.replace.strip():
            return None
        found.append(replace(action, find=action.replace, replace=action.find))
    return tuple(found)


def _is_there(action: FileAction, tree: SourceTree, names: Collection[str], values: Mapping[str, str]) -> bool:
    texts = [tree.read(name) for name in matching(names, action.path)]
    match action:
        case EditPython(find=find, replace=replace, scope=scope):
            from shim.source.python_edit import count_code, replace_code

            left = sum(replace_code(text, find=find, replace=replace, scope=scope).count for text in texts)
            there = sum(count_code(text, find=replace, scope=scope) for text in texts) if replace.strip() else 0
            return not left and there >= action.count
        case AppendPython():
            from shim.source.python_append import has_items

            return (
                sum(has_items(text, target=action.target, add=action.add, scope=action.scope) for text in texts)
                >= action.count
            )
        case ReplaceText(find=find, replace=replace):
            left = sum(replace_text(text, find=find, replace=replace).count for text in texts)
            return not left and bool(replace) and sum(count_text(text, replace) for text in texts) >= action.count
        case SetArchList():
            value = fill(action.value, values, "value")
            return bool(texts) and all(is_set(text, variable=action.variable, value=value) for text in texts)
        case CMakeOverlay():
            return texts == [module_text(action.module, "module")]
