"""`shim apply --env`: recipes for the packages of an environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from shim.applying.environment import apply_to_environment
from shim.applying.environment_result import Ending, EnvironmentResult
from shim.cli.options import read_target, target_options, verbose_option
from shim.cli.render.apply import environment_document, environment_lines, export_lines
from shim.errors import PlanError, RecipeError, UsageError
from shim.recipes.load import load_recipes
from shim.scan.installed import default_prefix

_ALL_REFUSED: Final = PlanError.exit_code


@click.command("apply")
@click.option("--env", is_flag=True, help="Apply to installed packages. So far the only thing to apply to.")
@click.argument("prefix", required=False, type=click.Path(path_type=Path))
@click.option("--recipe", "chosen", multiple=True, metavar="ID", help="Only this recipe; may be repeated.")
@click.option(
    "--recipes", "folders", multiple=True, metavar="DIR", type=click.Path(path_type=Path), help="More recipes."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done and stop.")
@click.option(
    "--write-env",
    "env_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the export lines to this file.",
)
@target_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@verbose_option
def command(
    env: bool,
    prefix: Path | None,
    chosen: tuple[str, ...],
    folders: tuple[Path, ...],
    dry_run: bool,
    env_file: Path | None,
    device: str,
    driver_cuda: str,
    form: str,
) -> int:
    """Apply recipes to the packages installed under PREFIX (default: the active environment).

    Each package is changed whole or not at all; `shim undo --env` takes the changes back.

    Exit code: 0, or 4 when a recipe no longer fits its package, or 5 when all that was found is refused.
    """
    if not env:
        raise UsageError("apply needs --env", hint="`shim patch` applies recipes to wheels, `shim rebuild` to sources")
    result = apply_to_environment(
        prefix or default_prefix(),
        load_recipes(folders),
        read_target(device, driver_cuda),
        chosen=chosen,
        dry_run=dry_run,
    )
    if form == "json":
        click.echo(json.dumps(environment_document(result), indent=2))
    else:
        click.echo("\n".join(environment_lines(result)))
    if env_file is not None and not dry_run:
        _write(env_file, result)
    return exit_code(result)


def exit_code(result: EnvironmentResult) -> int:
    """0, the code of the first failure (a recipe that does not fit before others), or 5."""
    errors = [one.error for one in result.results if one.error is not None]
    if errors:
        misfit = any(isinstance(error, RecipeError) for error in errors)
        return RecipeError.exit_code if misfit else errors[0].exit_code
    endings = {one.ending for one in result.results}
    return _ALL_REFUSED if Ending.REFUSED in endings and endings <= {Ending.REFUSED, Ending.NOTHING} else 0


def _write(path: Path, result: EnvironmentResult) -> None:
    from shim.applying.replace import put

    put(path.absolute(), ("\n".join(export_lines(result)) + "\n").encode())
    click.echo(f"wrote {path}", err=True)
