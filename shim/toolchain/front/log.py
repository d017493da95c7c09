"""What the stand-in wrote down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim.errors import InputError

_LONGEST = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class NvccCall:
    """One call of nvcc, or in a recording of a host compiler.

    Attributes:
        tool: `nvcc`, or `cc` / `c++` of a recording.
        kind: `compile`, `link`, `device-link`, `archive`, `ptx`, `cubin`, `fatbin`, `preprocess`, `query` ...
        argv: words after the program's name, as the build gave them.
        argv_after: words as the real nvcc got them (or would have got: `recorded`).
        environ_after: flags variables that were set anew for the real nvcc.
        archs_before: code asked for: "sm_80", "compute_80", "native" ...; empty = nvcc's default.
        archs_after: code asked for after the rewrite.
        dropped: of those before, what this nvcc does not know.
        recorded: nothing was compiled.
        note: why nothing was added, or what was taken for what; "" for nothing to say.
    """

    tool: str
    kind: str
    argv: tuple[str, ...]
    argv_after: tuple[str, ...]
    environ_after: Mapping[str, str]
    cwd: str
    output: str | None
    archs_before: tuple[str, ...]
    archs_after: tuple[str, ...]
    dropped: tuple[str, ...]
    changed: bool
    recorded: bool
    note: str

    @property
    def compiles(self) -> bool:
        """Whether device code is made from source."""
        return self.kind in ("compile", "ptx", "cubin", "fatbin", "optix-ir", "ltoir", "link") and self.tool == "nvcc"


def read_log(log: Path) -> tuple[NvccCall, ...]:
    """Return the calls, in the order in which they were made; none if nvcc was never called.

    Raises:
        InputError: the file is no such log.
    """
    if not log.exists():
        return ()
    try:
        if log.stat().st_size > _LONGEST:
            raise InputError(f"{log}: larger than any log of nvcc calls", hint="name the file of `shim exec --log`")
        lines = log.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as err:
        raise InputError(f"{log}: not a log of nvcc calls: {err}") from err
    calls = []
    for number, line in enumerate(lines, 1):
        try:
            calls.append(_call(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise InputError(f"{log}: line {number} is not a call of nvcc: {err}") from err
    return tuple(calls)


def _call(line: Mapping[str, Any]) -> NvccCall:
    return NvccCall(
        tool=str(line["tool"]),
        kind=str(line["kind"]),
        argv=tuple(line["argv"]),
        argv_after=tuple(line["argv_after"]),
        environ_after=dict(line["environ_after"]),
        cwd=str(line["cwd"]),
        output=line["output"],
        archs_before=tuple(line["archs_before"]),
        archs_after=tuple(line["archs_after"]),
        dropped=tuple(line["dropped"]),
        changed=bool(line["changed"]),
        recorded=bool(line["recorded"]),
        note=str(line["note"]),
    )
