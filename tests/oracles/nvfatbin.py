"""libnvfatbin through ctypes: NVIDIA's writer of fatbin containers, whose bytes ours must equal."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

from tests.oracles.nvidia import library

UNCOMPRESSED = ("-compress=false",)
ZSTD_5 = ("-compress-all",)
ZSTD_19 = ("-compress-mode=size",)


@cache
def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(library("libnvfatbin.so")))
    lib.nvFatbinGetErrorString.restype = ctypes.c_char_p
    return lib


def _check(result: int) -> None:
    if result:
        raise RuntimeError(f"libnvfatbin: {_library().nvFatbinGetErrorString(result).decode()}")


class FatbinWriter:
    """One container in the making. `arch` is NVIDIA's spelling without prefix: "121a"."""

    def __init__(self, options: Sequence[str] = UNCOMPRESSED) -> None:
        self._handle = ctypes.c_void_p()
        words = [b"-64", *(option.encode() for option in options)]
        array = (ctypes.c_char_p * len(words))(*words)
        _check(_library().nvFatbinCreate(ctypes.byref(self._handle), array, ctypes.c_size_t(len(words))))

    def add_cubin(self, cubin: bytes, arch: str, name: str = "") -> FatbinWriter:
        _check(
            _library().nvFatbinAddCubin(
                self._handle, cubin, ctypes.c_size_t(len(cubin)), arch.encode(), name.encode() or None
            )
        )
        return self

    def add_ptx(self, text: bytes, arch: str, name: str = "", options: str = "") -> FatbinWriter:
        """`text` ends with its NUL."""
        _check(
            _library().nvFatbinAddPTX(
                self._handle,
                text,
                ctypes.c_size_t(len(text)),
                arch.encode(),
                name.encode() or None,
                options.encode() or None,
            )
        )
        return self

    def finish(self) -> bytes:
        """The container's bytes; the writer is used up."""
        size = ctypes.c_size_t()
        _check(_library().nvFatbinSize(self._handle, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        _check(_library().nvFatbinGet(self._handle, buffer))
        _check(_library().nvFatbinDestroy(ctypes.byref(self._handle)))
        return buffer.raw
