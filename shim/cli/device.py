"""`shim device`: which GPU is here, and what it can load."""

from __future__ import annotations

import json

import click

from shim.cli.render.device import detection_document, detection_lines

_NO_DEVICE = 9


@click.command("device")
@click.option("--quick", is_flag=True, help="Do not ask libcuda when NVML has told the compute capability.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=20.0, show_default=True, help="Seconds a question.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(quick: bool, timeout: float, form: str) -> int:
    """Say which GPU is here, who says so, and which code it can load.

    NVML and the CUDA driver are asked in child processes; nothing is initialised in this one. SHIM_FORCE_ARCH=12.1 (or
    12.1a, 12.1f) overrides what is found.

    Exit code: 0 when a CUDA program would find a device, else 9.
    """
    from shim.device.detect import detect

    found = detect(details=not quick, seconds=timeout)
    if form == "json":
        click.echo(json.dumps(detection_document(found), indent=2))
    else:
        click.echo("\n".join(detection_lines(found)))
    return 0 if found.ok and found.device is not None else _NO_DEVICE
