"""Plan one library: which containers get machine code of the target, from what, and which cannot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from shim.arch import Arch, ComputeCapability, Target, select
from shim.devicecode.model import Container, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.model import Act, LibraryPlan, Make, Refusal, Source
from shim.planning.outcome import promises
from shim.planning.sizes import expected_layout, reduction_of
from shim.planning.steps import steps_of
from shim.planning.wanted import Wanted
from shim.scan.containers import Decision, decide, image_name, traits

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
                outcome = _plan_container(code, code.containers[index], decision, target, wanted)
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
    )


def _plan_container(
    code: DeviceCode,
    container: Container,
    decision: Decision,
    target: Target,
    wanted: Wanted,
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
        return _plan_linked(code, container, decision, target)
    image = best_ptx(container.images, target)
    if image is None:
        return _no_ptx(container, decision)
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
            return _no_ptx(container, decision)
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


def _refuse(container: Container, code: str, reason: str, advice: str) -> Refusal:
    return Refusal(code=code, container=container.index, offset=container.offset, reason=reason, advice=advice)
