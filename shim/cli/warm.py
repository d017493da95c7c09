"""`shim warm`: compile beforehand what packages would have compiled on first use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from shim.applying.events import Watcher
from shim.applying.machine_code import Toolbox
from shim.cli.options import (
    Session,
    fetch_options,
    limit_options,
    read_limits,
    read_targets,
    targets_options,
    verbose_option,
)
from shim.cli.render.error import error_text
from shim.cli.render.warm import result_document, result_lines
from shim.cli.watch import Bars
from shim.device.driver_cache import MODULE_SECONDS, DriverDevice, find_device
from shim.errors import DeviceError, ShimError, UsageError
from shim.planning import Wanted
from shim.scan.fetch import fetch, parse_requirement
from shim.scan.installed import Distribution, default_prefix, distributions, find_distribution
from shim.scan.platform import machine_of
from shim.store import ContentStore, cache_root
from shim.toolchain import is_offline
from shim.warming.driver import warm_driver
from shim.warming.model import WarmResult
from shim.warming.subject import Subject, open_distribution, open_file, open_wheel
from shim.warming.warm import warm_store
from shim.wheels.limits import Limits

_PARTLY = 1
_FILES = (".so", ".fatbin", ".ptx", ".cubin", ".whl")

Opener = Callable[[], AbstractContextManager[Subject]]


@click.command("warm")
@click.argument("subjects", nargs=-1, metavar="[WHEEL|FILE|DIST|REQUIREMENT]...")
@click.option(
    "--env",
    "prefix",
    is_flag=False,
    flag_value="",
    metavar="[PREFIX]",
    help="Everything installed under PREFIX; without PREFIX, in the active environment.",
)
@targets_options
@fetch_options
@click.option(
    "--device",
    "device",
    type=int,
    is_flag=False,
    flag_value=0,
    metavar="[N]",
    help="Also have the driver of GPU N of this machine load, and so compile and keep, each module.",
)
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=MODULE_SECONDS,
    show_default=True,
    metavar="N",
    help="With --device: wall time one module may take.",
)
@click.option("--ptxas", metavar="PATH", type=click.Path(path_type=Path), help="Use this ptxas and no other.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Compilers at once; default: one a core.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@limit_options
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    subjects: tuple[str, ...],
    prefix: str | None,
    devices: tuple[str, ...],
    driver_cuda: str,
    device: int | None,
    seconds: int,
    form: str,
    **values: Any,
) -> int:
    """Compile the PTX of packages into shim's store, so that a later `patch` takes seconds.

    Nothing of the packages is changed or run. Packages with compilers of their own (Triton, torch.compile, ...) cannot
    be warmed without their code: the output says so, and which command of theirs would do it.

    Exit code: 0, 1 when something could not be compiled, 9 when --device finds no GPU (the rest is done).
    """
    if not subjects and prefix is None:
        raise UsageError("nothing to warm", hint="name a wheel, file, package or requirement, or pass --env")
    session = ctx.find_object(Session) or Session()
    targets = read_targets(devices, driver_cuda)
    wanted = Wanted(targets=targets)
    toolbox = Toolbox(
        store=ContentStore(cache_root() / "compiled"),
        ptxas=values.pop("ptxas"),
        offline=is_offline(),
        jobs=values.pop("jobs"),
        driver_major=targets[0].driver_cuda[0],
    )
    platform, python = values.pop("platform"), values.pop("python")
    machine = None if platform == "native" else machine_of(platform, targets[0])
    _check(subjects)
    opened = _open(subjects, prefix, machine, python, read_limits(**values))
    gpu, missing = _device(device)
    results: list[WarmResult] = []
    errors: list[ShimError] = [] if missing is None else [missing]
    with Bars(verbose=session.verbose) as bars:
        for open_one in opened:
            try:
                with open_one() as subject:
                    results.append(_warm(subject, wanted, toolbox, bars, gpu, seconds))
            except ShimError as error:
                errors.append(error)
    _show(results, form, everything=prefix is None)
    for one in errors:
        click.echo(error_text(one, trace=session.verbose), err=True)
    failed = any(result.refusals or (result.driver and result.driver.failed) for result in results)
    return max([_PARTLY if failed else 0, *(one.exit_code for one in errors)])


def _device(number: int | None) -> tuple[DriverDevice | None, DeviceError | None]:
    """The GPU that was asked for; or the error, which is told after the rest is done."""
    if number is None:
        return None, None
    try:
        return find_device(number), None
    except DeviceError as error:
        return None, error


def _warm(
    subject: Subject, wanted: Wanted, toolbox: Toolbox, watcher: Watcher, gpu: DriverDevice | None, seconds: int
) -> WarmResult:
    result = warm_store(subject, wanted, toolbox, watcher)
    return result if gpu is None else replace(result, driver=warm_driver(subject, gpu, seconds=seconds))


def _check(subjects: Sequence[str]) -> None:
    """What can be seen to be wrong before anything is compiled. Raises UsageError, OSError."""
    for text in subjects:
        path = Path(text)
        if path.is_dir():
            raise UsageError(f"{text} is a folder", hint="name what is in it, or pass --env PREFIX for an environment")
        if _is_path(text):
            path.stat()  # the system's own words when it cannot be reached
        else:
            parse_requirement(text)


def _is_path(text: str) -> bool:
    return Path(text).exists() or text.endswith(_FILES) or "/" in text


def _open(
    subjects: Sequence[str], prefix: str | None, machine: str | None, python: str | None, limits: Limits
) -> Iterator[Opener]:
    for text in subjects:
        yield partial(_open_one, text, machine, python, limits)
    if prefix is not None:
        for distribution in distributions(Path(prefix) if prefix else default_prefix()):
            yield partial(_installed, distribution)


def _open_one(text: str, machine: str | None, python: str | None, limits: Limits) -> AbstractContextManager[Subject]:
    path = Path(text)
    if _is_path(text):
        return open_wheel(path, limits) if path.suffix == ".whl" else nullcontext(open_file(path))
    requirement = parse_requirement(text)
    found = None if requirement.specifier else find_distribution(requirement.name, default_prefix())
    if found is not None:
        return _installed(found)
    return open_wheel(fetch(requirement, machine=machine, python=python).path, limits)


def _installed(distribution: Distribution) -> AbstractContextManager[Subject]:
    return nullcontext(open_distribution(distribution))


def _show(results: Sequence[WarmResult], form: str, *, everything: bool) -> None:
    """Of an environment only what there is something to say of."""
    if form == "json":
        click.echo(json.dumps(result_document(results), indent=2))
    else:
        click.echo("\n".join(result_lines(results, everything=everything)))
