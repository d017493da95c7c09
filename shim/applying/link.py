"""Relocatable objects to one cubin with nvlink, kept in the same cache as the compiled units."""

from __future__ import annotations

import hashlib

from shim.applying.failure import CompileFailure, FailureKind, classify, is_cubin
from shim.applying.units import LinkedUnit, LinkUnit
from shim.errors import ShimError, ToolError
from shim.process import ToolTimeoutError, run
from shim.store import ContentStore, make_key
from shim.toolchain import MemoryFiles, tool_digest

_SCHEMA = "nvlink-1"
LINK_SECONDS = 3600.0


def link_cubins(
    unit: LinkUnit, *, store: ContentStore | None, seconds: float = LINK_SECONDS
) -> LinkedUnit | CompileFailure:
    """Link the objects, or take the result from the cache. A cache that cannot be written is not used.

    Raises:
        ToolError: nvlink cannot be read.
    """
    hashes = [hashlib.sha256(item).hexdigest() for item in unit.objects]
    key = make_key(_SCHEMA, unit.target, tool_digest(unit.tool), *hashes)
    cubin = store.read(key) if store else None
    if cubin is not None:
        return _linked(unit, cubin, 0.0, cached=True)
    # nvlink takes a file without ELF magic for a host library, and says nothing; a damaged object crashes it.
    for position, item in enumerate(unit.objects):
        if not is_cubin(item):
            return _failed(unit, FailureKind.INVALID_INPUT, f"object {position} of {len(unit.objects)} is no cubin")
    try:
        outcome = _nvlink(unit, seconds)
    except ToolTimeoutError as err:
        return _failed(unit, FailureKind.TIMEOUT, err.message)
    except ToolError as err:
        return _failed(unit, FailureKind.TOOL, err.message)
    if store and isinstance(outcome, LinkedUnit):
        _keep(store, key, outcome.cubin)
    return outcome


def _nvlink(unit: LinkUnit, seconds: float) -> LinkedUnit | CompileFailure:
    with MemoryFiles() as files:
        names = [f"{position:05}.cubin" for position in range(len(unit.objects))]
        for name, content in zip(names, unit.objects, strict=True):
            files.add(name, content)
        files.add("linked.cubin")
        done = run(
            [unit.tool.path, f"-arch={unit.target}", "-o", "linked.cubin", *names],
            cwd=files.folder,
            pass_fds=files.descriptors,
            timeout=seconds,
        )
        cubin = files.read("linked.cubin")
    if done.returncode != 0:
        kind, text = classify(done)
        return _failed(unit, kind, text, done.cpu_seconds)
    if not is_cubin(cubin):
        text = f"{done.program} ended well but wrote {len(cubin)} bytes that are no cubin"
        return _failed(unit, FailureKind.NO_OUTPUT, text, done.cpu_seconds)
    return _linked(unit, cubin, done.cpu_seconds, cached=False, warnings=done.stderr.strip())


def _linked(unit: LinkUnit, cubin: bytes, seconds: float, *, cached: bool, warnings: str = "") -> LinkedUnit:
    return LinkedUnit(
        key=unit.key,
        cubin=cubin,
        sha256=hashlib.sha256(cubin).hexdigest(),
        seconds=seconds,
        cached=cached,
        tool=unit.tool,
        warnings=warnings,
    )


def _failed(unit: LinkUnit, kind: FailureKind, text: str, seconds: float = 0.0) -> CompileFailure:
    return CompileFailure(key=unit.key, label=unit.label, kind=kind, text=text, seconds=seconds)


def _keep(store: ContentStore, key: str, cubin: bytes) -> None:
    try:
        store.put(key, cubin)
    except ShimError:
        return  # linking again costs less than a second
