"""`shim rebuild`: build a package from source for the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.arch import Arch, ComputeCapability
from shim.cli.options import Session, limit_options, read_limits, read_target, target_options, verbose_option
from shim.cli.watch import Bars
from shim.errors import UsageError

if TYPE_CHECKING:
    from shim.building.request import RebuildResult

_SHORT = 1


@click.command("rebuild")
@click.argument("subject", metavar="REQ|SDIST|DIR")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@target_options
@click.option(
    "--platform",
    type=click.Choice(["aarch64", "x86_64", "native"]),
    help="Processor the wheel is for. Default: the target's own (12.1 is always aarch64), else this one.",
)
@click.option(
    "--strategy",
    type=click.Choice(["native", "family", "sm80"]),
    default="native",
    show_default=True,
    help="The target's own code, one build for its family, or 8.0 with PTX.",
)
@click.option("--with-ptx", metavar="X.Y", multiple=True, help="Embed PTX for this capability, too, such as 8.0.")
@click.option("--dry-run", is_flag=True, help="Show edits, variables and the flags each file would get; build nothing.")
@click.option("--as-is", is_flag=True, help="Apply no rule and no recipe.")
@click.option(
    "--python",
    metavar="PREFIX",
    type=click.Path(path_type=Path),
    help="Environment that the wheel is built against; default: the running one.",
)
@click.option("--toolkit", metavar="DIR", type=click.Path(path_type=Path), help="CUDA toolkit; default: searched for.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A variable for the build.")
@click.option("--pass-env", metavar="NAME", multiple=True, help="Let the build see this variable of yours.")
@click.option("--with", "requirements", metavar="REQ", multiple=True, help="A further build requirement.")
@click.option(
    "--recipes",
    "recipe_roots",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A folder with further recipes.",
)
@click.option("--recipe", "recipes", metavar="ID", multiple=True, help="Apply this opt-in recipe, too.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Compilers at once; default: by cores and memory."
)
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Stop the build after so long.")
@click.option("--allow-network", "network", is_flag=True, help="Let the build use the network.")
@click.option("--no-repair", is_flag=True, help="Keep the wheel's `linux` tag.")
@click.option("--again", is_flag=True, help="Start anew instead of going on with an earlier run.")
@click.option("--force", is_flag=True, help="Replace a different file of the result's name.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@limit_options
@verbose_option
@click.pass_context
def command(ctx: click.Context, /, subject: str, form: str, **values: Any) -> int:
    """Build a wheel for the target from an sdist, a folder, or a requirement whose sdist is fetched.

    Generic rules and recipes make the sources fit; a probe shows the flags that each file would get; the result is
    scanned, and is no result unless it holds what was promised.

    Exit code: 0; 1 when a dry run finds that the target would not be reached; 5 when it cannot be built here; 6 when
    the build failed; 7 when its result is not as promised.
    """
    from shim.building.rebuild import rebuild

    session = ctx.find_object(Session) or Session()
    request = _request(subject, **values)
    with Bars(verbose=session.verbose) as bars:
        result = rebuild(request, bars)
    return show(result, form, verbose=session.verbose)


def show(result: RebuildResult, form: str, *, verbose: bool) -> int:
    """Print what came of a rebuild and return the exit code."""
    from shim.building.request import RebuildOutcome
    from shim.cli.render.rebuild import result_document, result_lines

    if form == "json":
        click.echo(json.dumps(result_document(result), indent=2))
    else:
        click.echo("\n".join(result_lines(result, verbose=verbose)))
    return _SHORT if result.outcome is RebuildOutcome.SHORT else 0


def _request(
    subject: str,
    *,
    folder: Path,
    device: str,
    driver_cuda: str,
    platform: str | None,
    strategy: str,
    with_ptx: tuple[str, ...],
    dry_run: bool,
    as_is: bool,
    python: Path | None,
    toolkit: Path | None,
    settings: tuple[str, ...],
    pass_env: tuple[str, ...],
    requirements: tuple[str, ...],
    recipe_roots: tuple[Path, ...],
    recipes: tuple[str, ...],
    jobs: int | None,
    timeout: float | None,
    network: bool,
    no_repair: bool,
    again: bool,
    force: bool,
    **limits: Any,
) -> Any:
    from shim.building.request import TIMEOUT, RebuildRequest
    from shim.building.strategy import Strategy
    from shim.scan.platform import machine_of

    target = read_target(device, driver_cuda)
    return RebuildRequest(
        subject=subject,
        folder=folder,
        target=target,
        machine=None if platform == "native" else machine_of(platform, target),
        strategy=Strategy(strategy),
        with_ptx=tuple(Arch(ComputeCapability.parse(text)) for text in with_ptx),
        dry_run=dry_run,
        as_is=as_is,
        python=python,
        toolkit=toolkit,
        settings=dict(_pair(text) for text in settings),
        pass_env=pass_env,
        requirements=requirements,
        recipe_roots=recipe_roots,
        recipes=recipes,
        jobs=jobs,
        timeout=TIMEOUT if timeout is None else timeout,
        network=network,
        repair=not no_repair,
        again=again,
        force=force,
        limits=read_limits(**limits),
    )


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise UsageError(f"--set {text!r}: expected NAME=VALUE")
    return name, value
