"""From new images to steps: what is left out of each container, what is compressed, and which are not touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from shim.devicecode.model import Container, ContainerRole, DeviceCode
from shim.planning.model import ContainerPlan, Make
from shim.planning.outcome import made_image
from shim.planning.packing import packs_of, zstd_level
from shim.planning.slim import drops_of
from shim.planning.wanted import Slim, Wanted

SECTION = ".nv_fatbin"
"""Where linkers gather the containers that are registered."""

_ROLES = frozenset({ContainerRole.WHOLE, ContainerRole.LINKED})


def steps_of(
    code: DeviceCode, makes: Mapping[int, Sequence[Make]], takes: Callable[[int], bool], wanted: Wanted
) -> tuple[ContainerPlan, ...]:
    """A step for every container that changes.

    Args:
        makes: new images by container.
        takes: containers that may be changed (`--only`).
    """
    pointers: dict[int, tuple[int, ...]] = {}
    for wrapper in code.wrappers:
        pointers[wrapper.container] = (*pointers.get(wrapper.container, ()), wrapper.offset)
    touched = {*makes, *(index for index in _reducible(code, wanted) if takes(index))}
    steps = []
    for index in sorted(touched):
        container = code.containers[index]
        new = tuple({make.arch: make for make in makes.get(index, ())}.values())
        drops = drops_of(container.images, [made_image(make) for make in new], wanted.targets, wanted.slim)
        packs = packs_of(container.images, drops, wanted)
        if new or drops or packs:
            steps.append(
                ContainerPlan(
                    container=index,
                    offset=container.offset,
                    wrappers=pointers.get(index, ()),
                    makes=new,
                    drops=tuple(sorted(drops)),
                    packs=tuple(sorted(packs)),
                )
            )
    return tuple(steps)


def _reducible(code: DeviceCode, wanted: Wanted) -> Iterator[int]:
    """Containers of which something may be left out or compressed.

    Not: plain data (nothing points at it), relocatable code (what is linked at run time, and for which device, is not
    known here), and what nobody registers.
    """
    if wanted.slim is Slim.OFF and not (wanted.repack_old and zstd_level(wanted)):
        return
    if code.elf_type == "rel" or code.format == "ar":
        return
    for group in code.groups:
        if group.exemplar.role in _ROLES:
            yield from (index for index in group.indices if _in_section(code.containers[index]))
        elif group.exemplar.role is ContainerRole.FILE:
            yield from group.indices


def _in_section(container: Container) -> bool:
    return container.section == SECTION
