"""`shim exec`: run a build, or any program, so that it reaches the target's architecture."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from shim.arch import Arch
from shim.cli.options import Session, verbose_option
from shim.cli.render.nvcc import call_lines, summary_lines
from shim.errors import UsageError
from shim.toolchain import is_offline
from shim.toolchain.attached import run_attached
from shim.toolchain.front import Mode, read_log
from shim.toolchain.session import prepare


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="[--] COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--target", default="12.1", show_default=True, metavar="X.Y", help="Compute capability; 12.1a, 12.0f.")
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    default=str(Mode.ADD),
    show_default=True,
    help="Add the target to the architectures of the build, put it in their place, or only drop unknown ones.",
)
@click.option(
    "--toolkit", metavar="DIR", type=click.Path(path_type=Path), help="CUDA toolkit; default: one found here."
)
@click.option(
    "--log", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Keep every nvcc call here."
)
@click.option("--append-flags", is_flag=True, help="Also set NVCC_APPEND_FLAGS, for builds with a fixed path to nvcc.")
@click.option("--keep-overlay", is_flag=True, help="Leave the CUDA_HOME that was made for the command.")
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    target: str,
    mode: str,
    toolkit: Path | None,
    log: Path | None,
    append_flags: bool,
    keep_overlay: bool,
) -> int:
    """Run COMMAND with an nvcc that drops the architectures it does not know and adds the target's.

    CUDA_HOME, CUDA_PATH, CUDACXX, PATH, CUDAARCHS and TORCH_CUDA_ARCH_LIST are set for the command, and the variable
    of an installed Triton whose ptxas is too old for the target. Nothing that is installed is changed.

    Exit code: that of the command.
    """
    arch = _arch(target)
    verbose = (ctx.find_object(Session) or Session()).verbose
    with _folder(keep=keep_overlay) as folder:
        calls_log = log or folder / "calls.jsonl"
        before = len(read_log(calls_log))
        session = prepare(
            words,
            os.environ,
            arch=arch,
            mode=Mode(mode),
            folder=folder / "cuda",
            log=calls_log,
            toolkit=toolkit,
            append_flags=append_flags,
            offline=is_offline(),
        )
        for note in session.notes:
            _say(note)
        code = run_attached(words, session.environ)
        calls = read_log(calls_log)[before:]
        if session.toolkit is not None:
            for line in (*(call_lines(calls) if verbose else ()), *summary_lines(calls, arch)):
                _say(line)
        if keep_overlay:
            _say(f"overlay: {folder / 'cuda'}")
    return code


def _arch(text: str) -> Arch:
    found = re.fullmatch(r"(\d{1,2})\.(\d)([af]?)", text.strip())
    if found is None:
        raise UsageError(
            f"not a compute capability: {text!r} (expected MAJOR.MINOR)",
            hint="12.1 for a DGX Spark; 12.1a for code that uses its special instructions, 12.0f for the family",
        )
    return Arch.parse("".join(found.groups()))


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="shim-exec-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _say(line: str) -> None:
    """Standard output belongs to the command."""
    click.echo(f"shim: {line}", err=True)
