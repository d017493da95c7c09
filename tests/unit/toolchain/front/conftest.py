"""An installed front with this machine's nvcc, or with a program that only shows what it was called with."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.fake_tools import banner, program

from shim.toolchain.front import ArchRequest, NvccCall, environment, install, read_log

TARGET_FLAG = "-gencode=arch=compute_121,code=sm_121"
LISTED = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)  # nvcc 13.0.88 --list-gpu-arch

SHOWS = """\
#!/bin/sh
case "$1" in
--version) cat <<'END'
{banner}END
exit 0;;
--list-gpu-arch) printf 'compute_%s\\n' {archs}; exit 0;;
esac
if [ "$1" = -v ] && [ "$2" = __shim ]; then echo "#$ TOP={top}" >&2; exit 1; fi
exec "{python}" -I -c '
import json, os, sys
names = [name for name in os.environ if name.startswith("NVCC_")]
print(json.dumps({{"argv": sys.argv[1:], "environ": {{name: os.environ[name] for name in names}}}}))
' "$@"
"""


@dataclass(frozen=True)
class Front:
    home: Path
    log: Path

    def run(self, *words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.home / "bin" / "nvcc", *words],
            cwd=cwd,
            env=environment(self.home, {**os.environ, **(env or {})}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def shown(self, *words: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
        """What the program behind the front was called with."""
        done = self.run(*words, cwd=cwd, env=env)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        return seen["argv"], seen["environ"]

    @property
    def calls(self) -> tuple[NvccCall, ...]:
        return read_log(self.log)


@pytest.fixture
def shows(tmp_path: Path) -> Callable[..., Front]:
    """A front before a stand-in toolkit whose nvcc prints its own command line."""

    def make(**request: object) -> Front:
        import sys

        root = tmp_path / "toolkit"
        archs = " ".join(map(str, LISTED))
        text = SHOWS.format(banner=banner("13.0.88", "nvcc"), archs=archs, python=sys.executable, top=root)
        program(root / "bin" / "nvcc", text)
        log = tmp_path / "log"
        request = {"sass": ("121",), **request}
        return Front(install(tmp_path / "home", toolkit=root, archs=ArchRequest(**request), log=log), log)  # type: ignore[arg-type]

    return make
