"""Tells without parsing which files and lines can test the capability. Most files of a package cannot."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

# Every file that tests the capability or lists architectures holds one of the first, or one of the second in a test.
_FILE_WORDS: Final = (
    *(b"capabilit", b"CAPABILIT", b"compute_cap", b"get_device_prop", b"getDeviceProp", b"device_prop", b"GB10"),
    *(b"sm_version", b"smVersion", b"cuda_arch", b"gpu_arch", b"admissible_arch", b"supported_arch", b"get_sm"),
    *(b"SUPPORTED_ARCH", b"CUDA_ARCH", b"_cc", b"cc_", b"device_name", b"sm_arch"),
)
_FILE_TESTS: Final = re.compile(
    rb"(?<![a-zA-Z])(?:archs?|sm|cc|cap|major|sm_number)[\])]* *(?://|==|!=|>=|<=|<|>|in\b|not in\b)"
    rb"|\bArch\.sm_|(?:==|in|,|\() *[\"']sm_?\d\d"
)
_LINE_WORDS: Final = (b"capabilit", b"prop", b"major", b"gb10", b"compute", b"device_name", b"gpu_name")
_LINE_TOKENS: Final = (b"cc", b"sm", b"arch", b"cap")  # words of their own, or parts between underscores and digits


def may_hold_gates(source: bytes) -> bool:
    """False for files that cannot hold a test of the capability."""
    return any(word in source for word in _FILE_WORDS) or _FILE_TESTS.search(source) is not None


def telling_lines(source: bytes) -> list[int]:
    """Numbers (from 1) of the lines that hold a word of the trade, in order."""
    text = source.lower()
    ends = [match.start() for match in re.finditer(rb"\n", text)]
    found: set[int] = set()
    for word in (*_LINE_WORDS, *_LINE_TOKENS):
        for at in _places(text, word):
            number = bisect_right(ends, at - 1) + 1
            found.add(number)
    return sorted(found)


def lines_with(pattern: re.Pattern[bytes], source: bytes) -> list[int]:
    """Numbers of the lines with a match, in order."""
    matches = [match.start() for match in pattern.finditer(source)]
    if not matches:
        return []
    ends = [match.start() for match in re.finditer(rb"\n", source)]
    return sorted({bisect_right(ends, at - 1) + 1 for at in matches})


def _places(text: bytes, word: bytes) -> Iterator[int]:
    """Where the word stands, at most once a line."""
    token = word in _LINE_TOKENS
    at = text.find(word)
    while at >= 0:
        if not token or _stands_alone(text, at, at + len(word)):
            yield at
            at = text.find(b"\n", at)
            if at < 0:
                return
        at = text.find(word, at + 1)


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    if start > 0 and text[start - 1 : start].isalpha():
        return False
    if text[end : end + 1] == b"s":
        end += 1
    return not text[end : end + 1].isalpha() and text[start - 5 : start] != b"cute."
