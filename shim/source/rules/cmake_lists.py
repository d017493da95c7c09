"""CMake's own lists of architectures, as literals: `CMAKE_CUDA_ARCHITECTURES` and the property `CUDA_ARCHITECTURES`."""

from __future__ import annotations

import re
from typing import Final

from shim.source.rules.model import RuleContext

_SET: Final = re.compile(
    rb"(?P<lead>\bset\s*\(\s*CMAKE_CUDA_ARCHITECTURES\s+|\blist\s*\(\s*APPEND\s+CMAKE_CUDA_ARCHITECTURES\s+)"
    rb"(?P<list>[^()$#]*?)(?P<tail>\s+CACHE\b[^()]*)?(?=\s*\))",
    re.IGNORECASE,
)
_PROPERTY: Final = re.compile(
    rb"(?P<lead>\bCUDA_ARCHITECTURES\s+)(?P<list>\"[\w;-]+\"|[\w;-]+(?:\s+\d{2,3}[af]?(?:-\w+)?)*)(?P<tail>)(?![\w$])"
)
_ITEM: Final = re.compile(rb"\d{2,3}[af]?(?:-real|-virtual)?|native|all|all-major")


def replace_lists(text: bytes, context: RuleContext) -> bytes:
    """Put the requested architectures in place of every literal list; lists made of variables stay."""

    def new(match: re.Match[bytes]) -> bytes:
        items = [item for item in re.split(rb"[;\s]+", match["list"].replace(b'"', b"")) if item]
        line = match.string[match.string.rfind(b"\n", 0, match.start()) + 1 : match.start()]
        if not items or b"#" in line or not all(_ITEM.fullmatch(item) for item in items):
            return match[0]
        return match["lead"] + b'"' + context.cmake_list.encode("ascii") + b'"' + (match["tail"] or b"")

    return _PROPERTY.sub(new, _SET.sub(new, text))
