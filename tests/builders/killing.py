"""Kill a run of shim at every call that changes a file, and look at what is left; nothing in shim knows of it.

`killer.c` is preloaded. One process with everything imported forks a child for each point, so that a point costs what
the run itself costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_WRITES = 6  # of the points that are writes, so many, spread evenly; all others are taken
_MOST_LETTERS = 1 << 16

Files = dict[str, str]  # name -> SHA-256, or "-> place" of a symbolic link, or "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What one kill left, and what the same command made of that afterwards.

    Attributes:
        at: number of the call. call: its letter in `killer.c`.
        left: files after the kill. code, after: exit code and files of the run that followed.
    """

    at: int
    call: str
    left: Files
    code: int
    after: Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Killings:
    """All kills of one command; `before` and `done`: files before it, and after a run that nobody killed."""

    calls: str
    before: Files
    done: Files
    points: tuple[Killed, ...]


@cache
def _library(folder: Path) -> Path:
    out = folder / "killer.so"
    source = ROOT / "tests/builders/killer.c"
    compiler = [found] if (found := shutil.which("cc")) else [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-w", source, "-o", out, "-ldl"], check=True)
    return out


def kill_everywhere(arguments: Sequence[object], folder: Path, cache_folder: Path, work: Path) -> Killings:
    """Run `shim ARGUMENTS` once, and once for every point with a kill there; `folder` is put back before each run."""
    request = {"arguments": [str(word) for word in arguments], "folder": str(folder)}
    environment = {
        **os.environ,
        "LD_PRELOAD": str(_library(work)),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "SHIM_CACHE_DIR": str(cache_folder),
        "SHIM_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.builders.killing", json.dumps(request)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    points = tuple(Killed(**point) for point in answer.pop("points"))
    return Killings(points=points, **answer)


def snapshot(folder: Path) -> Files:
    """Files of a folder, those in folders below it left out."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.is_symlink():
            found[path.name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[path.name] = "folder"
        else:
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class _Killer:
    """The preloaded library, seen from the process it is in."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._library = ctypes.CDLL(None)
        self._arguments = arguments
        self._folder = folder

    def run(self, at: int) -> tuple[int, str]:
        """Fork a run that is killed at a call (0: at none); its exit code (negative: signal) and its calls."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            self._run_child(at, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            calls = pipe.read()
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), calls.decode()

    def _run_child(self, at: int, pipe: int) -> None:
        from shim.__main__ import main

        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        code = 99
        try:
            self._library.kill_arm(ctypes.c_long(at), os.fsencode(self._folder))
            code = main(self._arguments)
            buffer = ctypes.create_string_buffer(_MOST_LETTERS)
            size = self._library.kill_log(buffer, ctypes.c_long(_MOST_LETTERS))
            self._library.kill_arm(ctypes.c_long(0), b"")
            os.write(pipe, buffer.raw[:size])
        finally:
            os._exit(code)


def _points(calls: str) -> list[int]:
    writes = [number for number, letter in enumerate(calls, 1) if letter == "w"]
    step = max(len(writes) // _WRITES, 1)
    others = [number for number, letter in enumerate(calls, 1) if letter != "w"]
    return sorted({*writes[::step], *writes[-1:], *others})


def warm_up(arguments: list[str]) -> None:
    """One run in this process, so that the forked ones need not import anything."""
    from shim.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()):
        assert main(arguments) == 0


def _main(text: str) -> None:
    request = json.loads(text)
    folder = Path(request["folder"])
    with tempfile.TemporaryDirectory() as name:
        kept = Path(name) / "kept"
        folder.mkdir(exist_ok=True)
        shutil.copytree(folder, kept, symlinks=True)

        def put_back() -> None:
            shutil.rmtree(folder)
            shutil.copytree(kept, folder, symlinks=True)

        killer = _Killer(request["arguments"], folder)
        before = snapshot(folder)
        warm_up(request["arguments"])
        put_back()
        code, calls = killer.run(0)
        assert code == 0, f"the run itself ends with {code}"
        done = snapshot(folder)
        points = []
        for at in _points(calls):
            put_back()
            code, _ = killer.run(at)
            assert code == -9, f"call {at} of {len(calls)} ({calls[at - 1]}): exit code {code}, not killed"
            left = snapshot(folder)
            code, _ = killer.run(0)
            points.append({"at": at, "call": calls[at - 1], "left": left, "code": code, "after": snapshot(folder)})
        put_back()
    print(json.dumps({"calls": calls, "before": before, "done": done, "points": points}))


if __name__ == "__main__":
    _main(sys.argv[1])
