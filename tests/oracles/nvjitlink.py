"""nvJitLink through ctypes: NVIDIA's selector, asked which image of a container a device would take.

`-arch=sm_121a` stands for a DGX Spark: unlike `sm_121` it also takes 121a images, as the device does (docs/formats.md,
"what loads where"). Version 13.5 or newer; 13.0 is more lenient.
"""

from __future__ import annotations

import ctypes
import struct
from enum import StrEnum
from functools import cache

from tests.oracles import ptxas
from tests.oracles.nvfatbin import FatbinWriter
from tests.oracles.nvidia import library

INPUT_FATBIN = 4
SUCCESS = 0
SPARK = "121a"
CONTAINER_HEADER = 16


class Choice(StrEnum):
    """What happens to a container on a device. JIT_FAILS: PTX is taken, and this linker's compiler refuses it."""

    SASS = "sass"
    JIT = "jit"
    JIT_FAILS = "jit-fails"
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
    """Links one container for `arch` ("121a"): the result code of the first failing call, and both logs.

    Raises RuntimeError when the linker does not know `arch`.
    """
    lib, handle = _library(), ctypes.c_void_p()
    words = [f"-arch=sm_{arch}".encode(), b"-verbose"]
    options = (ctypes.c_char_p * len(words))(*words)
    code = lib.__getattr__("__nvJitLinkCreate_13_5")(ctypes.byref(handle), ctypes.c_uint32(len(words)), options)
    if code != SUCCESS:
        raise RuntimeError(f"nvJitLink for sm_{arch}: error {code}")
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

    A container with a damaged entry is rejected with the same code as one without a fitting image: `judge` tells them
    apart. Raises RuntimeError for what is no container at all, and for errors of the linker itself.
    """
    code, log = link(container, arch)
    match code:
        case 0:
            return Choice.JIT if "Compiling entry function" in log else Choice.SASS
        case 3:
            return Choice.REJECT
        case 4:
            return Choice.JIT_FAILS
        case _:
            raise RuntimeError(f"nvJitLink for sm_{arch}: error {code}: {log}")


@cache
def _exact(arch: str) -> bytes:
    """An entry with machine code of exactly this device, as NVIDIA's own writer makes it."""
    number = arch.rstrip("af")
    return FatbinWriter().add_cubin(ptxas.cubin(number, name="control"), number).finish()[CONTAINER_HEADER:]


def with_exact_image(container: bytes, arch: str) -> bytes:
    """The container with one more entry behind its own: machine code of exactly this device."""
    size = struct.pack("<Q", len(container) - CONTAINER_HEADER + len(_exact(arch)))
    return container[:8] + size + container[CONTAINER_HEADER:] + _exact(arch)


def judge(container: bytes, arch: str = SPARK) -> Choice:
    """`choose`, with a positive control beside each rejection.

    The same bytes with one more entry, of exactly the device, must be taken: then the container is sound and the
    rejection is about its images. Raises RuntimeError when they are not.
    """
    choice = choose(container, arch)
    if choice is Choice.REJECT and (control := choose(with_exact_image(container, arch), arch)) is not Choice.SASS:
        raise RuntimeError(f"the container is damaged: with an image for sm_{arch} it gives {control}")
    return choice
