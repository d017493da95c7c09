"""The command line: one module a command, loaded when it is called, so that `--help` stays fast."""

from __future__ import annotations

import importlib
from typing import Final

import click

import shim
from shim.cli.options import verbose_option

# command -> what `--help` says of it. The module `shim.cli.<command>` has it under the name `command`.
COMMANDS: Final = {
    "scan": "Say whether wheels, files or whole environments run on the target GPU.",
    "patch": "Make a wheel or file run on the target GPU by compiling its PTX ahead of time.",
    "warm": "Compile beforehand what packages would have compiled on first use.",
    "rebuild": "Build a package from source for the target GPU.",
    "apply": "Apply recipes to the packages of an environment.",
    "undo": "Give back the original of a patched wheel or of changed packages, byte for byte.",
    "verify": "Check that a patched wheel keeps what was promised.",
    "exec": "Run a build so that nvcc, torch and Triton reach the target GPU.",
    "recipes": "List, show, check or start recipes.",
    "device": "Say which GPU this machine has and which code it loads.",
    "selftest": "Run a kernel of shim's own on a GPU of this machine.",
}


class Commands(click.Group):
    """Sub-commands by name; none is imported before it runs or shows its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"shim.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(shim.__version__, prog_name="shim")
@verbose_option
def group() -> None:
    """Scan and patch CUDA Python wheels for the NVIDIA DGX Spark (compute capability 12.1)."""
