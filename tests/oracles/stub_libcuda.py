"""The stub driver: libcuda.so.1 built from C, put under a program that uses the driver API, and its log read back."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.builders.c_code import compile_c
from tests.oracles.fake_cudart import HERE, workspace

THUNKS = 1024
SONAME = "libcuda.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One image handed to the driver: by which function, in which form ("fatbin", "cubin", "ptx"), and its bytes."""

    call: str
    form: str
    outcome: str
    code: int
    image: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch; `image` counts the loads."""

    kernel: str
    image: int
    outcome: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a program did with the driver. calls: functions that were called and are not answered."""

    loads: tuple[Load, ...]
    kernels: tuple[str, ...]
    launches: tuple[Launch, ...]
    calls: frozenset[str]
    output: str


@cache
def build(machine: str = platform.machine()) -> Path:
    """The folder that holds libcuda.so.1."""
    folder = Path(tempfile.mkdtemp(prefix=f"libcuda-{machine}-", dir=workspace().name))
    (folder / "stub_thunks.h").write_text("".join(f"THUNK({number})\n" for number in range(THUNKS)))
    options = ["-shared", "-fPIC", "-fvisibility=hidden", "-pthread", f"-I{HERE}", f"-I{folder}"]
    options += ["-DFAKE_MAJOR=13", f"-Wl,-soname,{SONAME}"]
    compile_c(folder / SONAME, [HERE / "stub_libcuda.c", HERE / "selector.c"], machine=machine, options=options)
    return folder


def use(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, timeout: float = 300) -> Use:
    """Runs a program on the stub driver. Raises RuntimeError with its words when it fails."""
    folder = build()
    with tempfile.TemporaryDirectory(dir=workspace().name) as work:
        log, images = Path(work, "log"), Path(work, "images")
        images.mkdir()
        log.touch()
        settings = {
            "SHIM_FAKE_GPU_LOG": str(log),
            "SHIM_FAKE_GPU_IMAGES": str(images),
            "LD_LIBRARY_PATH": str(folder),
        }
        environ = {**os.environ, **settings, **(environment or {})}
        done = subprocess.run(
            [str(word) for word in command], env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} on the stub driver ended with {done.returncode}: {done.stderr}")
        return _read([json.loads(line) for line in log.read_text().splitlines()], images, done.stdout)


def _read(events: Sequence[dict[str, Any]], images: Path, output: str) -> Use:
    def of(kind: str) -> list[dict[str, Any]]:
        return [event for event in events if event["event"] == kind]

    def pick(event: dict[str, Any], *names: str) -> dict[str, Any]:
        return {name: event[name] for name in names}

    return Use(
        loads=tuple(
            Load(
                **pick(event, "call", "form", "outcome", "code"),
                image=(images / f"{event['image']}.image").read_bytes(),
            )
            for event in of("load")
        ),
        kernels=tuple(event["name"] for event in of("kernel")),
        launches=tuple(Launch(**pick(event, "kernel", "image", "outcome", "code")) for event in of("launch")),
        calls=frozenset(event["name"] for event in of("call")),
        output=output,
    )
