"""The work folder of a rebuild: named by what goes into it, so that a second run goes on where the first stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim.errors import ToolError
from shim.store.folder import cache_root, private_folder


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Files of one rebuild below the cache folder; `state.json` names the finished steps."""

    path: Path

    @property
    def source(self) -> Path:
        """The edited sources; there only when they are complete."""
        return self.path / "source"

    @property
    def log(self) -> Path:
        return self.path / "build.log"

    def state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def note(self, **facts: Any) -> None:
        """Write down a finished step; whole or not at all."""
        temporary = self.path / ".state"
        temporary.write_text(json.dumps({**self.state(), **facts}, indent=1), encoding="utf-8")
        temporary.replace(self.path / "state.json")

    def fresh(self, name: str) -> Path:
        """An empty folder inside."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        return path

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def work_folder(key: str, *, again: bool = False) -> Iterator[WorkFolder]:
    """The folder for a key, for one process at a time.

    Args:
        again: forget what an earlier run left.

    Raises:
        ToolError: another process rebuilds the same thing.
    """
    root = private_folder(cache_root() / "rebuilds")
    path = root / key
    lock = os.open(root / f"{key}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ToolError("another shim is rebuilding the same package", hint="wait for it to end") from error
        folder = WorkFolder(path)
        if again:
            folder.remove()
        private_folder(path)
        yield folder
    finally:
        os.close(lock)
