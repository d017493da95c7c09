"""Conditions of CMake's `if()`, judged for one machine: Linux, CUDA 13, no ROCm. Three-valued, as in `conditions`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from shim.source.buildfiles.conditions import CUDA, TORCH

_VERSION: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "VERSION_LESS": operator.lt,
    "VERSION_LESS_EQUAL": operator.le,
    "VERSION_GREATER": operator.gt,
    "VERSION_GREATER_EQUAL": operator.ge,
    "VERSION_EQUAL": operator.eq,
}
_BINARY: Final = frozenset({*_VERSION, "STREQUAL", "MATCHES", "EQUAL", "IN_LIST", "LESS", "GREATER", "LESS_EQUAL",
                            "GREATER_EQUAL", "STRLESS", "STRGREATER", "PATH_EQUAL", "IS_NEWER_THAN"})  # fmt: skip
_UNARY: Final = frozenset({"DEFINED", "TARGET", "EXISTS", "COMMAND", "POLICY", "TEST", "IS_DIRECTORY", "IS_ABSOLUTE"})
_CONSTANTS: Final = {"TRUE": True, "ON": True, "YES": True, "1": True, "UNIX": True, "LINUX": True, "FALSE": False,
                     "OFF": False, "NO": False, "0": False}  # fmt: skip
_NOT_OURS: Final = re.compile(r"(^|_)(WIN32|MSVC|APPLE|HIP|ROCM|MUSA|SYCL|WINDOWS|ANDROID|IOS|MINGW|CYGWIN)($|_)")


class _Unreadable(Exception):
    pass


def cmake_truth(words: Sequence[str]) -> bool | None:
    """Outcome of the arguments of `if()`; None when it is open, or not understood."""
    try:
        value, rest = _either(list(words))
    except (_Unreadable, RecursionError):
        return None
    return None if rest else value


def _either(words: list[str]) -> tuple[bool | None, list[str]]:
    value, rest = _both(words)
    while rest and rest[0] == "OR":
        other, rest = _both(rest[1:])
        value = True if True in (value, other) else None if None in (value, other) else False
    return value, rest


def _both(words: list[str]) -> tuple[bool | None, list[str]]:
    value, rest = _one(words)
    while rest and rest[0] == "AND":
        other, rest = _one(rest[1:])
        value = False if False in (value, other) else None if None in (value, other) else True
    return value, rest


def _one(words: list[str]) -> tuple[bool | None, list[str]]:
    if not words or len(words) > 400:
        raise _Unreadable
    first, rest = words[0], words[1:]
    if first == "NOT":
        value, rest = _one(rest)
        return (None if value is None else not value), rest
    if first == "(":
        value, rest = _either(rest)
        if not rest or rest[0] != ")":
            raise _Unreadable
        return value, rest[1:]
    if first in _UNARY:
        return None, rest[1:]
    if rest and rest[0] in _BINARY:
        if len(rest) < 2:
            raise _Unreadable
        return _compare(first, rest[0], rest[1]), rest[2:]
    return _name(first), rest


def _name(text: str) -> bool | None:
    name = text.removeprefix("${").removesuffix("}")
    if name.upper() in _CONSTANTS:
        return _CONSTANTS[name.upper()]
    return False if _NOT_OURS.search(name.upper()) else None


def _compare(left: str, how: str, right: str) -> bool | None:
    upper = left.upper()
    if how not in _VERSION or "VERSION" not in upper:
        return None
    known = CUDA if re.search(r"CUDA|NVCC", upper) else TORCH if "TORCH" in upper else None
    version = re.match(r"\d+(\.\d+)*", right)
    if known is None or version is None:
        return None
    wanted = tuple(int(part) for part in version[0].split(".")[:2])
    return _VERSION[how]((*known, 0)[:2], (*wanted, 0)[:2])
