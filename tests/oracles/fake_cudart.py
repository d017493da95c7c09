"""The fake CUDA runtime ("fake GB10"): built from C, put under a library, and its log read back.

It answers as a DGX Spark (12.1, driver of CUDA 13.0), runs nothing, and says for each launch which image a device
would have taken: "SASS sm_121", "JIT compute_80", "NO IMAGE" (error 209), "UNPROVEN sm_120" (209; field reports say
that drivers load it), "JIT TOO NEW compute_90" (222). What it can and cannot show: docs/oracles.md.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.builders.c_code import compile_c
from tests.oracles.cudart_exports import SONAMES, exports

HERE = Path(__file__).parent
SYSROOT = Path("/usr/aarch64-linux-gnu")
THUNK = """\
__attribute__((weak, visibility("default"))) int {name}(void) {{
  static int seen;
  if (!seen++) shim_log("{{\\"event\\": \\"call\\", \\"name\\": \\"{name}\\"}}");
  return 0;
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One registered wrapper: where it stands in its library, and what the device does with it.

    image: the container's bytes as the process handed them over; prelinked: those of a device link's parts.
    """

    number: int
    library: Path
    address: int
    version: int
    outcome: str
    image: bytes
    prelinked: tuple[bytes, ...]
    kernels: frozenset[str]
    variables: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch: mangled kernel name, outcome in words, CUDA error code."""

    kernel: str
    module: int
    outcome: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process did.

    returned: value of each called function; stubs: generated functions it called; code and errors: how the process
    ended, and what it said then. A library may end the process after a failed launch.
    """

    modules: tuple[Module, ...]
    launches: tuple[Launch, ...]
    returned: tuple[tuple[str, int], ...]
    stubs: frozenset[str]
    code: int
    errors: str


@cache
def workspace() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as the test process."""
    return tempfile.TemporaryDirectory(prefix="fake-gpu-")


@cache
def build(major: int, machine: str = platform.machine()) -> Path:
    """libcudart for CUDA 11, 12 or 13 with the real soname, symbol versions and names."""
    soname, names = SONAMES[major], exports(major)
    folder = Path(tempfile.mkdtemp(prefix=f"cudart-{major}-{machine}-", dir=workspace().name))
    thunks, script = folder / "thunks.c", folder / "version.map"
    thunks.write_text('#include "fakelog.h"\n' + "".join(THUNK.format(name=name) for name in names))
    script.write_text(f"{soname} {{\nglobal:\n" + "".join(f"  {name};\n" for name in names) + "local: *;\n};\n")
    options = ["-shared", "-fPIC", "-fvisibility=hidden", f"-I{HERE}", f"-DFAKE_MAJOR={major}", "-pthread", "-ldl"]
    linker = [f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}"]
    sources = [HERE / "fake_cudart.c", HERE / "selector.c", thunks]
    return compile_c(folder / soname, sources, machine=machine, options=[*options, *linker])


@cache
def runner(machine: str = platform.machine()) -> Path:
    """The program that loads a library and calls its functions (runner.c)."""
    folder = tempfile.mkdtemp(dir=workspace().name)
    return compile_c(Path(folder, "runner"), [HERE / "runner.c"], machine=machine, options=["-ldl", "-rdynamic"])


def emulator(machine: str) -> list[str] | None:
    """What stands before a program of this machine; None when it cannot be run here."""
    if machine == platform.machine():
        return []
    qemu = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if qemu is None or machine != "aarch64" or not (SYSROOT / "lib/ld-linux-aarch64.so.1").exists():
        return None
    return [qemu, "-L", str(SYSROOT)]


def run(
    library: Path,
    calls: Sequence[str] = (),
    *,
    major: int,
    machine: str = platform.machine(),
    folders: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Run:
    """Loads `library` on the fake runtime in a child process and calls `calls` (runner.c says how they are written).

    folders: where other needed libraries are. A library without a NEEDED entry for the runtime gets it preloaded.
    Raises RuntimeError with the child's words when the library does not load, or the child dies of a signal.
    """
    before = emulator(machine)
    if before is None:
        raise RuntimeError(f"no emulator for {machine}")
    cudart = build(major, machine)
    with tempfile.TemporaryDirectory(dir=workspace().name) as folder:
        log, images = Path(folder, "log"), Path(folder, "images")
        images.mkdir()
        log.touch()
        settings = {
            "SHIM_FAKE_GPU_LOG": str(log),
            "SHIM_FAKE_GPU_IMAGES": str(images),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, [cudart.parent, *folders])),
        }
        if machine == platform.machine():
            settings["LD_PRELOAD"] = str(cudart)
        command = [*before, str(runner(machine)), str(library), *calls]
        done = subprocess.run(
            command,
            env={**os.environ, **settings, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode not in (0, 1) or not log.stat().st_size:
            raise RuntimeError(f"{library.name} on the fake runtime ended with {done.returncode}: {done.stderr}")
        lines = (line.split() for line in done.stdout.splitlines())
        returned = tuple((name, int(value)) for name, value in lines)
        modules, launches, stubs = _read([json.loads(line) for line in log.read_text().splitlines()], images)
        return Run(
            modules=modules,
            launches=launches,
            returned=returned,
            stubs=stubs,
            code=done.returncode,
            errors=done.stderr,
        )


def _read(
    events: Sequence[dict[str, Any]], images: Path
) -> tuple[tuple[Module, ...], tuple[Launch, ...], frozenset[str]]:
    def of(kind: str, module: int | None = None) -> list[dict[str, Any]]:
        return [e for e in events if e["event"] == kind and (module is None or e["module"] == module)]

    ended = {event["module"] for event in of("end")}
    modules = tuple(
        Module(
            number=event["module"],
            library=Path(event["library"]),
            address=event["address"],
            version=event["version"],
            outcome=event["outcome"],
            image=(images / f"{event['module']}.fatbin").read_bytes(),
            prelinked=tuple(
                (images / f"{event['module']}.{part}.fatbin").read_bytes() for part in range(event["prelinked"])
            ),
            kernels=frozenset(e["name"] for e in of("kernel", event["module"])),
            variables={e["name"]: e["size"] for e in of("variable", event["module"])},
        )
        for event in of("fatbin")
    )
    if unfinished := {module.number for module in modules} - ended:
        raise RuntimeError(f"registration without end: {sorted(unfinished)}")
    launches = tuple(Launch(**{key: e[key] for key in ("kernel", "module", "outcome", "code")}) for e in of("launch"))
    return modules, launches, frozenset(event["name"] for event in of("call"))
