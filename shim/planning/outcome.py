"""Grades of a file as it will be, once steps are carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shim.arch import Arch, Grade, Target
from shim.devicecode.model import Compression, ContainerGroup, DeviceCode, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.model import ContainerPlan, Make, Promise
from shim.scan.containers import decide
from shim.scan.library import grade_of


def made_image(make: Make) -> GpuImage:
    """A new image as far as it is known before it is made. No record 0x0B: nothing is promised to later devices."""
    return GpuImage(
        kind=ImageKind.SASS,
        raw_kind=2,
        arch=Arch.parse(make.arch),
        offset=0,
        header_size=0,
        payload_offset=0,
        payload_size=0,
        compressed_size=0,
        size=0,
        compression=Compression.NONE,
        version=(1, 8),
        flags=0,
        name="",
        options="",
        compat=b"",
        has_code=None,
    )


def as_it_will_be(code: DeviceCode, steps: Iterable[ContainerPlan]) -> DeviceCode:
    """The file with its groups of containers as they are after the steps. For judging only: sizes mean nothing."""
    by_container = {step.container: step for step in steps}
    return replace(code, groups=tuple(part for group in code.groups for part in _parts(group, by_container)))


def _parts(group: ContainerGroup, steps: dict[int, ContainerPlan]) -> list[ContainerGroup]:
    """The group, apart by what happens to its containers."""
    apart: dict[tuple[tuple[str, ...], tuple[int, ...]], list[int]] = {}
    for index in group.indices:
        step = steps.get(index)
        change = (tuple(make.arch for make in step.makes), step.drops) if step else ((), ())
        apart.setdefault(change, []).append(index)
    return [
        _part(group, indices, steps[indices[0]]) if change != ((), ()) else replace(group, indices=tuple(indices))
        for change, indices in apart.items()
    ]


def _part(group: ContainerGroup, indices: Sequence[int], step: ContainerPlan) -> ContainerGroup:
    kept = [image for at, image in enumerate(group.exemplar.images) if at not in step.drops]
    images = (*map(made_image, step.makes), *kept)
    return ContainerGroup(
        exemplar=replace(group.exemplar, index=indices[0], images=images),
        indices=tuple(indices),
        stored_bytes=tuple(image.stored_size for image in images),
        decoded_bytes=tuple(image.size for image in images),
    )


def promises(code: DeviceCode, targets: Iterable[Target], steps: Sequence[ContainerPlan]) -> tuple[Promise, ...]:
    """Grades of the file now, and once the steps are carried out."""
    after = as_it_will_be(code, steps)
    return tuple(
        Promise(target=target, before=grade_on(code, target), after=grade_on(after, target)) for target in targets
    )


def grade_on(code: DeviceCode, target: Target) -> Grade:
    """Grade of the file as it is."""
    fits: Counter[Fit] = Counter()
    for decision in decide(code, target):
        if decision.counted:
            fits[decision.fit] += decision.count
    return grade_of(fits)
