"""Put the stand-in into an overlay of a CUDA toolkit."""

from __future__ import annotations

import json
import os
import py_compile
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from shim.errors import ToolError
from shim.process import run
from shim.toolchain.front.request import ArchRequest
from shim.toolchain.front.stubs import host_compilers, make_stubs
from shim.toolchain.overlay import make_overlay

_SECONDS = 60.0
_START = """import sys
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
from standin.main import main
main(sys.argv[1:])
"""
_OWN = "shim"  # folder of the overlay with the stand-in's own files


def install(
    folder: Path,
    *,
    toolkit: Path,
    archs: ArchRequest,
    log: Path,
    record_only: bool = False,
    wheels: Sequence[Path] = (),
) -> Path:
    """Make an overlay CUDA_HOME in `folder` whose `bin/nvcc` is the stand-in, and return it.

    Args:
        folder: made if missing, else empty. It must outlive the build and may not be moved.
        toolkit: CUDA_HOME of the nvcc to use.
        log: one line a call is appended; see `read_log`.
        record_only: compile nothing: write empty files where a build waits for some, `cc` and `c++` alike
            (`environment` leads a build to those too).
        wheels: as for `make_overlay`.

    Raises:
        ToolError: nvcc does not run, does not know an architecture of `archs`, or a folder cannot be written.
    """
    home = make_overlay(folder.absolute(), toolkit=toolkit, wheels=wheels)
    nvcc = home / "bin" / "nvcc"
    real = home / _OWN / "nvcc"
    own = real.parent
    try:
        own.mkdir()
        nvcc.rename(real)
        known = known_archs(real, home)
        for name in (*archs.sass, *archs.ptx):
            if int(name.rstrip("af")) not in known:
                raise _unknown(name, toolkit, known)
        compilers = host_compilers() if record_only else {}
        config = {
            "mode": str(archs.mode),
            "sass": archs.sass,
            "ptx": archs.ptx,
            "own": " ".join(archs.flags),
            "known": known,
            "log": str(log.absolute()),
            "record_only": record_only,
            "programs": {"nvcc": str(real)} | {name: str(path) for name, path in compilers.items()},
            # nvcc finds its parts beside the name it is called by, not beside its real file
            "names": {"nvcc": str(nvcc)} | {name: str(path) for name, path in compilers.items()},
            "stubs": make_stubs(own, compilers["cc"]) if record_only else {},
        }
        (own / "config.json").write_text(json.dumps(config), encoding="ascii")
        _copy_program(own)
        _script(nvcc, own, "nvcc")
        for name in compilers:
            _script(own / name, own, name)
    except OSError as err:
        raise ToolError(f"cannot write {err.filename or folder}: {err.strerror}") from err
    return home


def environment(home: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a whole environment in which builds find the overlay that `install` made.

    Args:
        environ: the environment to add to; None = the present one.
    """
    environ = dict(os.environ if environ is None else environ)
    path = environ.get("PATH", os.defpath)
    environ |= {
        "CUDA_HOME": str(home),
        "CUDA_PATH": str(home),
        "CUDACXX": str(home / "bin" / "nvcc"),
        "PATH": f"{home / 'bin'}{os.pathsep}{path}",
    }
    if (home / _OWN / "c++").exists():
        environ |= {"CC": str(home / _OWN / "cc"), "CXX": str(home / _OWN / "c++")}
    return environ


def known_archs(nvcc: Path, home: Path) -> list[int]:
    """Numbers of the architectures an nvcc compiles for, like [75, 80, ... 121]. Suffixes are not listed by nvcc.

    Raises:
        ToolError: nvcc does not run, or is older than CUDA 11.2 and does not tell.
    """
    done = run([nvcc, "--list-gpu-arch"], cwd=home, timeout=_SECONDS).check()
    found = sorted({int(number) for number in re.findall(r"^compute_(\d+)\b", done.stdout, re.MULTILINE)})
    if not found:
        raise ToolError(f"{nvcc} does not tell which architectures it knows", hint="CUDA 12.9 is the oldest for 12.1")
    return found


def _unknown(name: str, toolkit: Path, known: Sequence[int]) -> ToolError:
    return ToolError(
        f"the nvcc of {toolkit} does not know sm_{name}; its newest is sm_{max(known)}",
        hint="12.1 needs CUDA 12.9 or newer, 12.0 needs CUDA 12.8 or newer; name another toolkit with --toolkit",
    )


def _copy_program(own: Path) -> None:
    """Compiled, since Python keeps no compiled form of the file it starts from."""
    names = ("__init__", "archs", "main", "record", "rewrite", "words")
    with resources.as_file(resources.files("shim.toolchain.front").joinpath("standin")) as folder:
        for name in names:
            target = own / "standin" / f"{name}.pyc"
            py_compile.compile(str(folder / f"{name}.py"), cfile=str(target), dfile=f"standin/{name}.py", doraise=True)
    start = own / "front.py"
    start.write_text(_START, encoding="ascii")
    py_compile.compile(str(start), cfile=str(own / "front.pyc"), dfile="front.py", doraise=True)


def _script(path: Path, own: Path, tool: str) -> None:
    words = [sys.executable, "-I", "-S", str(own / "front.pyc"), str(own / "config.json"), tool]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8", errors="surrogateescape")
    path.chmod(0o755)
