"""Options that several commands share, and the values they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shim.arch import ComputeCapability, Target
from shim.errors import UsageError

if TYPE_CHECKING:
    from shim.wheels.limits import Limits

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """What `shim.__main__` must know of the command line it runs, even when the command fails."""

    verbose: bool = False


def verbose_option(function: F) -> F:
    """`-v`, anywhere on the command line: errors are shown with their trace."""

    def note(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        session = ctx.find_object(Session)
        if session is not None:
            session.verbose = session.verbose or value

    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=note,
        help="Say more, and show the trace of errors.",
    )(function)


def target_options(function: F) -> F:
    """`--target` and `--driver-cuda`; read them with `read_target`."""
    function = click.option(
        "--driver-cuda",
        default="13.0",
        show_default=True,
        metavar="X.Y",
        help="CUDA version of the target's driver. It limits which PTX can be compiled there.",
    )(function)
    return click.option(
        "--target",
        "device",
        default="12.1",
        show_default=True,
        metavar="X.Y",
        help="Compute capability of the target GPU.",
    )(function)


def targets_options(function: F) -> F:
    """`--target`, which may be repeated, and `--driver-cuda`; read them with `read_targets`."""
    function = click.option(
        "--driver-cuda",
        default="13.0",
        show_default=True,
        metavar="X.Y",
        help="CUDA version of the targets' driver. It limits which PTX can be compiled there.",
    )(function)
    return click.option(
        "--target",
        "devices",
        default=["12.1"],
        show_default=True,
        multiple=True,
        metavar="X.Y",
        help="Compute capability of the target GPU; may be repeated.",
    )(function)


def read_targets(devices: tuple[str, ...], driver_cuda: str) -> tuple[Target, ...]:
    """The values of `targets_options`, ascending, each once. Raises UsageError."""
    targets = {read_target(device, driver_cuda) for device in devices}
    return tuple(sorted(targets, key=lambda target: target.device.canonical))


def read_target(device: str, driver_cuda: str) -> Target:
    """The values of `target_options`. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", driver_cuda)
    if match is None:
        raise UsageError(f"not a CUDA version: {driver_cuda!r} (expected MAJOR.MINOR)", hint="such as 13.0")
    target = Target(device=ComputeCapability.parse(device), driver_cuda=(int(match[1]), int(match[2])))
    if target.max_isa and target.device.major < _OLDEST_MAJOR:
        raise UsageError(
            f"compute capability {target.device} is too old to judge (expected 5.0 or newer)", hint="see --target"
        )
    return target


def fetch_options(function: F) -> F:
    """`--platform` and `--python`: what to fetch a requirement for."""
    function = click.option(
        "--python",
        metavar="X.Y",
        callback=_python_version,
        help="Python to fetch wheels for; default: the running one.",
    )(function)
    return click.option(
        "--platform",
        type=click.Choice(["aarch64", "x86_64", "native"]),
        help="Processor to fetch and judge for. Default: the target's own (12.1 is always aarch64), else this one.",
    )(function)


def limit_options(function: F) -> F:
    """Bounds on what an archive may ask of this machine; read them with `read_limits`."""
    for name, text in (
        ("--max-ratio", "inflated bytes for each compressed byte"),
        ("--max-total-size", "bytes of all members of an archive together"),
        ("--max-member-size", "bytes of one member of an archive"),
        ("--max-members", "members of an archive"),
    ):
        kind = float if name == "--max-ratio" else int
        function = click.option(name, type=kind, metavar="N", help=f"Refuse more than N {text}.")(function)
    return click.option(
        "--allow-case-clash", is_flag=True, help="Accept members whose names differ by letter case only."
    )(function)


def read_limits(**values: Any) -> Limits:
    """The values of `limit_options`: those not given keep their defaults."""
    from shim.wheels.limits import Limits

    return Limits(**{name: value for name, value in values.items() if value is not None})


_OLDEST_MAJOR = 5


def _python_version(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", value) is None:
        raise UsageError(f"not a Python version: {value!r} (expected a form like 3.12)")
    return value
