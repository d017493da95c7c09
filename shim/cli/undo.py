"""`shim undo`: the original back, byte for byte, under its own name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shim.applying.undo import undo_single, undo_wheel
from shim.cli.options import limit_options, read_limits, verbose_option


@click.command("undo")
@click.argument("patched", metavar="WHEEL|FILE", type=click.Path(path_type=Path))
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Replace a different file of the original's name.")
@limit_options
@verbose_option
def command(patched: Path, folder: Path, force: bool, **limits: Any) -> int:
    """Give back the original of what `shim patch` wrote, from the reverse data inside or beside it."""
    if patched.suffix == ".whl":
        original = undo_wheel(patched, folder, read_limits(**limits), force=force)
    else:
        original = undo_single(patched, folder, force=force)
    click.echo(f"wrote {original}")
    return 0
