"""`cxx-standard`: torch's headers need C++20 from 2.12 on, and `-std=c++17` in a build file overrides its default.

`#error C++20 or later compatible compiler is required to use PyTorch`: seen with chamferdist 1.0.3 on torch 2.14.
"""

from __future__ import annotations

import re
from typing import Final

from shim.source.rules.model import RuleContext

CODE: Final = "cxx-standard"
_FIRST_TORCH: Final = (2, 12)

# Vendored trees are used for their headers; what they ask for in CMake files of their own does not matter.
_VENDORED: Final = ("third_party/", "third-party/", "thirdparty/", "3rdparty/", "vendor/", "extern/", "external/")

_FLAG: Final = re.compile(rb"(?P<lead>[-/]std[=:](?:c|gnu)\+\+)(?:11|14|17|1z)\b")
_SPLIT: Final = re.compile(rb"(?P<lead>[\"']--?std[\"']\s*,\s*[\"'](?:c|gnu)\+\+)(?:11|14|17|1z)\b")
_CMAKE: Final = re.compile(rb"(?P<lead>\b(?:CMAKE_)?(?:CXX|CUDA)_STANDARD\s+)(?:11|14|17)\b")
_FEATURE: Final = re.compile(rb"(?P<lead>\b(?:cxx|cuda)_std_)(?:11|14|17)\b")


def edit(path: str, text: bytes, context: RuleContext) -> bytes:
    """Raise C++11, 14 and 17 to 20 in build files of projects that use torch."""
    if context.torch is None or context.torch < _FIRST_TORCH or any(name in path for name in _VENDORED):
        return text
    if b"c++20" in text:
        return text  # the file chooses by torch's version itself, as DeepSpeed's does
    for pattern in (_FLAG, _SPLIT):
        text = pattern.sub(_raise, text)
    if path.endswith((".txt", ".cmake")):
        for pattern in (_CMAKE, _FEATURE):
            text = pattern.sub(rb"\g<lead>20", text)
    return text


def _raise(match: re.Match[bytes]) -> bytes:
    """`flags.remove("-std=c++17")` takes away what somebody else has put there, so it stays."""
    before = match.string[max(0, match.start() - 12) : match.start()]
    return match[0] if before.rstrip(b"\"' ").endswith(b".remove(") else match["lead"] + b"20"
