"""Loads recipes from TOML files: those shipped with shim, and those of folders the user names."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shim.errors import RecipeError
from shim.recipes.model import Recipe
from shim.recipes.order import check_references
from shim.recipes.parse import parse_recipe

_LARGEST: Final = 1 << 20
_HINT: Final = "docs/recipes.md has the table of keys; `shim recipes check FOLDER` checks a folder"


def load_recipes(roots: Sequence[Path] = ()) -> tuple[Recipe, ...]:
    """Every recipe, shipped ones first replaced by those of the same id in `roots`; sorted by id.

    Args:
        roots: folders (searched for *.toml at any depth) or single files.

    Raises:
        RecipeError: with every fault of every file, each with file and key path.
    """
    faults: list[str] = []
    found: dict[str, Recipe] = {}
    for root in (shipped_folder(), *roots):
        here: dict[str, Recipe] = {}
        for path in _files(root):
            try:
                recipe = load_recipe(path)
            except RecipeError as error:
                faults.append(error.message)
                continue
            if recipe.id in here:
                faults.append(f"{path}: id: {recipe.id!r} is the id of {here[recipe.id].file} too")
            here[recipe.id] = recipe
        found |= here
    if not faults:
        faults = check_references(found.values())
    if faults:
        raise RecipeError("\n".join(faults), hint=_HINT)
    return tuple(found[key] for key in sorted(found))


def load_recipe(path: Path) -> Recipe:
    """One recipe.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or is no recipe; every fault with its key path.
    """
    try:
        if not path.is_file():
            raise RecipeError(f"{path}: not a regular file", hint=_HINT)
        if path.stat().st_size > _LARGEST:
            raise RecipeError(f"{path}: more than {_LARGEST} bytes", hint=_HINT)
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}", hint=_HINT) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}", hint=_HINT) from error
    except (RecursionError, ValueError) as error:  # nesting without end; numbers of a million digits
        raise RecipeError(f"{path}: not TOML: {error}", hint=_HINT) from error
    recipe, faults = parse_recipe(data, path)
    if recipe is None:
        raise RecipeError("\n".join(f"{path}: {fault}" for fault in faults), hint=_HINT)
    return recipe


def shipped_folder() -> Path:
    """The folder of the recipes that come with shim (`patches/` of the project)."""
    try:
        return Path(str(importlib.resources.files("shim.patches")))
    except ModuleNotFoundError:  # a source tree that is not installed
        return Path(__file__).parents[2] / "patches"


def _files(root: Path) -> list[Path]:
    if root.is_dir():
        return sorted(path for path in root.rglob("*.toml") if not path.name.startswith("."))
    if not root.exists():
        raise RecipeError(f"{root}: no such file or folder", hint="name a folder that holds recipes")
    return [root]
