"""Plan one library: which containers get machine code of the target, from what, and which cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from shim.arch import Arch, ComputeCapability, Grade, Target, cuda_reading_isa, select
from shim.devicecode.model import Container, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.forms import EMBEDDED, embedded_notes, refuse_embedded, refuse_loose, refuse_relocatable_file
from shim.planning.layout import Layout, LayoutChoice, choose_layout
from shim.planning.model import Act, ContainerPlan, LibraryPlan, Make, Promise, Refusal, Source
from shim.planning.restamp import restampable_sass
from shim.planning.retarget import retargetable_ptx
from shim.planning.wanted import Wanted
from shim.scan.containers import Decision, decide, image_name, traits
from shim.scan.library import grade_of

SECTION = ".nv_fatbin"
"""Where linkers gather the containers that are registered."""

_WANTS_CODE = {Fit.JIT, Fit.JIT_TOO_NEW, Fit.UNPROVEN, Fit.NOTHING}
_WHY = {
    Fit.JIT: "only PTX fits: the driver would compile it on first use",
    Fit.JIT_TOO_NEW: "its PTX is newer than the driver reads",
    Fit.UNPROVEN: "its sm_120 code of CUDA 12.8/12.9 is not marked to run on a later device; exact code is certain",
}


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


def best_ptx(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The PTX the driver would take, were there no machine code."""
    texts = [image for image in images if image.kind is ImageKind.PTX]
    chosen = select([traits(image) for image in texts], target.device)
    return None if chosen is None else texts[chosen]


def plan_library(code: DeviceCode, wanted: Wanted, selection: Selection = EVERYTHING) -> LibraryPlan:
    """Plan one file.

    Args:
        selection: containers that may be changed; the others are counted as skipped.
    """
    pointers = _wrappers_by_container(code)
    makes: dict[int, list[Make]] = {}
    refusals: dict[Refusal, None] = {}
    skipped: set[int] = set()
    judged = {target: decide(code, target) for target in wanted.targets}
    for target, decisions in judged.items():
        for decision in decisions:
            if not decision.counted or decision.fit not in _WANTS_CODE:
                continue
            if decision.loose:
                refusals[refuse_loose(decision)] = None
                continue
            for index in decision.group.indices:
                if not selection.takes(index):
                    skipped.add(index)
                    continue
                outcome = _plan_container(code, code.containers[index], decision, target, wanted)
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
        notes=() if any(refusal.code in EMBEDDED for refusal in refusals) else embedded_notes(code),
    )


def layout_of(code: DeviceCode, steps: Sequence[ContainerPlan], wanted: Wanted) -> LayoutChoice:
    """The layout as far as it can be told from the sizes of what there is."""
    if code.format == "fatbin":
        return LayoutChoice(layout=Layout.REPACK, why="a .fatbin file is written anew from front to back")
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
) -> Make | Refusal:
    if container.role is ContainerRole.EMBEDDED:
        return refuse_embedded(container, decision)
    if code.elf_type == "rel" or code.format == "ar":
        return _refuse(
            container,
            "unlinked-object",
            "is in an object file or archive that is not linked yet",
            "patch the library or executable it is linked into",
        )
    if container.role is ContainerRole.LINKED:
        return _plan_linked(code, container, decision, target)
    make = _make(container, decision, target, wanted)
    if make is None:
        return _no_ptx(container, decision, target)
    if container.role is ContainerRole.FILE and any(source.image.relocatable for source in make.sources):
        return refuse_relocatable_file(container)
    if (needs := _other_major(make, target)) is not None:
        return _refuse(
            container,
            "driver-too-old",
            f"its PTX is of CUDA {needs}; what a compiler of CUDA {needs} makes does not load on a driver of CUDA "
            f"{target.driver_cuda[0]}",
            "update the driver, or take a build for its CUDA major",
        )
    return make


def _make(container: Container, decision: Decision, target: Target, wanted: Wanted) -> Make | None:
    """The new image, from the best source there is."""
    image = best_ptx(container.images, target)
    if image is None:
        return _other_source(container, target, wanted)
    return Make(
        act=Act.COMPILE,
        sources=(Source(container=container.index, image=image),),
        arch=sass_name(image, target.device),
        reason=_WHY[decision.fit],
    )


def _other_major(make: Make, target: Target) -> int | None:
    """CUDA major that its PTX needs, when it is newer than the driver's: compatibility ends there."""
    isas = [source.image.version for source in make.sources if source.image.kind is ImageKind.PTX]
    needs = cuda_reading_isa(max(isas)) if isas else None
    return needs[0] if needs is not None and needs[0] > target.driver_cuda[0] else None


def _other_source(container: Container, target: Target, wanted: Wanted) -> Make | None:
    """New code from PTX or machine code of another member of the target's family."""
    arch = f"sm_{target.device.canonical.sm}a"
    text = retargetable_ptx(container.images, target)
    if text is not None:
        return Make(
            act=Act.RETARGET,
            sources=(Source(container=container.index, image=text),),
            arch=arch,
            reason=f"its PTX is for {text.arch} alone; with .target {arch} the same text is compiled",
        )
    code = restampable_sass(container.images, target) if wanted.restamp else None
    if code is None:
        return None
    return Make(
        act=Act.RESTAMP,
        sources=(Source(container=container.index, image=code),),
        arch=arch,
        reason=f"machine code of {code.arch} is marked as {arch}, if the ptxas that made it confirms that both are "
        "equal; experimental, not supported by NVIDIA",
    )


def _plan_linked(
    code: DeviceCode,
    container: Container,
    decision: Decision,
    target: Target,
) -> Make | Refusal:
    linked = [group for group in code.groups if group.exemplar.role is ContainerRole.LINKED]
    count = sum(len(group.indices) for group in linked)
    if count > 1:
        return _refuse(
            container,
            "several-linked-containers",
            f"the library has {count} device-linked containers, and which relocatable code belongs to which is "
            "known only at run time",
            "rebuild it from source for the target",
        )
    sources = tuple(_link_sources(code, target))
    if any(source is None for source in sources):
        if decision.fit is Fit.UNPROVEN:
            return _no_ptx(container, decision, target)
        return _refuse(
            container,
            "relocatable-code-incomplete",
            "some of its relocatable containers hold nothing the target can use, so the link would lack kernels",
            "rebuild it from source for the target",
        )
    return Make(
        act=Act.LINK,
        sources=tuple(source for source in sources if source is not None),
        arch=f"sm_{target.device.canonical.sm}",
        reason=_WHY.get(decision.fit, _WHY[Fit.JIT]) + "; relocatable code is linked again",
    )


def _link_sources(code: DeviceCode, target: Target) -> Iterator[Source | None]:
    exact = Arch(target.device.canonical)
    for group in code.groups:
        if group.exemplar.role is not ContainerRole.PRELINKED:
            continue
        for index in group.indices:
            images = code.containers[index].images
            ready = next((i for i in images if i.kind is ImageKind.SASS and i.arch == exact), None)
            image = ready or best_ptx(images, target)
            # A module without kernels counts as well: it may hold functions and variables that others use.
            yield None if image is None else Source(container=index, image=image)


def _no_ptx(container: Container, decision: Decision, target: Target) -> Refusal:
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
    marked = restampable_sass(container.images, target) if container.role is not ContainerRole.LINKED else None
    if marked is not None:
        return _refuse(
            container,
            "machine-code-only",
            f"holds {names}: machine code of other devices and no PTX",
            f"rebuild it from source for the target, or mark its sm_{marked.arch} code for the target with "
            "--experimental-restamp (not supported by NVIDIA)",
        )
    return _refuse(
        container,
        "machine-code-only",
        f"holds {names}: machine code of other devices and no PTX",
        "there is nothing to compile; rebuild it from source for the target, or take a newer release",
    )


def _refuse(container: Container, code: str, reason: str, advice: str) -> Refusal:
    return Refusal(code=code, container=container.index, offset=container.offset, reason=reason, advice=advice)


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
