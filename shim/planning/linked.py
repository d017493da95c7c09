"""Relocatable device code: which link makes machine code of the target for a linked container.

A library may hold several device links. Each has a wrapper of version 2 and a container of its own, and which
relocatable (pre-linked) containers went into which is written down nowhere in a stripped file; the start-up code
knows. `LinkMap` is what somebody proved about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shim.arch import Arch, ComputeCapability, Target, ptx_loads
from shim.devicecode.model import Container, ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.choice import WHY, best_ptx, refuse
from shim.planning.model import Act, Make, Refusal, Source
from shim.scan.containers import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMap:
    """Which relocatable containers belong to which linked one.

    Attributes:
        modules: for each linked container with code, its relocatable ones in the order of the link; empty when
            that is not proven.
        why: what proved it, or why it could not be proven.
    """

    modules: Mapping[int, tuple[int, ...]]
    why: str


UNKNOWN = LinkMap(modules={}, why="which relocatable code belongs to which is known only at run time")


def linked_containers(code: DeviceCode) -> tuple[Container, ...]:
    """Results of device links that hold code.

    `nvcc -shared` adds one without kernels to every library it links, even when another one is in it already
    (CMake's CUDA_RESOLVE_DEVICE_SYMBOLS and a last step by nvcc): nothing registers that.
    """
    containers = [
        code.containers[index]
        for group in code.groups
        if group.exemplar.role is ContainerRole.LINKED
        for index in group.indices
    ]
    return tuple(c for c in containers if not c.images or any(i.has_code is not False for i in c.images))


def relocatable_containers(code: DeviceCode) -> tuple[Container, ...]:
    """What device links are made from, in the order of the file."""
    found = [i for g in code.groups if g.exemplar.role is ContainerRole.PRELINKED for i in g.indices]
    return tuple(code.containers[index] for index in sorted(found))


def plan_linked(
    code: DeviceCode, container: Container, decision: Decision, target: Target, links: LinkMap = UNKNOWN
) -> Make | Refusal | None:
    """A device link for the container; None when it runs as it is and there is nothing to make it better from."""
    several = len(linked_containers(code))
    if several > 1 and container.index not in links.modules:
        return refuse(
            container,
            "several-linked-containers",
            f"the library has {several} device-linked containers: {links.why}",
            "where the library can be loaded on this machine, --load finds out; else rebuild it from source",
        )
    modules = (
        [code.containers[index] for index in links.modules[container.index]]
        if several > 1
        else relocatable_containers(code)
    )
    sources = tuple(_source(module, target) for module in modules)
    found = tuple(source for source in sources if source is not None)
    if not found or len(found) != len(sources):
        if decision.fit is Fit.UNPROVEN:
            return None
        return refuse(
            container,
            "relocatable-code-incomplete",
            "some of its relocatable containers hold nothing the target can use, so the link would lack kernels",
            "rebuild it from source for the target",
        )
    made = _made(container, found, decision, target, "; relocatable code is linked again")
    if several > 1 and isinstance(made, Make):
        return Make(act=made.act, sources=made.sources, arch=made.arch, reason=f"{made.reason} ({links.why})")
    return made


def plan_whole_lto(container: Container, decision: Decision, target: Target) -> Make | Refusal | None:
    """For an ordinary container without PTX: machine code from its LTO-IR; None when it has none that fits."""
    image = best_lto(container.images, target.device)
    if image is None:
        return None
    return _made(container, (Source(container=container.index, image=image),), decision, target, "")


def best_lto(images: Sequence[GpuImage], device: ComputeCapability) -> GpuImage | None:
    """The LTO-IR of the highest architecture that may be compiled for the device: the rules of PTX (measured,
    docs/formats.md 7.2)."""
    fitting = [i for i in images if i.kind is ImageKind.LTO_IR and i.arch is not None and ptx_loads(i.arch, device)]
    return max(fitting, key=lambda i: i.arch.capability.canonical if i.arch else device, default=None)


def _source(module: Container, target: Target) -> Source | None:
    """Relocatable machine code of the target, else PTX, as the driver would link it, else LTO-IR.

    A module without kernels counts as well: it may hold functions and variables that others use.
    """
    exact = Arch(target.device.canonical)
    ready = next((i for i in module.images if i.kind is ImageKind.SASS and i.arch == exact), None)
    image = ready or best_ptx(module.images, target) or best_lto(module.images, target.device)
    return None if image is None else Source(container=module.index, image=image)


def _made(
    container: Container, sources: tuple[Source, ...], decision: Decision, target: Target, how: str
) -> Make | Refusal:
    opaque = [source.image for source in sources if source.image.kind is ImageKind.LTO_IR]
    if opaque and not any(image.kind is ImageKind.SASS for image in container.images):
        return refuse(
            container,
            "lto-ir-unchecked",
            "its LTO-IR could be linked, but without machine code of another device beside it nothing tells "
            "which kernels the result must have",
            "rebuild it from source for the target",
        )
    exact = any(s.image.arch is not None and s.image.arch.feature == "a" for s in sources)
    return Make(
        act=Act.LINK_LTO if opaque else Act.LINK,
        sources=sources,
        arch=f"sm_{target.device.canonical.sm}{'a' if exact else ''}",
        reason=WHY.get(decision.fit, WHY[Fit.JIT] if not opaque else "only LTO-IR fits, which no driver loads") + how,
    )
