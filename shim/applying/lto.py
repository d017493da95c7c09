"""LTO-IR to machine code with nvJitLink, kept in the same cache as the compiled units.

LTO-IR cannot be read (docs/formats.md 4.3), so it goes into nvJitLink as it came: a container with that one entry.
What was compiled from PTX beside it goes in as relocatable machine code.

Measured with nvcc, nvlink and nvJitLink 13.0: modes of floating point (-ftz, -prec-div, -prec-sqrt, -fmad) are in the
IR and need no option; `-maxreg` stands in the entry's options alone, and has to be given. Then nvJitLink makes the
same machine code as `nvlink -dlto`, byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from shim import _core
from shim.applying.failure import CompileFailure, FailureKind, classify, is_cubin
from shim.applying.link_outcome import failed, linked, linked_once
from shim.applying.units import LinkedUnit
from shim.store import ContentStore, make_key
from shim.toolchain import Tool, link_lto, tool_digest

_SCHEMA = "nvjitlink-1"
_LIMIT = re.compile(r"(?:^| )-maxreg ([0-9]{1,3})(?= |$)")
LINK_SECONDS = 7200.0
LINK_MEMORY = 16 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LtoEntry:
    """One entry of a fatbin container, header and payload, that holds LTO-IR.

    options: of the front end, as the entry states them.
    """

    raw: bytes = field(repr=False)
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LtoUnit:
    """What to link.

    Attributes:
        inputs: entries with LTO-IR, and relocatable cubins, in the order of the library.
        target: `sm_121` or `sm_121a`. label: for messages.
    """

    key: str
    inputs: Sequence[LtoEntry | bytes] = field(repr=False)
    target: str
    label: str


def link_with_lto(
    unit: LtoUnit, tools: Iterator[Tool], *, store: ContentStore | None, seconds: float = LINK_SECONDS
) -> LinkedUnit | CompileFailure:
    """Link with the first nvJitLink that reads the LTO-IR, or take its result from the cache.

    Args:
        tools: candidates in order of preference; the next one is asked for only when one finds the IR too new.

    Raises:
        ToolError: there is no nvJitLink.
    """
    for position, item in enumerate(unit.inputs):
        if isinstance(item, bytes) and not is_cubin(item):
            return failed(unit, FailureKind.INVALID_INPUT, f"object {position} of {len(unit.inputs)} is no cubin")
    outcome: LinkedUnit | CompileFailure = failed(unit, FailureKind.TOOL, "there is no nvJitLink")
    for tool in tools:
        outcome = _cached(unit, tool, store, seconds)
        if isinstance(outcome, LinkedUnit) or outcome.kind is not FailureKind.LTO_TOO_NEW:
            return outcome
    return outcome


def _cached(unit: LtoUnit, tool: Tool, store: ContentStore | None, seconds: float) -> LinkedUnit | CompileFailure:
    hashes = [hashlib.sha256(content).hexdigest() for content in _inputs(unit).values()]
    key = make_key(_SCHEMA, unit.target, tool_digest(tool), *_options(unit), *_inputs(unit), *hashes)
    cubin = store.read(key) if store else None
    if cubin is not None:
        return linked(unit, tool, cubin, 0.0, cached=True)
    return linked_once(unit, store, key, lambda: _link(unit, tool, seconds))


def _inputs(unit: LtoUnit) -> dict[str, bytes]:
    inputs = {}
    for position, item in enumerate(unit.inputs):
        if isinstance(item, LtoEntry):
            inputs[f"{position:05}.fatbin"] = _core.make_container_header(len(item.raw)) + item.raw
        else:
            inputs[f"{position:05}.cubin"] = item
    return inputs


def _options(unit: LtoUnit) -> tuple[str, ...]:
    """The smallest limit of registers that any module asks for: the launch of a kernel may depend on it."""
    said = [item.options for item in unit.inputs if isinstance(item, LtoEntry)]
    limits = [int(number) for text in said for number in _LIMIT.findall(text)]
    return (f"-maxrregcount={min(limits)}",) if limits else ()


def _link(unit: LtoUnit, tool: Tool, seconds: float) -> LinkedUnit | CompileFailure:
    options = _options(unit)
    done, cubin = link_lto(tool, unit.target, _inputs(unit), options=options, seconds=seconds, memory=LINK_MEMORY)
    done = replace(done, argv=(tool.name,))  # Python runs it, but that is not who failed
    if done.returncode != 0:
        kind, text = classify(done)
        return failed(unit, kind, text, done.cpu_seconds)
    if not is_cubin(cubin):
        text = f"{tool.name} ended well but gave {len(cubin)} bytes that are no cubin"
        return failed(unit, FailureKind.NO_OUTPUT, text, done.cpu_seconds)
    return linked(unit, tool, cubin, done.cpu_seconds, cached=False, warnings=done.stderr.strip())
