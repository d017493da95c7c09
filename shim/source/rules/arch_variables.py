"""`arch-variables`: variables of the project's own that choose architectures, such as FLASH_ATTN_CUDA_ARCHS.

The form is read from the source: `80;90` takes 121, `8.0;9.0` takes 12.1. Where the source only has branches for
certain names (flash-attn 2.8 knows "120" and no "121"), the nearest name of the same major is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shim.source.rules.env_reads import EnvRead, first_of_each
from shim.source.rules.files import build_files, read_small
from shim.source.rules.model import BuildSetting, RuleContext
from shim.source.tree import SourceTree

CODE: Final = "arch-variables"

# Set anyway, or read by programs rather than by the project.
_GENERAL: Final = frozenset({"TORCH_CUDA_ARCH_LIST", "CUDAARCHS", "CMAKE_CUDA_ARCHITECTURES"})
_NAME: Final = re.compile(
    r"(?:\w+_)?CUDA_ARCH(?:S|_LIST|ITECTURES?|ES)?|(?:\w+_)?(?:CUDA_)?COMPUTE_CAPABILIT(?:Y|IES)|(?:\w+_)?SM_ARCHS?"
)
_NUMBER: Final = re.compile(r"\d+(\.\d)?")
_CACHED: Final = re.compile(rb"(?i)\b(?:set\s*\(\s*(?P<set>\w+)\s[^()]*\bCACHE\b|option\s*\(\s*(?P<option>\w+))")


def settings(tree: SourceTree, reads: tuple[EnvRead, ...], context: RuleContext) -> Iterator[BuildSetting]:
    """One setting a variable; and CMAKE_ARGS for cache variables of CMake files that have such a name."""
    for name, read in first_of_each(reads).items():
        if name in _GENERAL or _NAME.fullmatch(name) is None:
            continue
        value = _value(read, read_small(tree, read.path).decode("utf-8", "replace"), context)
        yield BuildSetting(name=name, value=value, origin=CODE, why=f"{read.path} takes its architectures from it")
    cached = sorted(_cached(tree))
    if cached:
        values = " ".join(f"-D{name}={context.arch}-real" for name in cached)
        yield BuildSetting(name="CMAKE_ARGS", value=values, origin=CODE, why="CMake files take architectures from it")


def _value(read: EnvRead, source: str, context: RuleContext) -> str:
    if _is_dotted(read, source):
        return context.torch_list
    number = str(context.arch)
    literals = set(re.findall(r"[\"'](\d{2,3}[af]?)[\"']", source))
    if number not in literals and re.search(r"[\"']\d+[af]?[\"']\s+in\s+\w", source):
        same_major = [one for one in literals if one.isdigit() and int(one) // 10 == context.arch.capability.major]
        lower = [one for one in same_major if int(one) <= context.arch.capability.sm]
        return max(lower, key=int, default=number)
    return number


def _is_dotted(read: EnvRead, source: str) -> bool:
    known = _NUMBER.search(read.default or "")
    if known is not None:
        return known[1] is not None
    return re.search(r"float\(\s*\w*arch", source) is not None or "TORCH" in read.name


def _cached(tree: SourceTree) -> Iterator[str]:
    for path in build_files(tree):
        if path.endswith((".txt", ".cmake")):
            for match in _CACHED.finditer(read_small(tree, path)):
                name = (match["set"] or match["option"]).decode("ascii", "replace")
                if name not in _GENERAL and _NAME.fullmatch(name):
                    yield name
