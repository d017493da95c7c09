"""`shim verify`: does a wheel, or a patched library, keep what its RECORD and its provenance say?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shim.cli.options import limit_options, read_limits, verbose_option
from shim.cli.watch import Bars
from shim.verifying.single import verify_single
from shim.verifying.standalone import verify_wheel


@click.command("verify")
@click.argument("wheels", nargs=-1, required=True, metavar="WHEEL|FILE...", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Files read at once; default: up to 4.")
@limit_options
@verbose_option
def command(wheels: tuple[Path, ...], jobs: int | None, **limits: Any) -> int:
    """Check every hash of a wheel; of a patched one also the new images and the promised grades.

    Of a patched FILE that is in no wheel, check its hash, its new images and the promised grades against the provenance
    beside it.

    Exit code: 0, 3 when a wheel is not sound, 7 when it is not what shim wrote.
    """
    for path in wheels:
        single = _is_library(path)
        with Bars() as bars:
            found = verify_single(path, bars) if single else verify_wheel(path, read_limits(**limits), bars, jobs)
        click.echo(
            f"{path.name}: the file that its provenance names"
            if single
            else f"{path.name}: RECORD true for {found.members} members"
        )
        if (built := found.rebuilt) is not None:
            click.echo(f"  built by shim rebuild for {built.target} ({built.arch}) from {built.source}")
            click.echo(f"  SHA-256 of that source: {built.source_sha256}")
            _say_grades(built.libraries)
        if not found.patched:
            click.echo("  not patched by shim")
            continue
        click.echo(f"  patched for {found.target}: {found.images} new images are in place and as they were made")
        if found.edits:
            click.echo(f"  {found.edits} files that recipes edited are as they were made")
        _say_grades(found.libraries)
    return 0


def _is_library(path: Path) -> bool:
    """Whether a file that is no wheel by its name starts as ELF files or fatbin containers do."""
    if path.suffix == ".whl":
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"\x7fELF", b"\x50\xed\x55\xba")


def _say_grades(grades: tuple[tuple[str, str, str], ...]) -> None:
    for member, promised, reached in grades:
        click.echo(f"  {member}: {reached} (promised {promised})")
