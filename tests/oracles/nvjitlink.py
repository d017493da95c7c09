"""nvJitLink through ctypes: NVIDIA's selector, asked which image of a container a device would take.

`-arch=sm_121a` stands for a DGX Spark: unlike `sm_121` it also takes 121a images, as the device does (docs/formats.md,
"what loads where"). Version 13.5 or newer; 13.0 is more lenient.
"""

from __future__ import annotations

import ctypes
from enum import StrEnum
from functools import cache

from tests.oracles.nvidia import library

INPUT_FATBIN = 4
SUCCESS = 0


class Choice(StrEnum):
    """What happens to a container on a device."""

    SASS = "sass"
    JIT = "jit"
    REJECT = "reject"


@cache
def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(library("libnvJitLink.so")))
    version = (ctypes.c_uint(), ctypes.c_uint())
    if lib.nvJitLinkVersion(ctypes.byref(version[0]), ctypes.byref(version[1])) != SUCCESS:
        raise RuntimeError("nvJitLinkVersion failed")
    if (version[0].value, version[1].value) < (13, 5):
        raise RuntimeError(f"nvJitLink {version[0].value}.{version[1].value} is too old, 13.5 is needed")
    return lib


def _log(handle: ctypes.c_void_p, what: str) -> str:
    lib, size = _library(), ctypes.c_size_t()
    getattr(lib, f"__nvJitLinkGet{what}LogSize_13_5")(handle, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value + 1)
    getattr(lib, f"__nvJitLinkGet{what}Log_13_5")(handle, buffer)
    return buffer.value.decode(errors="replace")


def link(container: bytes, arch: str) -> tuple[int, str]:
    """Links one container for `arch` ("121a"). Returns the result code of the first failing call and both logs."""
    lib, handle = _library(), ctypes.c_void_p()
    words = [f"-arch=sm_{arch}".encode(), b"-verbose"]
    options = (ctypes.c_char_p * len(words))(*words)
    code = lib.__getattr__("__nvJitLinkCreate_13_5")(ctypes.byref(handle), ctypes.c_uint32(len(words)), options)
    if code != SUCCESS:
        return code, "create"
    try:
        code = lib.__getattr__("__nvJitLinkAddData_13_5")(
            handle, ctypes.c_int(INPUT_FATBIN), container, ctypes.c_size_t(len(container)), b"container"
        )
        if code == SUCCESS:
            code = lib.__getattr__("__nvJitLinkComplete_13_5")(handle)
        return code, _log(handle, "Info") + _log(handle, "Error")
    finally:
        lib.__getattr__("__nvJitLinkDestroy_13_5")(ctypes.byref(handle))


def choose(container: bytes, arch: str) -> Choice:
    """Which kind of image of `container` a device of `arch` takes.

    A damaged container is rejected with the same code as one without a fitting image: run a positive control beside it.
    """
    code, log = link(container, arch)
    if code != SUCCESS:
        return Choice.REJECT
    return Choice.JIT if "Compiling entry function" in log else Choice.SASS
