"""Down to kernels: what the image that will be chosen lacks, or holds as an empty shell (`scan --kernels`).

Reads and decodes every image. It adds findings and may lower a grade; it never raises one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shim.arch import Target
from shim.devicecode import Container, GpuImage, ImageKind, Kernel, decode, kernels_in
from shim.errors import InputError
from shim.model import Fit, KernelNote
from shim.scan.containers import Decision, image_name
from shim.scan.library import LibraryScan
from shim.scan.sources import Source

OK: Final = "ok"
MISSING: Final = "missing"
OTHER_ARCH: Final = "other-arch-only"
SUSPICIOUS: Final = "suspicious-empty-kernel"
NOTHING: Final = "nothing"

# Empty bodies in wheels known to misbehave are at most 1 KB, with siblings at least 6 times as large; empty
# machine code is 128 to 512 bytes long by architecture. Shells also exist by design (torch has 2,619, made
# for other devices), hence a finding and not a lower grade.
_SHELL_BYTES: Final = 1024
_SHELL_RATIO: Final = 6

_ONE_IMAGE: Final = frozenset({"cubin", "ptx"})  # files that are one image and hold no container

_Found = Mapping[int, Kernel]  # by image position


def note_kernels(library: LibraryScan, source: Source, target: Target) -> tuple[KernelNote, ...]:
    """Read the kernels of every container that the verdict of the library rests on.

    Raises:
        InputError: an image does not decode, or is no cubin or PTX inside.
    """
    decisions, containers = _wanted(library)
    notes: list[KernelNote] = []
    try:
        for container, kernels in _read(containers, source, library.code.member):
            notes.extend(_judge(container, decisions[container.index], kernels, target))
    except InputError as error:
        raise InputError(f"{library.code.member}: {error.message}", hint=error.hint) from error
    return tuple(notes)


def _wanted(library: LibraryScan) -> tuple[dict[int, Decision], list[Container]]:
    """Containers to look into, in the order of the file, and what was decided about each by index."""
    if library.code.format in _ONE_IMAGE:
        loose = {decision.group.exemplar.index: decision for decision in library.decisions}
        return loose, [decision.group.exemplar for decision in library.decisions]
    decisions = {
        index: decision
        for decision in library.decisions
        if not decision.loose and (decision.counted or decision.live)
        for index in decision.group.indices
    }
    containers = [container for container in library.code.containers if container.index in decisions]
    return decisions, sorted(containers, key=lambda container: container.offset)


def _read(
    containers: Sequence[Container], source: Source, member: str
) -> Iterator[tuple[Container, list[tuple[Kernel, ...]]]]:
    """Kernels by image position, container by container, in one pass over the file."""
    uses = Counter(span for container in containers for span in _spans(container).values())
    ranges = sorted(uses)
    pieces = zip(ranges, source.read_ranges(member, ranges), strict=True)
    held: dict[tuple[int, int], bytes] = {}
    for container in containers:
        spans = _spans(container)
        while not all(span in held for span in spans.values()):
            held.update((next(pieces),))
        kernels: list[tuple[Kernel, ...]] = [()] * len(container.images)
        for position, span in spans.items():
            image = container.images[position]
            kernels[position] = kernels_in(image.kind, decode(image, held[span]))
            uses[span] -= 1
            if not uses[span]:
                del held[span]
        yield container, kernels


def _spans(container: Container) -> dict[int, tuple[int, int]]:
    """Where the payloads are, by image position. Images of one kind 0x100 entry share a payload."""
    return {
        position: (image.payload_offset, image.payload_size)
        for position, image in enumerate(container.images)
        if _readable(image)
    }


def _readable(image: GpuImage) -> bool:
    return image.kind in (ImageKind.SASS, ImageKind.PTX)


def _judge(
    container: Container, decision: Decision, kernels: Sequence[tuple[Kernel, ...]], target: Target
) -> Iterator[KernelNote]:
    found: dict[str, dict[int, Kernel]] = defaultdict(dict)
    for position, image_kernels in enumerate(kernels):
        for kernel in image_kernels:
            found[kernel.name][position] = kernel
    for name, by_image in found.items():
        chosen = by_image.get(decision.chosen) if decision.chosen is not None else None
        yield KernelNote(
            name=name,
            container=container.index,
            images=tuple(image_name(container.images[position]) for position in by_image),
            status=_status(container, decision, by_image, target),
            size=None if chosen is None else chosen.size,
            largest=max(kernel.size for kernel in by_image.values()),
        )


def _status(container: Container, decision: Decision, found: _Found, target: Target) -> str:
    if decision.chosen is None:
        return OTHER_ARCH if decision.fit is Fit.OTHER_ARCH else NOTHING
    if decision.chosen not in found:
        reached = any(_host_code_reaches(container.images[position], target) for position in found)
        return MISSING if reached else OTHER_ARCH
    return SUSPICIOUS if _is_shell(container, decision.chosen, found) else OK


def _host_code_reaches(image: GpuImage, target: Target) -> bool:
    """Code of the same major, or plain code of an older one: host code launches it on newer devices too."""
    if image.arch is None:
        return False
    built, device = image.arch.capability.canonical, target.device.canonical
    return built.major == device.major or (image.arch.feature == "" and built < device)


def _is_shell(container: Container, chosen: int, found: _Found) -> bool:
    own = found[chosen]
    machine_code = [
        kernel.size
        for position, kernel in found.items()
        if position != chosen and container.images[position].kind is ImageKind.SASS
    ]
    if not machine_code:
        return False
    if own.instructions is not None:  # PTX: nothing but `ret`
        return own.instructions <= 1 and max(machine_code) > _SHELL_BYTES
    return own.size <= _SHELL_BYTES and max(machine_code) >= _SHELL_RATIO * max(own.size, 1)
