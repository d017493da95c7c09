"""Which recipe goes first, and which must not go together. Nothing is decided by chance: ties go by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from shim.errors import RecipeError
from shim.recipes.model import Recipe


def in_order(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Recipes that apply together, in the order to apply them.

    `after` names of recipes that are not among them are no obstacle.

    Raises:
        RecipeError: two of them conflict, or their order is circular.
    """
    known = {recipe.id: recipe for recipe in recipes}
    for recipe in known.values():
        for other in recipe.conflicts:
            if other in known:
                raise RecipeError(
                    f"{recipe.id}: conflicts with {other}, and both apply",
                    hint="choose one with --recipe ID",
                )
    sorter = TopologicalSorter({key: [name for name in one.after if name in known] for key, one in known.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise RecipeError(f"the order of recipes is circular: {_cycle(error)}", hint="drop one `after`") from error
    done: list[Recipe] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted({*ready, *sorter.get_ready()})
        key = ready.pop(0)
        done.append(known[key])
        sorter.done(key)
    return tuple(done)


def check_references(recipes: Iterable[Recipe]) -> list[str]:
    """Faults of `after` and `conflicts` over all recipes: unknown ids, circles, a conflict that is also an order."""
    known = {recipe.id: recipe for recipe in recipes}
    faults = []
    for recipe in known.values():
        for key, names in (("after", recipe.after), ("conflicts", recipe.conflicts)):
            faults += [
                f"{recipe.file}: {key}[{index}]: no recipe has the id {name!r}"
                for index, name in enumerate(names)
                if name not in known
            ]
        both = sorted(set(recipe.after) & set(recipe.conflicts))
        faults += [f"{recipe.file}: after: {name!r} is among the conflicts too" for name in both]
    try:
        tuple(TopologicalSorter({key: recipe.after for key, recipe in known.items()}).static_order())
    except CycleError as error:
        faults.append(f"the order of recipes is circular: {_cycle(error)}")
    return faults


def _cycle(error: CycleError) -> str:
    members: Sequence[str] = error.args[1]
    return " -> ".join(members)
