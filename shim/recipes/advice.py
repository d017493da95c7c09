"""Which recipe deals with a place in a package's sources."""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Target
from shim.recipes.match import candidates
from shim.recipes.model import (
    AppendPython,
    AppliesTo,
    CMakeOverlay,
    EditPython,
    Recipe,
    ReplaceText,
    SetArchList,
)
from shim.source.glob import compile_glob

_COMMANDS = {
    AppliesTo.WHEEL: "patch",
    AppliesTo.SDIST: "rebuild",
    AppliesTo.INSTALLED: "apply --env",
    AppliesTo.ENVIRONMENT: "apply --env",
}


def recipe_for(recipes: Iterable[Recipe], *, package: str, version: str, target: Target, path: str, text: str) -> str:
    """Words that name the recipe for one place and the command that applies it; "" when there is none.

    Whether the recipe holds (anchors, proofs) is seen when it is applied; this only finds it.

    Args:
        path: of the file, as the package has it. text: the line.
    """
    fitting = list(recipes)
    for kind, command in _COMMANDS.items():
        for recipe in candidates(fitting, package=package, version=version, kind=kind, target=target):
            if any(_touches(action, path, text) for action in recipe.actions):
                asked = f" --recipe {recipe.id}" if recipe.opt_in else ""
                return f"recipe {recipe.id}: `shim {command}{asked}`"
    return ""


def _touches(action: object, path: str, text: str) -> bool:
    """Whether an action changes this line: the file matches, and a line it looks for is this one."""
    match action:
        case EditPython() | ReplaceText():
            wanted = [line.strip() for line in action.find.splitlines()]
        case AppendPython():
            wanted = [action.target.rpartition(".")[2]]
        case SetArchList():
            wanted = [action.variable]
        case CMakeOverlay():
            wanted = [""]
        case _:
            return False
    if compile_glob(action.path).fullmatch(path) is None:
        return False
    line = text.strip()
    return any(part in line or (len(line) > _WORTH and line in part) for part in wanted if part or line)


_WORTH = 8  # characters below which a line is found everywhere
