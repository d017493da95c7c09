"""Fill shim's own store with the machine code that `patch` would make of a package: later it takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from shim.applying.events import Watcher
from shim.applying.machine_code import Toolbox, make_machine_code
from shim.applying.result import Work
from shim.applying.units import CompileEvent, EventKind
from shim.applying.workfile import WorkFile, plan_file
from shim.planning import Wanted
from shim.warming.model import WarmResult
from shim.warming.own_jit import own_jit
from shim.warming.subject import Subject

_NOTHING_TO_COMPILE: Final = frozenset(
    {"nvidia-licensed", "machine-code-only", "unproven-without-ptx", "cubin-file", "ptx-file", "embedded-image"}
)
"""Refusals of `patch` that are about no PTX, or are told otherwise."""


def warm_store(subject: Subject, wanted: Wanted, toolbox: Toolbox, watcher: Watcher) -> WarmResult:
    """Compile the PTX that the targets' driver would have to, into the store of `toolbox`.

    The units are those of `patch` with the same targets: same PTX, same options, same ptxas, hence the same keys.
    NVIDIA's own libraries are left out: `patch` does not change them.

    Raises:
        ToolError: there is PTX, and no ptxas at all that takes any of it.
    """
    texts = sum(code.format == "ptx" for code, _ in subject.files)
    result = WarmResult(label=subject.label, work=Work(), texts=texts, own_jit=own_jit(subject.name))
    files = [
        WorkFile(code=code, path=path, plan=plan_file(code, wanted, allow_nvidia=False))
        for code, path in subject.files
        if code.format != "ptx"
    ]
    licensed = sum(any(one.code == "nvidia-licensed" for one in file.plan.refusals) for file in files)
    if subject.nvidia:
        return replace(result, licensed=sum(bool(file.plan.steps) for file in files) + licensed)
    steps = [file for file in files if file.plan.steps]
    refused = [(file.member, refusal) for file in files for refusal in file.plan.refusals]
    watcher.phase("compile", sum(file.plan.ptx_bytes for file in steps))
    made = make_machine_code(steps, toolbox, _progress(watcher)) if steps else None
    if made is not None:
        refused += [(member, refusal) for (member, _, _), refusal in made.refusals.items()]
    return replace(
        result,
        work=Work() if made is None else made.work,
        refusals=tuple((m, r) for m, r in refused if r.code not in _NOTHING_TO_COMPILE),
        licensed=licensed,
    )


def _progress(watcher: Watcher) -> Callable[[CompileEvent], None]:
    seen = 0

    def on_event(event: CompileEvent) -> None:
        nonlocal seen
        watcher.done(event.done_size - seen)
        seen = event.done_size
        if event.kind is not EventKind.STARTED:
            watcher.note(f"{event.kind} {event.label} ({event.size} bytes of PTX, {event.seconds:.1f} s) {event.text}")

    return on_event
