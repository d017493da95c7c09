"""The command line called in this process: for tests with many calls, where starting Python would take longest."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shim.__main__ import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Exit code and texts of one call."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """`shim` with a cache folder of its own, and without network."""

    cache: Path

    def __call__(self, *arguments: object) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with self._environment(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in arguments])
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        wanted = {"SHIM_CACHE_DIR": str(self.cache), "SHIM_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "120"}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
