"""Plan one library: which containers get machine code of the target, from what, and which cannot."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shim.arch import ComputeCapability, Target, cuda_reading_isa
from shim.devicecode.model import Container, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.choice import WHY as _WHY
from shim.planning.choice import best_ptx
from shim.planning.choice import refuse as _refuse
from shim.planning.forms import EMBEDDED, embedded_notes, refuse_embedded, refuse_loose, refuse_relocatable_file
from shim.planning.linked import UNKNOWN, LinkMap, plan_linked, plan_whole_lto
from shim.planning.model import Act, LibraryPlan, Make, Refusal, Source
from shim.planning.outcome import promises
from shim.planning.restamp import restampable_sass
from shim.planning.retarget import retargetable_ptx
from shim.planning.sizes import expected_layout, reduction_of
from shim.planning.steps import steps_of
from shim.planning.wanted import Wanted
from shim.scan.containers import Decision, decide, image_name

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
                outcome = _plan_container(code, code.containers[index], decision, target, wanted, links)
                if isinstance(outcome, Make):
                    makes.setdefault(index, []).append(outcome)
                else:
                    refusals[outcome] = None
    steps = steps_of(code, makes, selection.takes, wanted)
    return LibraryPlan(
        member=code.member,
        promises=promises(code, wanted.targets, steps),
        steps=steps,
        refusals=tuple(refusals),
        layout=expected_layout(code, steps, wanted),
        reduction=reduction_of(code, steps),
        skipped=len(skipped),
        ptx_bytes=sum(
            s.image.size for step in steps for m in step.makes for s in m.sources if s.image.kind is ImageKind.PTX
        ),
        notes=() if any(refusal.code in EMBEDDED for refusal in refusals) else embedded_notes(code),
    )


def _plan_container(
    code: DeviceCode,
    container: Container,
    decision: Decision,
    target: Target,
    wanted: Wanted,
    links: LinkMap,
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
    if container.role is ContainerRole.PRELINKED:
        return _refuse(
            container,
            "never-linked",
            "is relocatable code, and the library holds no device link: a program that links it must do that",
            "patch what it is linked into, or rebuild it with a device link",
        )
    if container.role is ContainerRole.LINKED:
        return plan_linked(code, container, decision, target, links) or _no_ptx(container, decision, target)
    make = _make(container, decision, target, wanted)
    if (make is None or make.act is Act.RESTAMP) and container.role is ContainerRole.WHOLE:
        from_lto = plan_whole_lto(container, decision, target)
        if from_lto is not None:
            return from_lto
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
