"""`shim patch`: make a wheel (or library) run natively on the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from shim.applying.ending import Destination
from shim.applying.events import Watcher
from shim.applying.files import Settings
from shim.applying.machine_code import Toolbox
from shim.applying.result import Outcome, PatchResult
from shim.applying.single import patch_single
from shim.applying.wheel import WheelOptions, patch_wheel
from shim.arch import Target
from shim.building.request import RebuildRequest, RebuildResult
from shim.building.salvage import Salvage, is_lacking, machine_of_wheel, rebuild_wheel, salvage_of
from shim.cli.options import (
    Session,
    fetch_options,
    limit_options,
    read_limits,
    read_targets,
    targets_options,
    verbose_option,
)
from shim.cli.rebuild import show as show_rebuild
from shim.cli.render.patch import plan_lines, refusal_lines, result_document, result_lines
from shim.cli.watch import Bars
from shim.errors import PlanError, UsageError
from shim.planning import Layout, Packing, Slim, Wanted
from shim.provenance.document import LICENCE_WARNING, Request
from shim.recipes.load import load_recipes
from shim.scan.fetch import fetch, parse_requirement
from shim.scan.platform import machine_of
from shim.store import ContentStore, cache_root
from shim.toolchain import is_offline

_PARTLY = 1


class _PatchCommand(click.Command):
    """Lets `--slim` stand without a value before anything, the file to patch too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        given = [f"--slim={Slim.KEEP_PTX}" if word == "--slim" else word for word in options]
        return super().parse_args(ctx, given + args[len(options) :])


@click.command("patch", cls=_PatchCommand)
@click.argument("subject", metavar="WHEEL|FILE|REQUIREMENT")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@targets_options
@fetch_options
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--only", metavar="REGEX", default="", help="Only containers with a kernel whose mangled name matches.")
@click.option(
    "--budget",
    metavar="MINUTES",
    type=click.FloatRange(min=0, min_open=True),
    help="Wall time for compiling: the most useful containers first; what is left out is done by running it again.",
)
@click.option("--recipe", "chosen", multiple=True, metavar="ID", help="Also this opt-in recipe; may be repeated.")
@click.option("--no-recipes", is_flag=True, help="Add machine code only; edit nothing.")
@click.option(
    "--recipes", "recipe_folders", multiple=True, metavar="DIR", type=click.Path(path_type=Path), help="More recipes."
)
@click.option(
    "--slim",
    type=click.Choice(["keep-ptx", "sass-only"]),
    metavar="[=keep-ptx|sass-only]",
    help="Leave out what no target can load: --slim (keeps the newest usable PTX) or --slim=sass-only.",
)
@click.option(
    "--layout",
    type=click.Choice(["auto", "repack", "append", "move"]),
    default="auto",
    show_default=True,
    help="How to write libraries (docs/patching.md has the rule).",
)
@click.option(
    "--compress",
    type=click.Choice(["balance", "size", "none"]),
    default="balance",
    show_default=True,
    help="Compression of new images: zstd 5, zstd 19, none.",
)
@click.option("--recompress", is_flag=True, help="Compress old images that are stored, too.")
@click.option(
    "--experimental-restamp",
    is_flag=True,
    help="Mark machine code of 12.0a as 12.1a where there is no PTX. Not supported by NVIDIA, not run on a GB10.",
)
@click.option("--ptxas", metavar="PATH", type=click.Path(path_type=Path), help="Use this ptxas and no other.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Compilers at once; default: one a core.")
@click.option("--copy", is_flag=True, help="Copy the input to the output folder when there is nothing to do.")
@click.option("--force", is_flag=True, help="Replace a different file of the result's name.")
@click.option("--canonical", is_flag=True, help="Compress with zlib: equal bytes on every machine, but slower.")
@click.option("--load", is_flag=True, help="Also load each patched library in a child process; runs its constructors.")
@click.option("--allow-nvidia", is_flag=True, help="Modify NVIDIA's own libraries too. Their licence forbids it.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Where patching would leave code as it is, build from source for the target instead.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@limit_options
@verbose_option
@click.pass_context
def command(ctx: click.Context, /, subject: str, form: str, **values: Any) -> int:
    """Compile the PTX in a wheel ahead of time and add the machine code to its libraries.

    The result is written to the folder of -o (default: the current one) and verified before it appears there; the
    original is never changed, and `shim undo` gives it back. What cannot be saved that way can be built from source:
    the plan says what that would take, and --rebuild does it.

    Exit code: 0, or 1 when some containers had to stay as they are, or 5 when nothing can be done.
    """
    session = ctx.find_object(Session) or Session()
    targets = read_targets(values.pop("devices"), values.pop("driver_cuda"))
    target = targets[0]
    with Bars(verbose=session.verbose) as bars:
        path = _find(subject, target, values.pop("platform"), values.pop("python"))
        result, salvage = _patch_or_rebuild(path, targets, bars, **values)
    if isinstance(result, PatchResult):
        return _show(result, salvage, form)
    return show_rebuild(result, form, verbose=session.verbose)


def _show(result: PatchResult, salvage: Salvage | None, form: str) -> int:
    for library in result.plan.libraries:
        if library.licence:
            click.echo(f"warning: {library.member}: {library.licence}; {LICENCE_WARNING}", err=True)
    if form == "json":
        other = {} if salvage is None else {"rebuild": {"possible": salvage.outlook.possible, "text": salvage.text}}
        click.echo(json.dumps({**result_document(result), **other}, indent=2))
    else:
        click.echo("\n".join(_lines(result) + ([] if salvage is None else [f"instead: {salvage.text}"])))
    return _PARTLY if result.outcome is Outcome.PARTLY else 0


def _patch_or_rebuild(
    path: Path, targets: tuple[Target, ...], bars: Bars, *, rebuild: bool, **values: Any
) -> tuple[PatchResult | RebuildResult, Salvage | None]:
    """Patch; with `rebuild`, a wheel that patching would leave lacking is built from source instead."""
    salvage = None
    try:
        result = _patch(path, targets, bars, **{**values, "dry_run": rebuild or values["dry_run"]})
        if is_lacking(result):
            salvage = salvage_of(path)
    except PlanError as error:
        salvage = salvage_of(path)
        if salvage is None or not (rebuild and salvage.outlook.possible):
            more = None if salvage is None else salvage.text
            raise PlanError(error.message, hint="\n  or: ".join(filter(None, (error.hint, more)))) from error
    if rebuild and salvage is not None and salvage.outlook.possible:
        return rebuild_wheel(_rebuild_request(path, salvage, targets[0], **values), bars), salvage
    if rebuild and not values["dry_run"]:
        result = _patch(path, targets, bars, **values)
    return result, salvage


def _rebuild_request(path: Path, salvage: Salvage, target: Target, **values: Any) -> RebuildRequest:
    """Options that `patch` lacks have their defaults."""
    return RebuildRequest(
        subject=salvage.requirement,
        folder=values["folder"],
        target=target,
        machine=machine_of_wheel(path),
        dry_run=values["dry_run"],
        recipe_roots=values["recipe_folders"],
        recipes=values["chosen"],
        jobs=values["jobs"],
        force=values["force"],
    )


def _patch(
    path: Path,
    targets: tuple[Target, ...],
    watcher: Watcher,
    *,
    folder: Path,
    dry_run: bool,
    only: str,
    budget: float | None,
    chosen: tuple[str, ...],
    no_recipes: bool,
    recipe_folders: tuple[Path, ...],
    ptxas: Path | None,
    jobs: int | None,
    copy: bool,
    force: bool,
    canonical: bool,
    load: bool,
    allow_nvidia: bool,
    slim: str | None,
    experimental_restamp: bool,
    compress: str,
    recompress: bool,
    layout: str,
    **limits: Any,
) -> PatchResult:
    toolbox = Toolbox(
        store=ContentStore(cache_root() / "compiled"),
        ptxas=ptxas,
        offline=is_offline(),
        jobs=jobs,
        budget=None if budget is None else budget * 60,
        driver_major=targets[0].driver_cuda[0],
    )
    wanted = Wanted(
        targets=targets,
        slim=Slim(slim or "off"),
        restamp=experimental_restamp,
        packing=Packing(compress),
        repack_old=recompress,
        layout=None if layout == "auto" else Layout(layout),
    )
    if wanted.repack_old and wanted.packing is Packing.NONE:
        raise UsageError("--recompress with --compress none", hint="name a compression: balance or size")
    settings = Settings(toolbox=toolbox, wanted=wanted)
    recipes = () if no_recipes else load_recipes(recipe_folders)
    if unknown := sorted(set(chosen) - {recipe.id for recipe in recipes}):
        raise UsageError(f"no recipe has the id {unknown[0]!r}", hint="`shim recipes list` names them")
    request = Request(
        wanted=wanted, only=only, recipes=None if no_recipes else tuple(sorted(chosen)), allow_nvidia=allow_nvidia
    )
    where = Destination(folder=folder, dry_run=dry_run, force=force, copy=copy, load=load)
    if path.suffix != ".whl":
        return patch_single(path, request, settings, where, watcher)
    options = WheelOptions(limits=read_limits(**limits), canonical=canonical, recipes=recipes)
    return patch_wheel(path, request, settings, where, options, watcher)


def _find(subject: str, target: Target, platform: str | None, python: str | None) -> Path:
    path = Path(subject)
    if path.is_dir():
        raise UsageError(f"{subject} is a folder", hint="name the wheels or libraries in it one by one")
    if path.exists() or path.suffix in (".whl", ".so") or "/" in subject:
        path.stat()  # the system's own words when it cannot be reached
        return path
    machine = None if platform == "native" else machine_of(platform, target)
    return fetch(parse_requirement(subject), machine=machine, python=python).path


def _lines(result: PatchResult) -> list[str]:
    if result.outcome is Outcome.ALREADY:
        return [f"{result.plan.subject}: already patched in this way; nothing to do"]
    lines = plan_lines(result.plan)
    if result.outcome is not Outcome.PLANNED:
        return lines + result_lines(result)
    return lines + (["stays as it is:", *refusal_lines(result.refusals)] if result.refusals else [])
