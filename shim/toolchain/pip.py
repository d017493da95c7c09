"""The user's own pip, which fetches packages with the user's own settings."""

from __future__ import annotations

import importlib.util
import shutil
import sys

from shim.errors import ToolError


def pip_command(purpose: str) -> tuple[str, ...]:
    """How to call pip: that of the running Python, else a `pip` on PATH. uv has no command that downloads.

    Args:
        purpose: what is wanted from it, for the message.

    Raises:
        ToolError: there is none.
    """
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    if program := shutil.which("pip") or shutil.which("pip3"):
        return (program,)
    raise ToolError(
        f"{purpose} is needed, and there is no pip to fetch it with",
        hint=f"install pip (uv pip install pip, or {sys.executable} -m ensurepip), or fetch {purpose} by hand",
    )
