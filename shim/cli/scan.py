"""`shim scan`: says whether wheels, files, folders, installed packages or environments run on the target."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.arch import Grade, Target
from shim.cli.options import (
    Session,
    fetch_options,
    limit_options,
    read_limits,
    read_target,
    target_options,
    verbose_option,
)
from shim.cli.progress import ProgressLine
from shim.errors import UsageError
from shim.model import Finding
from shim.scan.batch import Batch, scan_batch
from shim.scan.codes import FINDING_CODES
from shim.scan.options import ScanOptions
from shim.scan.platform import machine_of
from shim.scan.targets import TargetOptions

if TYPE_CHECKING:
    from shim.recipes.model import Recipe
    from shim.source.gates.model import Gate

_GRADES = [str(grade) for grade in sorted(Grade, reverse=True) if grade.on_scale]
_BELOW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What `--require` and `--fail-on` ask for."""

    grade: Grade | None
    codes: frozenset[str]

    def misses(self, batch: Batch) -> Iterator[str]:
        """What is below the bar, and why, in words."""
        installed = [report for environment in batch.environments for report in environment.packages]
        for report in (*batch.reports, *installed):
            if self.grade is not None and report.verdict.grade < self.grade:
                yield f"{report.name} is {report.verdict.grade}, not {self.grade}"
            yield from self._hits(report.findings)
        for environment in batch.environments:
            yield from self._hits(environment.findings)

    def _hits(self, findings: Sequence[Finding]) -> Iterator[str]:
        return (f"{found.code} in {found.where}" for found in findings if found.code in self.codes)


@click.command("scan", epilog="Findings for --fail-on: " + ", ".join(FINDING_CODES) + ".")
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option(
    "--env",
    "prefix",
    is_flag=False,
    flag_value="",
    metavar="[PREFIX]",
    help="Scan everything installed under PREFIX; without PREFIX, in the active environment.",
)
@target_options
@fetch_options
@click.option("--kernels", is_flag=True, help="Go down to kernels: those missing or empty in the code that is chosen.")
@click.option(
    "--gates/--no-gates",
    default=None,
    help="Look for code that refuses the GPU, and for builds that leave it out. Default: in sdists and source folders.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--require", type=click.Choice(_GRADES), help="Exit with 1 when a verdict is below this grade.")
@click.option("--fail-on", metavar="CODE,...", help="Exit with 1 when one of these findings is made.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Files read at once; default: up to 4.")
@limit_options
@verbose_option
@click.pass_context
def command(ctx: click.Context, /, targets: tuple[str, ...], prefix: str | None, **values: Any) -> int:
    """Say whether TARGETs run on the GPU, why, and what `patch` would do.

    A TARGET is a wheel, an sdist, a shared library or other ELF file, a .cubin, .fatbin, .ptx or .ltoir file, a
    folder, the name of an installed distribution, or a requirement such as bitsandbytes==0.48.2, which is fetched
    with pip's own settings; nothing is installed.

    Exit code: 0, or 1 when something is below --require or hit by --fail-on, or the code of the worst error.
    """
    if not targets and prefix is None:
        raise UsageError("nothing to scan", hint="name a wheel, file, folder, package or requirement, or pass --env")
    bar = _bar(values.pop("require"), values.pop("fail_on"))
    form = values.pop("form")
    with ProgressLine() as progress:
        batch = _scan(targets, prefix, progress if progress.enabled else None, **values)
    return _show(batch, bar, form, ctx.find_object(Session) or Session())


def _bar(require: str | None, fail_on: str | None) -> Bar:
    codes = frozenset(code.strip() for code in (fail_on or "").split(",") if code.strip())
    unknown = sorted(codes - FINDING_CODES.keys())
    if unknown:
        raise UsageError(f"--fail-on: no such finding: {', '.join(unknown)}", hint=f"one of {', '.join(FINDING_CODES)}")
    return Bar(grade=Grade.parse(require) if require else None, codes=codes)


def _scan(
    targets: Sequence[str],
    prefix: str | None,
    progress: ProgressLine | None,
    *,
    device: str,
    driver_cuda: str,
    platform: str | None,
    python: str | None,
    kernels: bool,
    gates: bool | None,
    jobs: int | None,
    **limits: Any,
) -> Batch:
    from shim.scan.installed import default_prefix

    target = read_target(device, driver_cuda)
    machine = machine_of(platform, target)
    options = ScanOptions(
        target=target, machine=machine, kernels=kernels, gates=gates, advise=_adviser(target), progress=progress
    )
    where = TargetOptions(
        prefix=Path(prefix) if prefix else default_prefix(),
        machine=None if platform == "native" else machine,
        python=python,
        limits=read_limits(**limits),
    )
    prefixes = [] if prefix is None else [where.prefix]
    return scan_batch(targets, prefixes, options if jobs is None else replace(options, jobs=jobs), where)


def _adviser(target: Target) -> Callable[[str, str, Gate], str]:
    """Names the recipe for a gate. Recipes are read when the first gate is found."""

    @functools.cache
    def recipes() -> tuple[Recipe, ...]:
        from shim.recipes.load import load_recipes

        return load_recipes()

    def advise(name: str, version: str, gate: Gate) -> str:
        from shim.recipes.advice import recipe_for

        if not gate.changes:
            return ""
        return recipe_for(recipes(), package=name, version=version, target=target, path=gate.path, text=gate.text)

    return advise


def _show(batch: Batch, bar: Bar, form: str, session: Session) -> int:
    from shim.cli.render.error import error_text

    failed = list(bar.misses(batch))
    code = max([_BELOW if failed else 0, *(error.exit_code for _, error in batch.errors)])
    for note in batch.notes:
        click.echo(f"note: {note}", err=True)
    if form == "json":
        from shim.scan.document import document

        made = document(batch.reports, batch.environments, batch.errors, exit_code=code)
        click.echo(json.dumps(made, indent=1, ensure_ascii=False))
    else:
        from shim.cli.render.scan import print_scan

        print_scan(batch.reports, batch.environments)
    for _, error in batch.errors:
        click.echo(error_text(error, trace=session.verbose), err=True)
    for miss in failed:
        click.echo(f"below what was asked for: {miss}", err=True)
    return code
