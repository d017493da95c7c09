"""Ways in which CMake code mishandles architectures that are newer than it is."""

from __future__ import annotations

import re
from typing import Final

from shim.source.buildfiles.archs import read_list
from shim.source.buildfiles.cmake_lexer import Argument, Command

SELECT_FLAGS: Final = "cmake-select-arch-flags"
ONE_DIGIT: Final = "cmake-regex-one-digit"
NO_SUFFIX: Final = "cmake-regex-no-suffix"
FERMI: Final = "cmake-fermi-replace"
INTERSECTION: Final = "cmake-arch-intersection"

# `^([0-9]\.[0-9]...` of FindCUDA's select_compute_arch.cmake: 12.1 has two digits before the point.
_ONE_DIGIT: Final = re.compile(r"\^\(?\[0-9\]\\+\.\[0-9\]|\^\(?\[0-9\]\[\.\]\[0-9\]")
# `compute_([0-9]+a?)`: the suffix f, or both, are lost (vllm-project/vllm#37725).
_NO_SUFFIX: Final = re.compile(r"(?:compute|sm)_[\\(]*\[0-9\]\+(?P<suffix>a\?|\[[a-z-]+\])?")


def quirk_of(command: Command) -> tuple[str, Argument, str] | None:
    """(form, argument it is about, detail); None for an ordinary command."""
    words = command.words
    if command.name == "cuda_select_nvcc_arch_flags" and command.arguments:
        return SELECT_FLAGS, command.arguments[-1], ";".join(words[1:])
    if command.name == "cuda_archs_loose_intersection" and len(words) > 2:
        named = read_list(words[1])
        return (INTERSECTION, command.arguments[1], words[1]) if named else None
    if command.name == "string" and words[:1] == ("REPLACE",) and len(words) > 2 and words[1] == "2.1":
        return FERMI, command.arguments[1], ""
    if command.name in ("string", "if", "elseif"):
        for argument in command.arguments:
            if _ONE_DIGIT.search(argument.text):
                return ONE_DIGIT, argument, ""
            match = _NO_SUFFIX.search(argument.text) if command.name == "string" else None
            if match and not re.search(r"[af].*[af]|a-z", match["suffix"] or ""):
                return NO_SUFFIX, argument, ""
    return None
