"""Load modules through the CUDA driver, one after the other. A program: `shim.device.driver_cache` runs it as a child.

    python load_modules.py DEVICE SECONDS FILE...

One line of JSON for the device, then one for each file. A module that takes longer than SECONDS ends the program by
SIGALRM, also inside the driver; one that crashes it ends it as well. Uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from pathlib import Path

_LIBRARY = "libcuda.so.1"
_NAME = 256
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


class DriverError(Exception):
    """A call of the driver failed."""


def check(cuda: ctypes.CDLL, code: int, what: str) -> None:
    """Raise DriverError unless a call returned CUDA_SUCCESS."""
    if code != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise DriverError(f"{what}: {(text.value or b'unknown error').decode()} ({code})")


def open_device(number: int) -> tuple[ctypes.CDLL, dict[str, object]]:
    """Make the device's primary context current; returns the driver and what it says of the device."""
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise DriverError(f"no CUDA driver: {error}") from error
    check(cuda, cuda.cuInit(0), "cuInit")
    device, version, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    check(cuda, cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    check(cuda, cuda.cuDeviceGet(ctypes.byref(device), number), f"device {number}")
    name = ctypes.create_string_buffer(_NAME)
    check(cuda, cuda.cuDeviceGetName(name, _NAME, device), "cuDeviceGetName")
    capability = []
    for attribute in (_MAJOR, _MINOR):
        check(cuda, cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
        capability.append(value.value)
    context = ctypes.c_void_p()
    check(cuda, cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    check(cuda, cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    driver = [version.value // 1000, version.value % 1000 // 10]
    return cuda, {"name": name.value.decode(errors="replace"), "capability": capability, "driver": driver}


def load(cuda: ctypes.CDLL, data: bytes) -> str:
    """Load and unload a module; returns what the driver had against it, "" for nothing."""
    module = ctypes.c_void_p()
    image = ctypes.create_string_buffer(data)  # with a NUL at the end, as PTX must have
    try:
        check(cuda, cuda.cuModuleLoadData(ctypes.byref(module), image), "cuModuleLoadData")
        check(cuda, cuda.cuModuleUnload(module), "cuModuleUnload")
    except DriverError as error:
        return str(error)
    return ""


def main(argv: list[str]) -> int:
    number, seconds, files = int(argv[1]), int(argv[2]), argv[3:]
    try:
        cuda, device = open_device(number)
    except DriverError as error:
        print(json.dumps({"error": str(error)}))
        return 9
    print(json.dumps(device), flush=True)
    for path in files:
        data = Path(path).read_bytes()
        signal.alarm(seconds)
        said = load(cuda, data)
        signal.alarm(0)
        print(json.dumps({"error": said}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
