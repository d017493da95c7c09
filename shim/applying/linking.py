"""The device link of one container: with nvlink, or with nvJitLink where a source is LTO-IR; then checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.images import ImageFile
from shim.applying.link import link_cubins
from shim.applying.lto import LtoEntry, LtoUnit, link_with_lto
from shim.applying.units import CompiledUnit, LinkedUnit, LinkUnit
from shim.devicecode import Container, CubinInfo, GpuImage, ImageKind, read_cubin, read_ptx
from shim.errors import InputError, ToolError
from shim.planning import Act, Make
from shim.store import ContentStore
from shim.toolchain import Tool, choose_nvlink, choose_ptxas, nvjitlinks
from shim.verifying.kernels import check_cubin

LINKS = frozenset({Act.LINK, Act.LINK_LTO})
_FIRST_NVJITLINK = (12, 9)  # the first that knows sm_121


def object_of(source: ImageFile, image: GpuImage) -> bytes | LtoEntry:
    """An image that goes into the link as it is. Raises InputError."""
    if image.kind is ImageKind.LTO_IR:
        return LtoEntry(raw=source.raw(image.offset, image.stored_size), options=image.options)
    return source.plain(image)


def link_objects(
    make: Make,
    objects: Sequence[bytes | LtoEntry],
    compiled: Sequence[CompiledUnit],
    *,
    label: str,
    store: ContentStore | None,
    ptxas: Path | None,
    offline: bool,
    driver_major: int,
) -> LinkedUnit | CompileFailure:
    """Link what the sources of a make became.

    Args:
        objects: one for each source, in order. compiled: those that ptxas made now.
        ptxas: the one the user named.

    Raises:
        ToolError: there is no nvlink.
    """
    newest = max((unit.tool for unit in compiled), key=lambda tool: tool.version, default=None)
    if make.act is Act.LINK_LTO:
        at_least = newest.version[:2] if newest else _FIRST_NVJITLINK
        tools = nvjitlinks(at_least, offline=offline, driver_major=driver_major)
        unit = LtoUnit(key=label, inputs=objects, target=make.arch, label=label)
        try:
            return link_with_lto(unit, tools, store=store)
        except ToolError as error:  # the other containers do not need it
            return CompileFailure(key=label, label=label, kind=FailureKind.TOOL, text=error.message)
    plain = [item for item in objects if isinstance(item, bytes)]
    maker = newest or choose_ptxas((8, 8), make.arch, explicit=ptxas, offline=offline, driver_major=driver_major)
    nvlink: Tool = choose_nvlink(maker, offline=offline)
    return link_cubins(LinkUnit(key=label, objects=plain, target=make.arch, tool=nvlink, label=label), store=store)


def checked(linked: LinkedUnit, make: Make, container: Container, source: ImageFile) -> LinkedUnit | CompileFailure:
    """The linked code, if it has what the library needs: kernels of the PTX, variables of the code beside it.

    LTO-IR does not tell its kernels, so there the code beside it decides.
    """
    try:
        cubin = read_cubin(linked.cubin)
        lacking = faults(cubin, make, container, source)
    except InputError as error:
        lacking = (f"it cannot be read: {error.message}",)
    if not lacking:
        return linked
    text = f"{linked.tool.name} linked code that is not what the library needs: {'; '.join(lacking)}"
    return CompileFailure(
        key=linked.key, label=linked.key, kind=FailureKind.INCOMPLETE, text=text, seconds=linked.seconds
    )


def faults(cubin: CubinInfo, make: Make, container: Container, source: ImageFile) -> tuple[str, ...]:
    """What is wrong with the result of a link. Raises InputError when an image cannot be read."""
    texts = [read_ptx(source.plain(s.image)) for s in make.sources if s.image.kind is ImageKind.PTX]
    complete = len(texts) == len(make.sources)
    beside = source.sibling(container) or _any_code(container, source)
    check = check_cubin(cubin, texts if complete else [], beside)
    if make.act is not Act.LINK_LTO:
        return check.faults
    return (*check.faults, *(note.replace("the PTX lacks kernels", "it lacks kernels") for note in check.notes))


def _any_code(container: Container, source: ImageFile) -> CubinInfo | None:
    image = next((image for image in container.images if image.kind is ImageKind.SASS), None)
    return None if image is None else read_cubin(source.plain(image))
