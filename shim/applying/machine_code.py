"""Machine code for the steps of a plan: ptxas for every PTX text, nvlink where the code is relocatable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.applying.budget import Budget
from shim.applying.compile import Outcome, compile_units
from shim.applying.failure import CompileFailure
from shim.applying.generation import Generations
from shim.applying.images import ImageFile
from shim.applying.inject import NewImage
from shim.applying.linking import LINKS, checked, link_objects, object_of
from shim.applying.lto import LtoEntry
from shim.applying.preparing import PtxasChoice, unit_key, units_of
from shim.applying.restamp import RestampRefused
from shim.applying.restamping import restamped_image
from shim.applying.result import Work
from shim.applying.schedule import usable_cores
from shim.applying.shelf import HeldCubin
from shim.applying.units import CompiledUnit, CompileEvent, CompileUnit, LeftOut, LinkedUnit
from shim.applying.workfile import WorkFile
from shim.devicecode import ImageKind
from shim.errors import InputError, ToolError
from shim.planning import Act, ContainerPlan, Make, Refusal
from shim.store import ContentStore
from shim.toolchain import Tool

MakeKey = tuple[str, int, str]  # (member, container, arch)

_ADVICE = "rebuild it from source for the target"
_GO_ON = "run the same command again to go on (with more minutes if none fitted): what was compiled is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """Which programs may be used.

    Attributes:
        ptxas: the one the user named, or None to choose for each PTX ISA version. offline: fetch nothing.
        jobs: programs at once; None = one a core.
        budget: seconds of wall time for compiling; None = as long as it takes.
    """

    store: ContentStore | None
    ptxas: Path | None = None
    offline: bool = False
    jobs: int | None = None
    budget: float | None = None
    driver_major: int = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCode:
    """What came out: an image for each make that worked, a refusal for each that did not."""

    images: Mapping[MakeKey, NewImage]
    refusals: Mapping[MakeKey, Refusal]
    work: Work


def make_machine_code(
    files: Sequence[WorkFile], toolbox: Toolbox, on_event: Callable[[CompileEvent], None] | None = None
) -> MachineCode:
    """Compile and link everything the plans ask for. One failure stops no other step.

    PTX and machine code are read where they are needed and not held as a whole.

    Raises:
        ToolError: no step has a ptxas that takes its PTX.
    """
    started = time.monotonic()
    ptxas = PtxasChoice(explicit=toolbox.ptxas, offline=toolbox.offline, driver_major=toolbox.driver_major)
    units: list[CompileUnit] = []
    without_tool: dict[MakeKey, ToolError] = {}
    refusals: dict[MakeKey, Refusal] = {}
    files = [file for file in files if file.plan.steps]
    for file in files:
        with ImageFile(file.path, file.member) as source:
            for step, make in _makes(file):
                key = (file.member, step.container, make.arch)
                try:
                    units += units_of(file, step, make, source, ptxas, ranked=toolbox.budget is not None)
                except ToolError as error:
                    without_tool[key] = error
                    refusals[key] = _refusal(step, "no-ptxas", error.message)
                except InputError as error:
                    if make.act is not Act.RETARGET:
                        raise
                    refusals[key] = _refusal(step, "retarget-refused", error.message)
    if without_tool and not units and not any(m.act is Act.RESTAMP for file in files for _, m in _makes(file)):
        raise next(iter(without_tool.values()))
    budget = None if toolbox.budget is None else Budget(toolbox.budget)
    outcomes = compile_units(units, store=toolbox.store, jobs=toolbox.jobs, on_event=on_event, budget=budget)
    images: dict[MakeKey, NewImage] = {}
    generations = Generations(toolbox.store, toolbox.ptxas, offline=toolbox.offline)
    for file in files:
        with ImageFile(file.path, file.member) as source:
            for step, make in _makes(file):
                key = (file.member, step.container, make.arch)
                if key in refusals:
                    continue
                try:
                    if make.act is Act.RESTAMP:
                        made: NewImage | CompileFailure | LeftOut = restamped_image(file, make, generations)
                    else:
                        made = _image(file, step, make, source, outcomes, toolbox)
                except RestampRefused as error:
                    refusals[key] = _refusal(step, "restamp-refused", error.message)
                    continue
                match made:
                    case NewImage():
                        images[key] = made
                    case CompileFailure() if make.act is Act.RETARGET:
                        words = f"for {make.arch} ptxas says: {made.text}"
                        refusals[key] = _refusal(step, "retarget-refused", words)
                    case CompileFailure():
                        refusals[key] = _refusal(step, f"ptxas-{made.kind}", made.text)
                    case LeftOut():
                        why = "left out by --budget: the time was used up"
                        refusals[key] = _refusal(step, "left-out-by-budget", why, _GO_ON)
    return MachineCode(images=images, refusals=refusals, work=_work(outcomes, time.monotonic() - started))


def _makes(file: WorkFile) -> list[tuple[ContainerPlan, Make]]:
    return [(step, make) for step in file.plan.steps for make in step.makes]


def _image(
    file: WorkFile,
    step: ContainerPlan,
    make: Make,
    source: ImageFile,
    outcomes: Mapping[str, Outcome],
    toolbox: Toolbox,
) -> NewImage | CompileFailure | LeftOut:
    objects: list[bytes | LtoEntry] = []
    compiled: list[CompiledUnit] = []
    for s in make.sources:
        if s.image.kind is not ImageKind.PTX:
            objects.append(object_of(source, s.image))
            continue
        outcome = outcomes[unit_key(file, s.image.offset, make.arch)]
        if not isinstance(outcome, CompiledUnit):
            return outcome
        compiled.append(outcome)
        if make.act in LINKS:
            objects.append(outcome.cubin)
    tools = {_name(unit.tool) for unit in compiled}
    options = " ".join(dict.fromkeys(" ".join(unit.options) for unit in compiled))
    seconds = sum(unit.seconds for unit in compiled)
    cached = all(unit.cached for unit in compiled)
    if make.act not in LINKS:
        return NewImage(
            code=compiled[0].code,
            tools=tuple(sorted(tools)),
            options=options,
            cpu_seconds=seconds,
            cached=cached,
            remarks=_remarks(file, make, compiled),
            debug="--device-debug" in options.split(),
        )
    linked = link_objects(
        make,
        objects,
        compiled,
        label=f"{file.member} container {step.container}",
        store=toolbox.store,
        ptxas=toolbox.ptxas,
        offline=toolbox.offline,
        driver_major=toolbox.driver_major,
    )
    if isinstance(linked, LinkedUnit):
        linked = checked(linked, make, file.code.containers[step.container], source)
    if isinstance(linked, CompileFailure):
        return linked
    return NewImage(
        code=HeldCubin(data=linked.cubin),
        tools=tuple(sorted(tools | {_name(linked.tool)})),
        options=options,
        cpu_seconds=seconds + linked.seconds,
        cached=cached and linked.cached,
        remarks=_remarks(file, make, compiled),
    )


def _remarks(file: WorkFile, make: Make, compiled: Sequence[CompiledUnit]) -> tuple[str, ...]:
    """What is unusual or unproven about compiled code."""
    remarks = []
    if make.act is Act.RETARGET:
        remarks.append(
            f"PTX of {make.sources[0].image.arch} compiled with .target {make.arch}: NVIDIA's own compiler took it for "
            "that target, not run on a GB10"
        )
    driver = min(promise.target.driver_cuda for promise in file.plan.promises)
    newer = sorted({_name(unit.tool) for unit in compiled if unit.tool.version[:2] > driver})
    if newer:
        remarks.append(
            f"made by {', '.join(newer)} for a driver of CUDA {driver[0]}.{driver[1]}: covered by NVIDIA's "
            "compatibility of minor versions; that such a driver takes all that it writes into .nv.compat is unproven"
        )
    return tuple(remarks)


def _name(tool: Tool) -> str:
    return f"{tool.name} {'.'.join(map(str, tool.version))}"


def _refusal(step: ContainerPlan, code: str, text: str, advice: str = _ADVICE) -> Refusal:
    return Refusal(code=code, container=step.container, offset=step.offset, reason=text, advice=advice)


def _work(outcomes: Mapping[str, Outcome], wall: float) -> Work:
    compiled = [outcome for outcome in outcomes.values() if isinstance(outcome, CompiledUnit)]
    return Work(
        units=len(outcomes),
        compiled=sum(not unit.cached for unit in compiled),
        cached=sum(unit.cached for unit in compiled),
        left_out=sum(isinstance(outcome, LeftOut) for outcome in outcomes.values()),
        cpu_seconds=sum(outcome.seconds for outcome in outcomes.values()),
        wall_seconds=wall,
        cores=usable_cores(),
        tools=tuple(sorted({_name(unit.tool) for unit in compiled})),
    )
