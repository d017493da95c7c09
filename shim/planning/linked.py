"""Relocatable device code: which link makes machine code of the target for a linked container."""

from __future__ import annotations

from collections.abc import Iterator

from shim.arch import Arch, Target
from shim.devicecode.model import Container, ContainerRole, DeviceCode, ImageKind
from shim.model import Fit
from shim.planning.choice import WHY, best_ptx, refuse
from shim.planning.model import Act, Make, Refusal, Source
from shim.scan.containers import Decision


def plan_linked(
    code: DeviceCode,
    container: Container,
    decision: Decision,
    target: Target,
) -> Make | Refusal | None:
    """A device link for the container; None when it runs as it is and there is nothing to make it better from."""
    linked = [group for group in code.groups if group.exemplar.role is ContainerRole.LINKED]
    count = sum(len(group.indices) for group in linked)
    if count > 1:
        return refuse(
            container,
            "several-linked-containers",
            f"the library has {count} device-linked containers, and which relocatable code belongs to which is "
            "known only at run time",
            "rebuild it from source for the target",
        )
    sources = tuple(_link_sources(code, target))
    if any(source is None for source in sources):
        if decision.fit is Fit.UNPROVEN:
            return None
        return refuse(
            container,
            "relocatable-code-incomplete",
            "some of its relocatable containers hold nothing the target can use, so the link would lack kernels",
            "rebuild it from source for the target",
        )
    return Make(
        act=Act.LINK,
        sources=tuple(source for source in sources if source is not None),
        arch=f"sm_{target.device.canonical.sm}",
        reason=WHY.get(decision.fit, WHY[Fit.JIT]) + "; relocatable code is linked again",
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
