"""Puts questions to the driver in a child process with a time limit, and gives the answers names."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shim.device.model import Status
from shim.errors import ToolError
from shim.process import ToolTimeoutError, run

_CHILD: Final = Path(__file__).with_name("child.py")

# The loader's own search first: it knows cuda-compat and LD_LIBRARY_PATH. Then where WSL and Jetson keep them.
_FOLDERS: Final = (
    "/usr/lib/wsl/lib",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
)

ATTRIBUTES: Final = {
    "major": 75,
    "minor": 76,
    "sm_count": 16,
    "integrated": 18,
    "pageable": 88,
    "concurrent_managed": 89,
    "host_page_tables": 100,
    "l2": 38,
    "shared_per_sm": 81,
    "shared_per_block": 97,
    "clusters": 120,
    "clock": 13,
}
"""CUdevice_attribute numbers (CUDA Driver API, "CUdevice_attribute")."""

# CUresult of cuInit and cuDeviceGetCount (CUDA Driver API, "CUresult").
_CUDA_STATUS: Final = {
    3: Status.FORKED,
    34: Status.STUB_LIBRARY,
    35: Status.INSUFFICIENT_DRIVER,
    100: Status.NO_DEVICE,
    101: Status.NO_DEVICE,
    803: Status.DRIVER_MISMATCH,
    804: Status.INSUFFICIENT_DRIVER,
}
# nvmlReturn_t (NVML API reference, "nvmlReturn_enum").
_NVML_STATUS: Final = {
    4: Status.NO_PERMISSION,
    9: Status.NO_DRIVER,
    12: Status.NO_DRIVER,
    18: Status.DRIVER_MISMATCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One probe's answer. `data` is the dictionary of `_core.probe_cuda` or `_core.probe_nvml`; empty without one."""

    status: Status
    why: str
    data: Mapping[str, Any]


def candidates(library: str) -> list[str]:
    """Names to try for a driver library, in order."""
    return [library, *(f"{folder}/{library}" for folder in _FOLDERS)]


def ask_cuda(environ: Mapping[str, str], *, seconds: float, here: bool = False) -> Answer:
    """Ask libcuda.

    Args:
        here: call cuInit in this process, which breaks CUDA in children that it forks.
    """
    request = {"probe": "cuda", "candidates": candidates("libcuda.so.1"), "attributes": list(ATTRIBUTES.values())}
    return _judge(_ask(request, environ, seconds, here=here), _CUDA_STATUS)


def ask_nvml(environ: Mapping[str, str], *, seconds: float) -> Answer:
    """Ask NVML."""
    request = {"probe": "nvml", "candidates": candidates("libnvidia-ml.so.1")}
    return _judge(_ask(request, environ, seconds), _NVML_STATUS)


def _ask(
    request: Mapping[str, Any], environ: Mapping[str, str], seconds: float, *, here: bool = False
) -> Answer | Mapping[str, Any]:
    from shim import _core

    if here:
        return _core.probe_cuda(request["candidates"], request["attributes"])
    words = [sys.executable, "-I", "-S", str(_CHILD), str(_core.__file__), json.dumps(request)]
    try:
        done = run(words, env=environ, timeout=seconds)
    except ToolTimeoutError:
        why = f"did not answer within {seconds:g} s"
        return Answer(status=Status.TIMEOUT, why=why, data={})
    except ToolError as error:
        return Answer(status=Status.FAILED, why=error.message, data={})
    try:
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
    except ValueError:
        pass
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    said = done.stderr.strip().splitlines()
    return Answer(status=Status.FAILED, why=f"the probe ended with {ended}{': ' + said[-1] if said else ''}", data={})


def _judge(answer: Answer | Mapping[str, Any], statuses: Mapping[int, Status]) -> Answer:
    if isinstance(answer, Answer):
        return answer
    if answer["step"] == "dlopen":
        return Answer(status=Status.NO_DRIVER, why=str(answer["words"]), data=answer)
    if answer["step"]:
        status = statuses.get(answer["code"], Status.FAILED)
        return Answer(status=status, why=f"{answer['step']}: {answer['words']}", data=answer)
    if not answer["devices"]:
        return Answer(status=Status.NO_DEVICE, why=f"{answer['library']} shows no device", data=answer)
    count = len(answer["devices"])
    return Answer(status=Status.OK, why=f"{answer['library']} shows {count} device{'s' * (count > 1)}", data=answer)
