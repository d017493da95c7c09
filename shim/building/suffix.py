"""Whether sources use instructions that nvcc only takes for `a` and `f` architectures.

ptxas 12.9 and 13.0 refuse these for plain 120 and 121 and take them for 120f, 121f, 120a and 121a: FP4 and FP6
operands, block-scaled mma, `cvt` to e2m1x2, `setmaxnreg`, `tensormap.replace` (tried with one PTX file each).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shim.source.rules.files import cuda_files, read_small
from shim.source.tree import SourceTree

_SIGNS: Final = (
    re.compile(rb"setmaxnreg\.(?:inc|dec)"),
    re.compile(rb"tensormap\.replace"),
    re.compile(rb"kind::(?:f8f6f4|mxf8f6f4|mxf4nvf4|mxf4)"),
    re.compile(rb"\.block_scale\b"),
    re.compile(rb"cvt[.\w]*\.(?:e2m1x2|e2m3x2|e3m2x2|ue8m0x2)\b"),
    re.compile(rb"mma[.\w:]*\.(?:e2m1|e2m3|e3m2)\b"),
)
# CUTLASS builders for 12.x choose block-scaled instructions by type, so their names count as well.
_CUTLASS: Final = re.compile(rb"\b(?:nv_float4_t|mx_float4_t|mx_float8_t|mx_float6_t|OpClassBlockScaledTensorOp)\b")
# A kernel that is there for one other GPU only (wgmma, tcgen05) says nothing about the target's.
_OTHER: Final = re.compile(rb"wgmma\.|tcgen05\.|SM90_TMA|sm90_|Sm90\b|Sm100\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixSign:
    """Where an instruction was found that needs a suffix, and its words."""

    path: str
    line: int
    text: str


def suffix_signs(tree: SourceTree, *, limit: int = 8) -> tuple[SuffixSign, ...]:
    """The first few signs; empty when a plain architecture will do."""
    found = []
    for path in cuda_files(tree):
        text = read_small(tree, path)
        if _OTHER.search(text) is not None:
            continue
        for pattern in (*_SIGNS, _CUTLASS):
            match = pattern.search(text)
            if match is not None:
                line = text.count(b"\n", 0, match.start()) + 1
                found.append(SuffixSign(path=path, line=line, text=match[0].decode("ascii", "replace")[:60]))
                break
        if len(found) >= limit:
            break
    return tuple(found)
