"""selector.c through ctypes: the rules both fakes judge by."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from tests.builders.c_code import compile_c
from tests.oracles.fake_cudart import workspace

HERE = Path(__file__).parent


class Outcome(StrEnum):
    """In the order of `enum shim_outcome`."""

    NOTHING = "nothing"
    PTX = "ptx"
    CUBIN = "cubin"
    UNPROVEN = "unproven"
    DAMAGED = "damaged"


class _Choice(ctypes.Structure):
    _fields_ = (
        ("outcome", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
        ("arch", ctypes.c_uint32),
        ("isa", ctypes.c_uint32),
        ("suffix", ctypes.c_char),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """index: of the entry that wins; arch "121a"; isa of PTX, else (0, 0). DAMAGED: index of the bad entry."""

    outcome: Outcome
    index: int
    arch: str
    isa: tuple[int, int]


@cache
def _library() -> ctypes.CDLL:
    out = Path(workspace().name, "selector.so")
    compile_c(out, [HERE / "selector.c"], machine=platform.machine(), options=["-shared", "-fPIC"])
    lib = ctypes.CDLL(str(out))
    for name in ("shim_select", "shim_select_image"):
        getattr(lib, name).restype = _Choice
    lib.shim_image_size.restype = ctypes.c_size_t
    return lib


def _read(choice: _Choice) -> Selected:
    return Selected(
        outcome=list(Outcome)[choice.outcome],
        index=choice.index,
        arch=f"{choice.arch}{choice.suffix.decode().rstrip(chr(0))}",
        isa=divmod(choice.isa, 100),
    )


def select(container: bytes, device: int) -> Selected:
    """Which entry a device (121) takes."""
    return _read(_library().shim_select(container, ctypes.c_size_t(len(container)), ctypes.c_uint32(device), 0))


def select_image(image: bytes, device: int) -> Selected:
    """The same for what driver API users hand over: a container, a cubin, or PTX text."""
    return _read(_library().shim_select_image(image + b"\0", ctypes.c_uint32(device)))


def image_size(image: bytes) -> int:
    """Bytes the fakes take an image to be long."""
    return int(_library().shim_image_size(image + b"\0"))
