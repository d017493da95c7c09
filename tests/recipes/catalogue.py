"""The page docs/recipes-catalogue.md, made from the recipes: `python -m tests.recipes.catalogue` writes it."""

from __future__ import annotations

from pathlib import Path

from shim.recipes.load import load_recipes
from shim.recipes.model import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipes-catalogue.md"
_HEAD = """# Catalogue of recipes

Every recipe that `shim` ships, made from the files in `patches/` by `python -m tests.recipes.catalogue`. What a recipe
does, why, and what stands behind it: `shim recipes show ID`. How to write one: `recipes.md`.

Marks: **opt-in**: only with `--recipe ID`. **refuses**: says why nothing can be done, and what else helps. **proof**:
opens a test of the device, and only where the named evidence is found. **shape**: tried on a file made for the test, as
the index has none; every other recipe is tried on the published files of the first and the last version of its range
and some between.

"""


def page() -> str:
    recipes = load_recipes()
    packages = {package for recipe in recipes for package in recipe.packages}
    head = _HEAD + f"{len(recipes)} recipes for {len(packages)} packages.\n\n"
    rows = ["| id | package | versions | what | risk | ends when |", "|---|---|---|---|---|---|"]
    rows += [_row(recipe) for recipe in sorted(recipes, key=lambda one: (one.packages, one.id))]
    return head + "\n".join(rows) + "\n"


def _row(recipe: Recipe) -> str:
    marks = [
        mark
        for mark, holds in (
            ("opt-in", recipe.opt_in),
            ("refuses", recipe.refusal is not None),
            ("proof", recipe.opens_gate),
            ("shape", recipe.trial.shape_only),
        )
        if holds
    ]
    what = recipe.title + (f" ({', '.join(f'**{mark}**' for mark in marks)})" if marks else "")
    ends = [f"version {recipe.ends_when.versions}"] if recipe.ends_when.versions is not None else []
    ends += [recipe.ends_when.probe] if recipe.ends_when.probe else []
    cells = (
        f"`{recipe.id}`",
        ", ".join(recipe.packages),
        _ordered(str(recipe.versions)),
        what,
        str(recipe.risk),
        _ordered("; ".join(ends)),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _ordered(versions: str) -> str:
    """A range as people write it, lower end first: sets of specifiers print in no fixed order."""
    return ",".join(sorted(versions.split(","), reverse=True)) if versions[:1] in "<>=!~" else versions


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
