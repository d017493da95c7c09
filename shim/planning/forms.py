"""Device code in other forms than registered containers: what `patch` says of it, since it cannot be changed."""

from __future__ import annotations

from shim.devicecode.model import Container, ContainerRole, DeviceCode, ImageKind
from shim.model import Fit
from shim.planning.model import Refusal
from shim.scan.containers import Decision, image_name
from shim.scan.words import listing, plural

EMBEDDED = frozenset({"embedded-container", "embedded-image"})
"""Codes of refusals that say it already."""

_UNPROVEN = "field reports say that the driver runs such code"


def refuse_embedded(container: Container, decision: Decision) -> Refusal:
    """A container in plain data: found by its magic, reached by code of the library that nobody can see."""
    where = f"stands in plain data ({container.section or 'no section'}) without a wrapper"
    if decision.fit is Fit.UNPROVEN:
        return Refusal(
            code="unproven-without-ptx",
            container=container.index,
            offset=container.offset,
            reason=f"{where} and holds sm_120 code of CUDA 12.8 or 12.9; {_UNPROVEN}",
            advice="keep it, and try it on the device",
        )
    return Refusal(
        code="embedded-container",
        container=container.index,
        offset=container.offset,
        reason=f"{where}; the library hands it to the driver by itself",
        advice="nothing to do: such a container can only be changed where it is, and a new image does not fit there",
    )


def refuse_relocatable_file(container: Container) -> Refusal:
    """A .fatbin of `nvcc -rdc=true -fatbin`: a program links it with others, and picks the images by itself."""
    return Refusal(
        code="relocatable-file",
        container=container.index,
        offset=container.offset,
        reason="its PTX is relocatable: a program links it with other code at run time, and a relocatable cubin cannot "
        "be loaded as it is",
        advice="add an image for the target where it is made: nvcc -rdc=true -fatbin -gencode ...",
    )


def refuse_loose(decision: Decision) -> Refusal:
    """GPU code outside of containers that the target compiles first, or does not load."""
    image = decision.images[0]
    name = image_name(image)
    count = decision.count
    if decision.fit is Fit.UNPROVEN:
        where = "" if decision.role is ContainerRole.FILE else f" in plain data ({image_section(decision)})"
        return _refuse(
            decision,
            "unproven-without-ptx",
            f"{plural(count, 'bare image')} of {name}{where}, built by CUDA 12.8 or 12.9; {_UNPROVEN}",
            "keep it, and try it on the device",
        )
    if decision.role is not ContainerRole.FILE:
        what = f"{name}, {plural(count, 'bare image')} in plain data ({image_section(decision)})"
        return _refuse(decision, "embedded-image", f"{what}: the library picks among them by itself", "nothing to do")
    files = f"{plural(count, 'file')} of {name}"
    if image.kind is ImageKind.PTX:
        return _refuse(
            decision,
            "ptx-file",
            f"{files}: text that a program reads, or hands to the driver, under this name",
            "the driver keeps what it has compiled: `shim warm --device` on the device does it beforehand",
        )
    return _refuse(
        decision,
        "cubin-file",
        f"{files}: machine code of other devices, and no PTX",
        "there is nothing to compile: take a release with files for the target, or let the package compile its sources",
    )


def image_section(decision: Decision) -> str:
    """Where a bare image stands."""
    return decision.group.exemplar.section or "no section"


def _refuse(decision: Decision, code: str, reason: str, advice: str) -> Refusal:
    exemplar = decision.group.exemplar
    return Refusal(code=code, container=None, offset=exemplar.offset, reason=reason, advice=advice)


def embedded_notes(code: DeviceCode) -> tuple[str, ...]:
    """What to say of containers that no wrapper points at, also where the target needs nothing else of them."""
    found = [group.exemplar for group in code.groups if group.exemplar.role is ContainerRole.EMBEDDED]
    if not found:
        return ()
    count = sum(len(group.indices) for group in code.groups if group.exemplar.role is ContainerRole.EMBEDDED)
    sections = listing(dict.fromkeys(one.section or "no section" for one in found))
    return (
        f"{plural(count, 'container')} without a wrapper ({sections}): loaded by the library itself, never changed",
    )
