"""`cuda13-headers`: headers that CUDA 13 (CCCL 3) no longer has, where the same thing has another name."""

from __future__ import annotations

import re
from typing import Final

from shim.source.headers import MOVED
from shim.source.rules.model import RuleContext

CODE: Final = "cuda13-headers"
_FIRST_TOOLKIT: Final = (13, 0)

_INCLUDE: Final = re.compile(rb"(?P<lead>^[ \t]*#[ \t]*include[ \t]*[<\"])(?P<name>[^>\"\n]+)", re.MULTILINE)
# One template argument is the value type in both; with more, the meaning differs, so those stay and nvcc tells.
_CLASS: Final = re.compile(rb"\bcub::(?P<name>ConstantInputIterator|CountingInputIterator)(?=\s*<[^<>,]+>)")
_CLASSES: Final = {
    b"ConstantInputIterator": b"thrust::constant_iterator",
    b"CountingInputIterator": b"thrust::counting_iterator",
}


def edit(path: str, text: bytes, context: RuleContext) -> bytes:
    """Rewrite `#include` lines, and the two class templates that can be renamed word for word."""
    if context.toolkit < _FIRST_TOOLKIT:
        return text

    def include(match: re.Match[bytes]) -> bytes:
        name = match["name"].decode("utf-8", "replace").strip()
        return match["lead"] + MOVED[name].encode("ascii") if name in MOVED else match[0]

    new = _INCLUDE.sub(include, text)
    return _CLASS.sub(lambda match: _CLASSES[match["name"]], new)
