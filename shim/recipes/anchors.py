"""Anchors: do the files hold what a recipe was written for?"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from shim.errors import InputError, RecipeError
from shim.recipes.model import Anchor, Pattern, Recipe
from shim.recipes.pattern import occurrences
from shim.source.glob import matching
from shim.source.tree import SourceTree


def check_anchors(recipe: Recipe, tree: SourceTree, names: Collection[str]) -> None:
    """Compare the anchors of a recipe with the files.

    Raises:
        RecipeError: the recipe no longer fits; every anchor that does not hold is named.
    """
    faults = []
    for index, anchor in enumerate(recipe.anchors):
        if (fault := _anchor_fault(anchor, tree, names)) is not None:
            faults.append(f"{recipe.id}: no longer fits: anchor[{index}]: {fault}")
    if faults:
        raise RecipeError("\n".join(faults), hint="the files are not those that the recipe was written for")


def _anchor_fault(anchor: Anchor, tree: SourceTree, names: Collection[str]) -> str | None:
    files = matching(names, anchor.path)
    if anchor.sha256:
        for name in files:
            digest = hashlib.sha256(tree.read(name)).hexdigest()
            if digest not in anchor.sha256:
                return f"{name}: expected one of {len(anchor.sha256)} known files, found SHA-256 {digest}"
    if anchor.find is None:
        return _count_fault(anchor, files, "")
    counts = {name: count_in(anchor.find, tree, name) for name in files}
    wrong = [(name, count) for name, count in counts.items() if count not in (0, anchor.occurrences)]
    if wrong:
        name, count = wrong[0]
        return f"{name}: expected {anchor.find.text!r} {anchor.occurrences} times, found it {count} times"
    held = [name for name, count in counts.items() if count == anchor.occurrences]
    return _count_fault(anchor, held, f" with {anchor.find.text!r}")


def _count_fault(anchor: Anchor, found: Sequence[str], what: str) -> str | None:
    if len(found) == anchor.count:
        return None
    listed = f" ({', '.join(found[:3])}{' ...' if len(found) > 3 else ''})" if found else ""
    return f"{anchor.path}: expected {anchor.count} file{'s' * (anchor.count != 1)}{what}, found {len(found)}{listed}"


def count_in(find: Pattern, tree: SourceTree, name: str) -> int:
    """How often it occurs in a file; 0 in one that cannot be read."""
    try:
        return occurrences(find, tree.read(name))
    except InputError:
        return 0
