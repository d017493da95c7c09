"""`shim selftest`: which image of shim's own CUDA module the device runs."""

from __future__ import annotations

import click


@click.command("selftest", help=__doc__)
@click.option("--device", default=0, show_default=True, help="CUDA device number.")
def command(device: int) -> int:
    from shim.device.selftest import run_selftest

    result = run_selftest(device)
    how = "machine code of the wheel" if result.machine_code else "PTX that the driver compiled"
    click.echo(f"{result.name} ({result.capability}): ran sm_{result.image}, {how}")
    click.echo(f"binary version {result.binary_version}, PTX version {result.ptx_version}")
    return 0
