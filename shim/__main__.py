"""Entry point of `shim` and `python -m shim`: the only place that catches errors and sets exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import click

from shim.cli import group
from shim.cli.options import Session
from shim.cli.render.error import error_text
from shim.errors import ShimError, UsageError

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

TERMINATED = 143
"""128 + SIGTERM."""

_BROKEN_PIPE = 141
"""128 + SIGPIPE."""

_UNREADABLE = 3
_BUG = 70
"""EX_SOFTWARE of sysexits.h: none of shim's own codes."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the same way out as Ctrl-C, so that compilers are stopped and temporary files removed."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: somebody calls `main` as a function, and signals are theirs
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code of the process.

    Args:
        arguments: without the program's name; those of the process when None.
    """
    session = Session()
    try:
        with _terminable():
            code = _run(list(sys.argv[1:] if arguments is None else arguments), session)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "shim"
        return _tell(UsageError(error.format_message(), hint=f"see {where} --help"), UsageError.exit_code, session)
    except ShimError as error:
        return _tell(error, error.exit_code, session)
    except Terminated:
        print("\nterminated", file=sys.stderr)
        return TERMINATED
    except (KeyboardInterrupt, click.Abort):
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. Nothing may be written to it any more, not even by Python's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        return _tell(error, _UNREADABLE, session)
    except Exception as error:  # noqa: BLE001  (the last resort: a bug gets one line, and its trace with -v)
        return _tell(error, _BUG, session)
    return code


def _run(arguments: list[str], session: Session) -> int:
    with group.make_context("shim", arguments, obj=session) as context:
        code = group.invoke(context)
    return code if isinstance(code, int) else 0


def _tell(error: BaseException, code: int, session: Session) -> int:
    print(error_text(error, trace=session.verbose), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
