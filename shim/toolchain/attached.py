"""Run a program as if the user had started it: same terminal, same input and output, nothing kept."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shim.errors import ToolError

_SIGNAL_BASE = 128  # as shells report the end by a signal


def run_attached(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code; 128 + N when signal N ended it.

    The counterpart of `shim.process.run`, which captures and bounds output. The program stays in the terminal's
    foreground group, so that Ctrl-C and Ctrl-Z reach it as usual; shim waits through a Ctrl-C and hands SIGTERM and
    SIGHUP on.

    Raises:
        ToolError: it is missing or cannot be run on this machine.
    """
    try:
        process = subprocess.Popen(list(argv), env=dict(env))
    except FileNotFoundError as err:
        raise ToolError(
            f"{argv[0]}: no such program", hint="write the command after --, as you would without shim"
        ) from err
    except OSError as err:
        wrong = "not a program of this machine" if err.errno == errno.ENOEXEC else err.strerror
        raise ToolError(f"cannot run {argv[0]}: {wrong}") from err
    with _handed_on(process):
        code = process.wait()
    return code if code >= 0 else _SIGNAL_BASE - code


@contextlib.contextmanager
def _handed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    def hand_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)

    before: dict[signal.Signals, Any] = {
        number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
