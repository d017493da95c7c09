"""`shim undo`: the original back, byte for byte: of a wheel or file under its own name, of packages in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shim.applying.undo import undo_single, undo_wheel
from shim.cli.options import limit_options, read_limits, verbose_option
from shim.errors import UsageError


@click.command("undo")
@click.argument("patched", metavar="WHEEL|FILE|PREFIX", required=False, type=click.Path(path_type=Path))
@click.option("--env", is_flag=True, help="Take back what `apply --env` did to the packages of PREFIX.")
@click.option("--recipe", "names", multiple=True, metavar="ID", help="With --env: the packages it was applied to.")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="With --env: only this package.")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Replace a different file of the original's name.")
@limit_options
@verbose_option
def command(
    patched: Path | None,
    env: bool,
    names: tuple[str, ...],
    packages: tuple[str, ...],
    folder: Path,
    force: bool,
    **limits: Any,
) -> int:
    """Give back the original of what `shim patch` wrote, from the reverse data inside or beside it.

    With --env: put back the original files of the packages that `shim apply --env` changed under PREFIX (default:
    the active environment), also after a run that was interrupted.
    """
    if env:
        return _undo_environment(patched, (*names, *packages))
    if patched is None:
        raise UsageError("undo needs a file, or --env", hint="shim undo WHEEL, or shim undo --env PREFIX")
    if names or packages:
        raise UsageError("--recipe and --package go with --env")
    if patched.suffix == ".whl":
        original = undo_wheel(patched, folder, read_limits(**limits), force=force)
    else:
        original = undo_single(patched, folder, force=force)
    click.echo(f"wrote {original}")
    return 0


def _undo_environment(prefix: Path | None, names: tuple[str, ...]) -> int:
    from shim.applying.environment import undo_environment
    from shim.arch import Target
    from shim.cli.apply import exit_code
    from shim.cli.render.apply import environment_lines
    from shim.scan.installed import default_prefix

    result = undo_environment(prefix or default_prefix(), Target(), names=names)
    if not result.results:
        click.echo(f"{result.prefix}: nothing was applied; nothing to take back")
        return 0
    click.echo("\n".join(environment_lines(result)))
    return exit_code(result)
