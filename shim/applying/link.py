"""Relocatable objects to one cubin with nvlink, kept in the same cache as the compiled units."""

from __future__ import annotations

import hashlib

from shim.applying.failure import CompileFailure, FailureKind, classify, is_cubin
from shim.applying.link_outcome import failed, linked, linked_once
from shim.applying.units import LinkedUnit, LinkUnit
from shim.process import run
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
        return linked(unit, unit.tool, cubin, 0.0, cached=True)
    # nvlink takes a file without ELF magic for a host library, and says nothing; a damaged object crashes it.
    for position, item in enumerate(unit.objects):
        if not is_cubin(item):
            return failed(unit, FailureKind.INVALID_INPUT, f"object {position} of {len(unit.objects)} is no cubin")
    return linked_once(unit, store, key, lambda: _nvlink(unit, seconds))


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
        return failed(unit, kind, text, done.cpu_seconds)
    if not is_cubin(cubin):
        text = f"{done.program} ended well but wrote {len(cubin)} bytes that are no cubin"
        return failed(unit, FailureKind.NO_OUTPUT, text, done.cpu_seconds)
    return linked(unit, unit.tool, cubin, done.cpu_seconds, cached=False, warnings=done.stderr.strip())
