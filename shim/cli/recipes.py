"""`shim recipes`: what there is, what one does, whether all of them are sound, and a start for a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from shim.cli.options import read_target, target_options, verbose_option
from shim.cli.render.recipes import list_lines, recipe_document, show_lines
from shim.errors import RecipeError, UsageError
from shim.recipes.load import load_recipes
from shim.recipes.model import Recipe
from shim.scan.words import plural

_FOLDERS: Final = click.option(
    "--recipes", "folders", multiple=True, metavar="DIR", type=click.Path(path_type=Path), help="More recipes."
)
_FORMAT: Final = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group("recipes")
@verbose_option
def command() -> None:
    """Look at recipes: what has to change in a library beside its machine code."""


@command.command("list")
@_FOLDERS
@click.option("--package", metavar="NAME", help="Only recipes for this package.")
@_FORMAT
def list_recipes(folders: tuple[Path, ...], package: str | None, form: str) -> int:
    """List recipes: id, package, versions, what they apply to, risk, state."""
    recipes = load_recipes(folders)
    if package is not None:
        from packaging.utils import canonicalize_name

        recipes = tuple(recipe for recipe in recipes if canonicalize_name(package) in recipe.packages)
    if form == "json":
        click.echo(json.dumps([recipe_document(recipe) for recipe in recipes], indent=2))
    else:
        click.echo("\n".join(list_lines(recipes)))
    return 0


@command.command("show")
@click.argument("identity", metavar="ID")
@_FOLDERS
@_FORMAT
def show(identity: str, folders: tuple[Path, ...], form: str) -> int:
    """Show all of one recipe, with its evidence."""
    recipe = _find(identity, load_recipes(folders))
    if form == "json":
        click.echo(json.dumps(recipe_document(recipe), indent=2))
    else:
        click.echo("\n".join(show_lines(recipe)))
    return 0


@command.command("check")
@click.argument("roots", metavar="[FOLDER|FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--network", is_flag=True, help="Fetch the published files each recipe names and try it on them.")
@click.option("--recipe", "chosen", multiple=True, metavar="ID", help="With --network: only this recipe.")
@target_options
def check(roots: tuple[Path, ...], network: bool, chosen: tuple[str, ...], device: str, driver_cuda: str) -> int:
    """Check the recipes that come with shim and those of the folders given.

    Exit code: 0, or 4 when a file is no sound recipe or, with --network, does not fit what it names.
    """
    recipes = load_recipes(roots)
    click.echo(f"{plural(len(recipes), 'recipe')} loaded, no fault found")
    if not network:
        return 0
    from shim.recipes.trial import try_recipe

    target = read_target(device, driver_cuda)
    wanted = [_find(identity, recipes) for identity in chosen] or recipes
    faults = 0
    for recipe in wanted:
        if recipe.trial.shape_only:
            click.echo(f"{recipe.id}: shape-only: no published file to try it on")
        for result in try_recipe(recipe, target):
            faults += bool(result.error)
            click.echo(f"{result.recipe} on {result.version}: {result.error or result.words}")
    return RecipeError.exit_code if faults else 0


@command.command("new")
@click.argument("subject", metavar="WHEEL|SDIST|FOLDER|REQUIREMENT")
@click.option("--id", "identity", metavar="ID", help="Id of the recipe; default: the package and its version.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this new file.")
@target_options
def new(subject: str, identity: str | None, output: Path | None, device: str, driver_cuda: str) -> int:
    """Print a recipe to fill in: the gates that a scan finds, as anchors and edits."""
    from shim.recipes.scaffold import scaffold
    from shim.recipes.subject import open_subject
    from shim.source.gates.find import find_gates

    target = read_target(device, driver_cuda)
    with open_subject(_path(subject)) as package:
        text = scaffold(
            identity or _identity(package.package, package.version),
            package=package.package,
            version=package.version,
            kind=package.kind,
            gates=find_gates(package.tree, target.device),
            tree=package.tree,
        )
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{output} exists", hint="choose another name with -o") from error
    click.echo(f"wrote {output}")
    return 0


def _path(subject: str) -> Path:
    from shim.scan.fetch import fetch, parse_requirement

    path = Path(subject)
    if path.exists() or "/" in subject or path.suffix in (".whl", ".gz"):
        path.stat()  # the system's own words when it cannot be reached
        return path
    return fetch(parse_requirement(subject), machine="aarch64", python=None).path


def _identity(package: str, version: str) -> str:
    import re

    return re.sub(r"[^a-z0-9]+", "-", f"{package or 'package'}-{version}".lower()).strip("-")


def _find(identity: str, recipes: tuple[Recipe, ...]) -> Recipe:
    for recipe in recipes:
        if recipe.id == identity:
            return recipe
    import difflib

    near = difflib.get_close_matches(identity, [recipe.id for recipe in recipes], n=1)
    raise UsageError(
        f"no recipe has the id {identity!r}",
        hint=f"did you mean {near[0]}?" if near else "`shim recipes list` names them",
    )
