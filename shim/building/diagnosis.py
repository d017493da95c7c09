"""The first error in a build's output, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shim.building.headers import HEADERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """code: stable kebab-case name. text: the line that says it, shortened. line: from 1. hint: next step or ""."""

    code: str
    text: str
    line: int
    hint: str = ""


def _header_hint(match: re.Match[str]) -> str:
    name = match[1].rpartition("/")[2]
    if name in HEADERS:
        return f"the header comes with {HEADERS[name]}: --with {HEADERS[name]}"
    if name == "Python.h":
        return "install the headers of this Python (python3-dev), or name another with --python"
    if match[1].startswith("cub/") or match[1].startswith("thrust/"):
        return "CUDA 13 dropped the header: build with --toolkit of CUDA 12.9, or write a recipe"
    return "the sdist may be incomplete, or needs a library of the system"


def _module_hint(match: re.Match[str]) -> str:
    return f"add it to the build with --with {match[1].partition('.')[0]}"


_Hint = Callable[[re.Match[str]], str]


def _says(text: str) -> _Hint:
    return lambda match: text


_FIRST: Final[tuple[tuple[str, re.Pattern[str], _Hint], ...]] = (
    ("nvcc-fatal", re.compile(r"nvcc fatal\s*: .*"), _says("shim exec -- COMMAND rewrites what nvcc is told")),
    ("cxx-standard", re.compile(r".*#error.*C\+\+(?:17|20).*"), _says("the build names an older C++ standard")),
    ("missing-header", re.compile(r".*fatal error: (\S+): No such file or directory"), _header_hint),
    ("ptxas", re.compile(r"ptxas (?:fatal|error|.*; (?:error|fatal)).*"), _says("try --strategy sm80")),
    (
        "out-of-memory",
        re.compile(r".*(?:Cannot allocate memory|std::bad_alloc|Killed signal|out of memory).*"),
        _says("fewer compilers at once: --jobs 1"),
    ),
    ("nvcc-error", re.compile(r"\S+\(\d+\): (?:catastrophic )?error\b.*"), _says("")),
    ("cxx-error", re.compile(r"\S+:\d+:\d+: (?:fatal )?error: .*"), _says("")),
    ("link-error", re.compile(r".*(?:ld: cannot find|undefined reference to|collect2: error).*"), _says("")),
    (
        "cython",
        re.compile(r"\S+\.p(?:yx|xd|xi):\d+:\d+: .*"),
        _says("a package it cimports may be missing (--with NAME), or it is for an older Cython (--with 'cython<3')"),
    ),
    ("cmake-error", re.compile(r"CMake Error.*"), _says("")),
    ("missing-module", re.compile(r"ModuleNotFoundError: No module named ['\"]([\w.]+)['\"].*"), _module_hint),
    (
        "write-refused",
        re.compile(r".*(?:Permission denied|Read-only file system).*"),
        _says("a build may write below its work folder only"),
    ),
    ("disk-full", re.compile(r".*No space left on device.*"), _says("free some space; the work folder is kept")),
)
_TRACE: Final = re.compile(r"(?:[A-Za-z_][\w.]*\.)?\w*(?:Error|Exception|Exit|Interrupt)\b(?:: .*)?")
_LONGEST: Final = 400


def diagnose(log: str) -> Diagnosis | None:
    """The first line of a known kind, else the last exception of a traceback, else the last line; None for nothing."""
    last_exception: Diagnosis | None = None
    last: Diagnosis | None = None
    for number, raw in enumerate(log.splitlines(), 1):
        line = raw.strip()[:_LONGEST]
        if not line:
            continue
        for code, pattern, hint in _FIRST:
            match = pattern.fullmatch(line)
            if match is not None:
                return Diagnosis(code=code, text=line, line=number, hint=hint(match))
        last = Diagnosis(code="failed", text=line, line=number)
        if not raw[:1].isspace() and _TRACE.fullmatch(line):
            last_exception = Diagnosis(code="exception", text=line, line=number)
    return last_exception or last
