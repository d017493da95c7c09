"""Read the call, write the log, become nvcc."""

from __future__ import annotations

import json
import os
import sys
import time

from .record import host_call, record
from .rewrite import Call
from .words import DRY

TYPE_CHECKING = False  # type checkers take it for typing's own, which is slow to import
if TYPE_CHECKING:
    from typing import NoReturn


def write_log(path: str, call: Call, tool: str, *, recorded: bool) -> None:
    """One line, one write: lines of parallel calls do not mix (O_APPEND)."""
    line = {
        "tool": tool,
        "kind": call.kind,
        "argv": call.before,
        "argv_after": call.after,
        "environ_after": call.environ,
        "cwd": os.getcwd(),
        "output": call.output,
        "archs_before": call.archs_before,
        "archs_after": call.archs_after,
        "dropped": call.dropped,
        "changed": call.after is not call.before,
        "recorded": recorded,
        "note": call.note,
        "time": time.time(),
        "pid": os.getpid(),
    }
    data = (json.dumps(line) + "\n").encode("ascii")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(28, "the log's disk is full")
    finally:
        os.close(descriptor)


def become(program: str, name: str, words: list[str], environ: dict[str, str]) -> NoReturn:
    os.execve(program, [name, *words], {**os.environ, **environ})


def fail(text: str) -> NoReturn:
    print(f"shim's nvcc front: {text}", file=sys.stderr)
    sys.exit(1)


def main(arguments: list[str]) -> None:
    """Run: CONFIG TOOL WORDS..."""
    path, tool, *words = arguments
    try:
        with open(path, encoding="ascii") as file:
            config = json.load(file)
    except (OSError, ValueError) as err:
        fail(f"{path}: {err}")
    if tool == "nvcc":
        call = Call(words, dict(os.environ))
        call.rewrite(config)
    else:
        call = host_call(words)
    recorded = bool(config["record_only"]) and call.kind not in ("query", "preprocess", "dryrun")
    recorded = recorded and not DRY.intersection(words)
    try:
        write_log(config["log"], call, tool, recorded=recorded)
        if recorded:
            record(call, config)
            return
        become(config["programs"][tool], config["names"][tool], call.after, call.environ)
    except OSError as err:
        fail(f"{err.filename or config['log']}: {err.strerror}")
