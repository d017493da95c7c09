"""An error as the user sees it: what and where, why, what to do next; the trace on demand."""

from __future__ import annotations

import traceback

from shim.errors import ShimError


def error_text(error: BaseException, *, trace: bool = False) -> str:
    """Lines for standard error: the message, its causes, the next step."""
    lines = [f"error: {_message(error)}"]
    cause = error.__cause__
    while cause is not None:
        said = "\n".join(lines)
        if not any(core in said for core in _cores(cause)):
            lines.append(f"  because {_message(cause)}")
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
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _cores(error: BaseException) -> list[str]:
    """What a cause has to say; an error that says it already need not be followed by its cause."""
    if isinstance(error, OSError) and error.strerror:
        return [error.strerror]
    texts = [error.message] if isinstance(error, ShimError) else [arg for arg in error.args if isinstance(arg, str)]
    return [text.splitlines()[0] for text in texts if text.strip()]
