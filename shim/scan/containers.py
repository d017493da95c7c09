"""What the target makes of each container of a library, by the rules of `shim.arch`.

Containers that no rule can tell apart form one `ContainerGroup` and are judged once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shim.arch import CodeForm, Grade, ImageTraits, Target, grade_image, loads, select
from shim.devicecode.model import ContainerGroup, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.scan.loose import loose_groups

_FORMS: Final = {
    ImageKind.SASS: CodeForm.SASS,
    ImageKind.PTX: CodeForm.PTX,
    ImageKind.LTO_IR: CodeForm.LTO_IR,
}

_FIT_OF_GRADE: Final = {
    Grade.NATIVE: Fit.NATIVE,
    Grade.FAMILY: Fit.FAMILY,
    Grade.SAME_MAJOR: Fit.SAME_MAJOR,
    Grade.SAME_MAJOR_UNPROVEN: Fit.UNPROVEN,
    Grade.JIT: Fit.JIT,
    Grade.JIT_TOO_NEW: Fit.JIT_TOO_NEW,
}

_COMPILED: Final = frozenset({Fit.JIT, Fit.JIT_TOO_NEW})
_NEVER_LOADED: Final = frozenset({ContainerRole.STUB, ContainerRole.UNREFERENCED})

LOADS: Final = frozenset(_FIT_OF_GRADE.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How the target treats all containers of one group.

    Attributes:
        chosen: position of the image the driver takes, None when none loads.
        counted: False for containers that nobody registers by themselves: the stub of `nvcc -shared`, and
            relocatable code of a library that has a linked container.
        live: the chosen image is needed on this device.
        linked_at_run_time: the driver has to link relocatable code when the library is loaded.
        loose: the image stands in no container.
    """

    group: ContainerGroup
    fit: Fit
    chosen: int | None
    counted: bool = True
    live: bool = False
    linked_at_run_time: bool = False
    loose: bool = False

    @property
    def images(self) -> tuple[GpuImage, ...]:
        """Images of one container of the group."""
        return self.group.exemplar.images

    @property
    def taken(self) -> GpuImage | None:
        """The chosen image of the group's exemplar."""
        return None if self.chosen is None else self.images[self.chosen]

    @property
    def count(self) -> int:
        """Number of containers in the group."""
        return len(self.group.indices)

    @property
    def role(self) -> ContainerRole:
        """How host code reaches the containers of the group."""
        return self.group.exemplar.role


def traits(image: GpuImage) -> ImageTraits:
    """The facts of an image that the rules judge by."""
    form = _FORMS.get(image.kind, CodeForm.OTHER)
    return ImageTraits(
        form=form,
        arch=image.arch,
        isa=image.version if form is CodeForm.PTX else None,
        fastpath_mask=image.fastpath_mask,
        has_code=image.has_code,
    )


def image_name(image: GpuImage) -> str:
    """ "sm_120f", "compute_80", "lto_90", or the kind where there is no architecture."""
    prefix = {ImageKind.SASS: "sm_", ImageKind.PTX: "compute_", ImageKind.LTO_IR: "lto_"}.get(image.kind)
    return str(image.kind) if prefix is None or image.arch is None else f"{prefix}{image.arch}"


def decide(code: DeviceCode, target: Target) -> tuple[Decision, ...]:
    """Judge every group of containers of one file, and the images that stand in none."""
    registered = _decide_containers(code, target)
    loose = tuple(replace(_decide_alone(group, target), loose=True) for group in loose_groups(code))
    if registered:
        # What uses them cannot be seen: next to containers, bare cubins are leftovers more often than not.
        loose = tuple(replace(decision, fit=Fit.NOT_JUDGED, live=False) for decision in loose)
    return _as_a_set((*registered, *loose))


def _decide_containers(code: DeviceCode, target: Target) -> tuple[Decision, ...]:
    decisions = [_decide_alone(group, target) for group in code.groups]
    if not any(decision.role is ContainerRole.LINKED for decision in decisions):
        return tuple(decisions)
    relocatable = [decision for decision in decisions if decision.role is ContainerRole.PRELINKED]
    linkable = _link_fit(relocatable)
    needs_link = False
    empty = _empty_link(decisions)
    result = []
    for decision in decisions:
        if decision.role is ContainerRole.LINKED and (decision is empty or decision.fit not in LOADS | {Fit.NO_CODE}):
            needs_link = True
            decision = _with_link(decision, relocatable, linkable, target)
        result.append(decision)
    live = needs_link and linkable is not None
    return tuple(_inside_a_link(decision, live=live) for decision in result)


def _as_a_set(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """Images that come one by one form a set from which the library picks by itself.

    cuRAND and cuFFT keep a container for each architecture in their data, thousands of them. An image of such
    a set that does not load says nothing against one that does, and PTX beside machine code that loads is
    there for other devices, or for the library's own linker.
    """
    if not any(decision.fit in LOADS - _COMPILED and _picked_by_library(decision) for decision in decisions):
        if not any(decision.fit in LOADS and _picked_by_library(decision) for decision in decisions):
            return decisions
        verdicts = {Fit.NOTHING: Fit.OTHER_ARCH}
    else:
        verdicts = {Fit.NOTHING: Fit.OTHER_ARCH, Fit.JIT: Fit.NOT_JUDGED, Fit.JIT_TOO_NEW: Fit.NOT_JUDGED}
    return tuple(
        replace(d, fit=verdicts[d.fit], live=False) if d.fit in verdicts and _picked_by_library(d) else d
        for d in decisions
    )


def _picked_by_library(decision: Decision) -> bool:
    alone = len(decision.images) == 1
    return alone and (decision.role is ContainerRole.EMBEDDED or decision.loose)


def _decide_alone(group: ContainerGroup, target: Target) -> Decision:
    container = group.exemplar
    fit, chosen = _alone([traits(image) for image in container.images], target)
    counted = container.role not in _NEVER_LOADED
    return Decision(group=group, fit=fit, chosen=chosen, counted=counted, live=counted and chosen is not None)


def _alone(images: Sequence[ImageTraits], target: Target) -> tuple[Fit, int | None]:
    if all(image.has_code is False for image in images):
        return Fit.NO_CODE, None
    chosen = select(images, target.device)
    if chosen is not None:
        grade = grade_image(images[chosen], target)
        if grade is not None:
            return _FIT_OF_GRADE[grade], chosen
    return _misfit(images, target), None


def _misfit(images: Iterable[ImageTraits], target: Target) -> Fit:
    """Tell "host code would reach it and fail" from "made for other GPUs only" (no image loads)."""
    device = target.device.canonical
    executable = [image for image in images if image.form in (CodeForm.SASS, CodeForm.PTX) and image.arch]
    if not executable:
        return Fit.NOT_JUDGED
    for image in executable:
        if image.arch is None:
            continue
        built = image.arch.capability.canonical
        older_plain = image.arch.feature == "" and built < device
        if built.major == device.major or older_plain:
            return Fit.NOTHING
    return Fit.OTHER_ARCH


def _empty_link(decisions: Sequence[Decision]) -> Decision | None:
    """The linked container without images of a library that embeds PTX only, and leaves the link to the driver.

    Beside another linked container it is what `nvcc -shared` adds to every library, and nothing registers it.
    """
    linked = [decision for decision in decisions if decision.role is ContainerRole.LINKED]
    return linked[0] if len(linked) == 1 and linked[0].count == 1 and not linked[0].images else None


def _link_fit(relocatable: Sequence[Decision]) -> Fit | None:
    """How the driver can link at load time: only when each relocatable container has something that loads."""
    fits = {decision.fit for decision in relocatable} - {Fit.NO_CODE}
    if not fits or not fits <= LOADS:
        return None
    return Fit.JIT_TOO_NEW if Fit.JIT_TOO_NEW in fits else Fit.JIT


def _with_link(linked: Decision, relocatable: Sequence[Decision], linkable: Fit | None, target: Target) -> Decision:
    if linkable is not None:
        return replace(linked, fit=linkable, chosen=None, live=False, linked_at_run_time=True)
    everything = [*linked.images, *(image for decision in relocatable for image in decision.images)]
    fit = _misfit([traits(image) for image in everything], target)
    return replace(linked, fit=fit, chosen=None, live=False)


def _inside_a_link(decision: Decision, *, live: bool) -> Decision:
    if decision.role is not ContainerRole.PRELINKED:
        return decision
    return replace(decision, counted=False, live=live and decision.chosen is not None)


def fit_of(images: Iterable[GpuImage], target: Target) -> Fit:
    """What the target makes of a container with these images, whatever stands beside it in the file."""
    return _alone([traits(image) for image in images], target)[0]


def loadable(image: GpuImage, target: Target) -> bool:
    """Whether the target's driver can use the image at all, ISA version apart."""
    return loads(traits(image), target.device)
