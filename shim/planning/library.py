"""Plan one library: which containers get machine code of the target, from what, and which cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shim.arch import ComputeCapability, Grade, Target
from shim.devicecode.model import Container, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.choice import WHY as _WHY
from shim.planning.choice import best_ptx
from shim.planning.choice import refuse as _refuse
from shim.planning.layout import LayoutChoice, choose_layout
from shim.planning.linked import UNKNOWN, LinkMap, plan_linked, plan_whole_lto
from shim.planning.model import Act, ContainerPlan, LibraryPlan, Make, Promise, Refusal, Source
from shim.planning.wanted import Wanted
from shim.scan.containers import Decision, decide, image_name
from shim.scan.library import grade_of

SECTION = ".nv_fatbin"
"""Where linkers gather the containers that are registered."""

_WANTS_CODE = {Fit.JIT, Fit.JIT_TOO_NEW, Fit.UNPROVEN, Fit.NOTHING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which containers `--only` leaves in: None for all."""

    containers: Collection[int] | None = None

    def takes(self, index: int) -> bool:
        return self.containers is None or index in self.containers


EVERYTHING = Selection()


def sass_name(image: GpuImage, device: ComputeCapability) -> str:
    """What ptxas is asked for: the plain target, with the suffix `a` where the PTX itself has it.

    ptxas takes compute_121a for sm_121a only, everything else that loads for the plain sm_121 (measured, 13.0-13.5).
    """
    suffix = "a" if image.arch is not None and image.arch.feature == "a" else ""
    return f"sm_{device.canonical.sm}{suffix}"


def plan_library(
    code: DeviceCode, wanted: Wanted, selection: Selection = EVERYTHING, links: LinkMap = UNKNOWN
) -> LibraryPlan:
    """Plan one file.

    Args:
        selection: containers that may be changed; the others are counted as skipped.
        links: what is proven of a library with several device links.
    """
    pointers = _wrappers_by_container(code)
    makes: dict[int, list[Make]] = {}
    refusals: dict[Refusal, None] = {}
    skipped: set[int] = set()
    judged = {target: decide(code, target) for target in wanted.targets}
    for target, decisions in judged.items():
        for decision in decisions:
            if not decision.counted or decision.loose or decision.fit not in _WANTS_CODE:
                continue
            for index in decision.group.indices:
                if not selection.takes(index):
                    skipped.add(index)
                    continue
                outcome = _plan_container(code, code.containers[index], decision, target, wanted, links)
                if isinstance(outcome, Make):
                    makes.setdefault(index, []).append(outcome)
                else:
                    refusals[outcome] = None
    steps = tuple(
        ContainerPlan(
            container=index,
            offset=code.containers[index].offset,
            wrappers=pointers.get(index, ()),
            makes=tuple({make.arch: make for make in made}.values()),
        )
        for index, made in sorted(makes.items())
    )
    return LibraryPlan(
        member=code.member,
        promises=promises(code, wanted.targets, steps),
        steps=steps,
        refusals=tuple(refusals),
        layout=layout_of(code, steps, wanted),
        skipped=len(skipped),
        ptx_bytes=sum(
            s.image.size for step in steps for m in step.makes for s in m.sources if s.image.kind is ImageKind.PTX
        ),
    )


def layout_of(code: DeviceCode, steps: Sequence[ContainerPlan], wanted: Wanted) -> LayoutChoice:
    """The layout as far as it can be told from the sizes of what there is."""
    changed = {step.container for step in steps}
    section = [container for container in code.containers if container.section == SECTION]
    dead = sum(container.size for container in section if container.index in changed)
    size = sum(container.size for container in section)
    return choose_layout(
        asked=wanted.layout,
        file_size=code.size,
        section_size=size,
        arena_size=size + 1,
        dead_size=dead,
        program=code.elf_type == "exec",
    )


def _wrappers_by_container(code: DeviceCode) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for wrapper in code.wrappers:
        found[wrapper.container] = (*found.get(wrapper.container, ()), wrapper.offset)
    return found


def _plan_container(
    code: DeviceCode,
    container: Container,
    decision: Decision,
    target: Target,
    wanted: Wanted,
    links: LinkMap,
) -> Make | Refusal:
    if container.role is ContainerRole.EMBEDDED:
        return _refuse(
            container,
            "embedded-container",
            "stands in plain data without a wrapper; the library hands it to the driver by itself",
            "nothing to do: such a container can only be changed where it is, and a new image does not fit there",
        )
    if code.elf_type == "rel" or code.format == "ar":
        return _refuse(
            container,
            "unlinked-object",
            "is in an object file or archive that is not linked yet",
            "patch the library or executable it is linked into",
        )
    if container.role is ContainerRole.LINKED:
        return plan_linked(code, container, decision, target, links) or _no_ptx(container, decision)
    image = best_ptx(container.images, target)
    if image is None:
        return plan_whole_lto(container, decision, target) or _no_ptx(container, decision)
    if container.role is ContainerRole.FILE:
        return _refuse(
            container,
            "fatbin-file",
            "is a stand-alone .fatbin file, which this version does not rewrite",
            "make it anew with fatbinary and an image for the target, or patch the library that embeds it",
        )
    return Make(
        act=Act.COMPILE,
        sources=(Source(container=container.index, image=image),),
        arch=sass_name(image, target.device),
        reason=_WHY[decision.fit],
    )


def _no_ptx(container: Container, decision: Decision) -> Refusal:
    names = ", ".join(image_name(image) for image in container.images) or "nothing"
    if decision.fit is Fit.UNPROVEN:
        return _refuse(
            container,
            "unproven-without-ptx",
            f"holds {names} and no PTX that could be compiled; field reports say that the driver runs such code",
            "keep it, and run the self-test on the device; rebuild with CUDA 13 to be certain",
        )
    suffixed = [image_name(i) for i in container.images if i.kind is ImageKind.PTX and i.arch and i.arch.feature]
    if suffixed:
        return _refuse(
            container,
            "arch-specific-ptx",
            f"its PTX is {', '.join(suffixed)}, which ptxas compiles for that architecture (or family) only",
            "rebuild it from source for the target",
        )
    return _refuse(
        container,
        "machine-code-only",
        f"holds {names}: machine code of other devices and no PTX",
        "there is nothing to compile; rebuild it from source for the target, or take a newer release",
    )


def promises(code: DeviceCode, targets: Iterable[Target], steps: Sequence[ContainerPlan]) -> tuple[Promise, ...]:
    """Grades of the file now, and once the steps' new images are in it."""
    return tuple(_promise(code, target, steps) for target in targets)


def grade_on(code: DeviceCode, target: Target) -> Grade:
    """Grade of the file as it is."""
    return grade_of(_fits(decide(code, target), ()))


def _promise(code: DeviceCode, target: Target, steps: Sequence[ContainerPlan]) -> Promise:
    exact = f"sm_{target.device.canonical.sm}"
    made = {step.container for step in steps if any(make.arch.rstrip("af") == exact for make in step.makes)}
    decisions = decide(code, target)
    return Promise(target=target, before=grade_of(_fits(decisions, ())), after=grade_of(_fits(decisions, made)))


def _fits(decisions: Sequence[Decision], changed: Collection[int]) -> Counter[Fit]:
    """Counted containers by fit, once every changed one holds exact code."""
    fits: Counter[Fit] = Counter()
    for decision in decisions:
        if decision.counted:
            done = sum(index in changed for index in decision.group.indices)
            fits += Counter({Fit.NATIVE: done, decision.fit: decision.count - done})
    return fits
