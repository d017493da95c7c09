"""An error as the user sees it: what and where, why, what to do next; the trace on demand."""

from __future__ import annotations

import traceback

from shim.errors import ShimError


def error_text(error: BaseException, *, trace: bool = False) -> str:
    """Lines for standard error: the message, its causes, the next step."""
    lines = [f"error: {_message(error)}"]
    cause = error.__cause__
    shown = lines[0]
    while cause is not None:
        text = _message(cause)
        if text not in shown:
            lines.append(f"  because {text}")
            shown += text
        cause = cause.__cause__
    if isinstance(error, ShimError):
        if error.hint:
            lines.append(f"  next: {error.hint}")
    elif not isinstance(error, OSError):
        lines.append("  next: this is a fault of shim itself; please report it with the output of -v")
    if trace:
        lines.extend(["", *"".join(traceback.format_exception(error)).splitlines()])
    return "\n".join(lines)


def _message(error: BaseException) -> str:
    if isinstance(error, ShimError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
