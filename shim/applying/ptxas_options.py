"""The ptxas options a fatbin entry carries, as options that are safe to give to ptxas again.

nvcc stores the options it gave to ptxas beside the PTX, and the driver's compiler follows them, so shim does
too. The text comes from the file and so from a stranger: every option is known here by name, its value is
checked, and what could name a file is refused. Names and values: `ptxas --help` of 12.9.86 to 13.5.37.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from shim.errors import InputError

_LONGEST = 16 << 10  # characters; the longest seen in real libraries has 60

_SHORT = {
    "Ofc": "Ofast-compile",
    "O": "opt-level",
    "annotate": "compiler-annotations",
    "c": "compile-only",
    "disable-optimizer-consts": "disable-optimizer-constants",
    "dlcm": "def-load-cache",
    "dscm": "def-store-cache",
    "e": "entry",
    "ewp": "extensible-whole-program",
    "flcm": "force-load-cache",
    "fscm": "force-store-cache",
    "func-maxrregcount": "device-function-maxrregcount",
    "g": "device-debug",
    "ias": "input-as-string",
    "lineinfo": "generate-line-info",
    "m": "machine",
    "no-bb-merge": "dont-merge-basicblocks",
    "o": "output-file",
    "opt-fp-atomics": "optimize-float-atomics",
    "optf": "options-file",
    "pic": "position-independent-code",
    "regUsageLevel": "register-usage-level",
    "ret-end": "return-at-end",
    "v": "verbose",
    "w": "disable-warnings",
    "warn-double-usage": "warn-on-double-precision-use",
    "warn-lmem-usage": "warn-on-local-memory-usage",
    "warn-spills": "warn-on-spills",
    "Werror": "warning-as-error",
    "arch": "gpu-name",
}
_FLAGS = frozenset(
    {
        "compile-only",
        "compiler-annotations",
        "device-debug",
        "disable-optimizer-constants",
        "disable-warnings",
        "dont-merge-basicblocks",
        "extensible-whole-program",
        "generate-line-info",
        "legacy-bar-warp-wide-behavior",
        "make-errors-visible-at-exit",
        "optimize-float-atomics",
        "override-directive-values",
        "preserve-relocs",
        "return-at-end",
        "sp-bounds-check",
        "suppress-async-bulk-multicast-advisory-warning",
        "suppress-debug-info",
        "suppress-double-demote-warning",
        "suppress-sparse-mma-advisory-info",
        "suppress-stack-size-warning",
        "verbose",
        "warn-on-double-precision-use",
        "warn-on-local-memory-usage",
        "warn-on-spills",
        "warning-as-error",
    }
)
_TRUTH = r"true|false|yes|no"
_REGISTERS = r"archmax|archmin|\d{1,6}"
_VALUES = {
    "Ofast-compile": r"0|min|mid|max",
    "allow-expensive-optimizations": _TRUTH,
    "def-load-cache": r"ca|cg|cs|cv|lu|nc",
    "def-store-cache": r"wb|cg|cs|wt",
    "device-function-maxrregcount": _REGISTERS,
    "device-stack-protector": _TRUTH,
    "fmad": _TRUTH,
    "force-load-cache": r"ca|cg|cs|cv|lu|nc",
    "force-store-cache": r"wb|cg|cs|wt",
    "gpu-name": r"\w{1,32}",
    "machine": r"64",
    "maxntid": r"\d{1,4}(,\d{1,4}){0,2}",
    "maxrregcount": _REGISTERS,
    "minnctapersm": r"\d{1,4}",
    "opt-level": r"\d",
    "position-independent-code": _TRUTH,
    "register-usage-level": r"\d{1,2}",
    "split-compile": r"\d{1,4}",
}
_DROPPED = frozenset({"gpu-name", "warning-as-error"})  # ours to say; a newer ptxas may warn of more
_NAME_FILES = frozenset({"output-file", "options-file", "input-as-string"})


def replayed(text: str) -> tuple[str, ...]:
    """Return the options of an entry in their long form and order, without the architecture.

    The long form changes no byte of the output: ptxas notes options in a form and order of its own
    (compared for 12.9.86, 13.0.88 and 13.5.37).

    Raises:
        InputError: an option is unknown, has an unexpected value, or names a file.
    """
    if len(text) > _LONGEST:
        raise InputError(f"ptxas options of {len(text)} characters, at most {_LONGEST} are taken")
    try:
        words = shlex.split(text)
    except ValueError as err:
        raise InputError(f"ptxas options cannot be split into words ({err}): {_quoted(text)}") from err
    options = tuple(_options(iter(words)))
    return tuple(long for name, long in options if name not in _DROPPED)


def _options(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield the long name and the long form of each option."""
    for word in words:
        name, value = _name_and_value(word)
        if name in _NAME_FILES:
            raise InputError(f"ptxas option {_quoted(word)} names a file or an input; an entry may not")
        if name in _FLAGS and value is None:
            yield name, f"--{name}"
            continue
        if name not in _VALUES:
            raise InputError(f"ptxas option {_quoted(word)} is not one that shim replays")
        if value is None:
            value = next(words, "")
        if not re.fullmatch(_VALUES[name], value, re.ASCII):
            raise InputError(f"ptxas option {_quoted(word)} has the value {_quoted(value)}, expected {_VALUES[name]}")
        yield name, f"--{name}={value}"


def _name_and_value(word: str) -> tuple[str, str | None]:
    """Take `--name=value`, `-name=value`, `-name` and the attached forms `-O3` and `-m64` apart."""
    found = re.fullmatch(r"--?([A-Za-z][\w-]*)(?:=(.*))?", word, re.ASCII | re.DOTALL)
    if not found:
        raise InputError(f"{_quoted(word)} among the ptxas options is not an option")
    name, value = found.groups()
    if attached := re.fullmatch(r"-([Om])(\d+)", word, re.ASCII):
        name, value = attached.groups()
    return _SHORT.get(name, name), value


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
