"""The Python that a command runs in, and what is installed for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from shim.errors import ToolError
from shim.process import run

_SECONDS = 60.0
_WRAPPERS = ("env", "nice", "ionice", "time", "timeout", "nohup", "setsid", "stdbuf", "taskset", "chrt", "sudo", "shim")
_ASK = "import json, sys; print(json.dumps([entry for entry in sys.path if entry]))"


def interpreter_of(command: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """Return the Python that a command will run in; None if there is none.

    The command itself if it is a Python, the one its `#!` line names (pip and other scripts), else that of
    VIRTUAL_ENV, else the first on PATH. Wrappers such as `env` and `nice` are looked through.
    """
    path = environ.get("PATH")
    program = _program(command, path)
    if program and _is_python(program):
        return program
    if program and (named := _shebang(program)) and _is_python(named):
        return named
    if home := environ.get("VIRTUAL_ENV"):
        python = Path(home) / "bin" / "python"
        if python.exists():
            return python
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    return Path(found) if found else None


def import_path(python: Path, environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders that a Python imports from, those of `.pth` files included; () if it does not run."""
    try:
        done = run([python, "-c", _ASK], env=environ, timeout=_SECONDS).check()
        entries = json.loads(done.stdout)
        return tuple(Path(entry) for entry in entries if os.path.isabs(entry))  # noqa: PTH117
    except (ToolError, ValueError, TypeError):
        return ()


def installed(names: Sequence[str], paths: Sequence[Path]) -> Distribution | None:
    """Return the first distribution of one of these names (lower case) under the folders."""
    for found in distributions(path=[str(path) for path in paths]):
        name = found.metadata["Name"]
        if isinstance(name, str) and name.lower().replace("_", "-") in names:
            return found
    return None


def _program(command: Sequence[str], path: str | None) -> Path | None:
    """The first word that is a program and no wrapper; options and `NAME=value` words are none."""
    for word in command:
        found = shutil.which(word, path=path)
        if found and Path(found).name not in _WRAPPERS:
            return Path(found)
    return None


def _is_python(program: Path) -> bool:
    return program.name.startswith(("python", "pypy"))


def _shebang(program: Path) -> Path | None:
    try:
        with program.open("rb") as file:
            line = file.readline(4096)
            second = file.readline(4096)
    except OSError:
        return None
    words = line[2:].decode("utf-8", "surrogateescape").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "sh" and second.startswith(b"'''exec' "):
        # pip writes this form when the interpreter's path is long or holds blanks
        rest = second.removeprefix(b"'''exec' ").decode("utf-8", "surrogateescape")
        quoted = rest.split('"')
        return Path(quoted[1] if rest.startswith('"') and len(quoted) > 2 else rest.split()[0])
    if words and Path(words[0]).name == "env":
        found = shutil.which(words[-1])
        return Path(found) if found else None
    return Path(words[0]) if words else None
