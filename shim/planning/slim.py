"""What `--slim` leaves out of a container: images that no target can ever load (docs/patching.md has the rule)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shim.arch import CodeForm, Target, grade_image, ptx_loads, select
from shim.devicecode.model import GpuImage, ImageKind
from shim.model import Fit
from shim.planning.wanted import Slim
from shim.scan.containers import LOADS, fit_of, loadable, traits
from shim.scan.library import GRADE_OF_FIT


def drops_of(
    images: Sequence[GpuImage], new: Sequence[GpuImage], targets: Sequence[Target], slim: Slim
) -> frozenset[int]:
    """Positions that are left out; none where that would leave nothing, or would change what a target finds.

    Args:
        images: of the container, as they are.
        new: images that will stand before them (`shim.planning.outcome.made_image`).
    """
    if slim is Slim.OFF:
        return frozenset()
    everything = (*new, *images)
    kept = {at for at, image in enumerate(images) if _keeps(image, targets)}
    kept |= _texts(images, everything, targets, slim)
    kept |= {at for at, image in enumerate(images) if image.group is not None and _has_kept(images, image, kept)}
    if not kept and not new:
        return frozenset()
    left = (*new, *(images[at] for at in sorted(kept)))
    if not all(_as_good(everything, left, target) for target in targets):
        return frozenset()
    return frozenset(range(len(images))) - kept


def _keeps(image: GpuImage, targets: Iterable[Target]) -> bool:
    """Whether an image stays by itself; PTX stays or goes as a set (`_texts`)."""
    match image.kind:
        case ImageKind.PTX:
            return False
        case ImageKind.SASS:
            return image.arch is None or any(loadable(image, target) for target in targets)
        case ImageKind.LTO_IR:
            # Linkers take it for its own architecture and, where it is plain, for later ones: the rule of PTX.
            return image.arch is None or any(ptx_loads(image.arch, target.device) for target in targets)
        case _:
            return True


def _texts(
    images: Sequence[GpuImage], everything: Sequence[GpuImage], targets: Iterable[Target], slim: Slim
) -> frozenset[int]:
    """Positions of the PTX that stays: for each target the one its driver takes, and the one it can read."""
    if slim is Slim.SASS_ONLY and all(_has_machine_code(everything, target) for target in targets):
        return frozenset()
    found = set()
    for target in targets:
        readable = [at for at, image in enumerate(images) if image.kind is ImageKind.PTX]
        for positions in (readable, [at for at in readable if images[at].version <= target.max_isa]):
            chosen = select([traits(images[at]) for at in positions], target.device)
            if chosen is not None:
                found.add(positions[chosen])
    return frozenset(found)


def _has_machine_code(images: Iterable[GpuImage], target: Target) -> bool:
    """Whether the target would run without any PTX, for certain: unproven code (CUDA 12.8, 12.9) does not count."""
    codes = [fact for image in images if (fact := traits(image)).form is CodeForm.SASS]
    chosen = select(codes, target.device)
    if chosen is None:
        return False
    grade = grade_image(codes[chosen], target)
    return grade is not None and grade > GRADE_OF_FIT[Fit.UNPROVEN]


def _has_kept(images: Sequence[GpuImage], member: GpuImage, kept: Iterable[int]) -> bool:
    """Whether any image compressed together with this one stays."""
    return any(images[at].group is not None and images[at].offset == member.offset for at in kept)


def _as_good(before: Sequence[GpuImage], after: Sequence[GpuImage], target: Target) -> bool:
    """Whether the target finds the same kind of code as before, or better.

    A container in which it finds nothing must go on saying why: code for older devices beside it means that host code
    would come here, and a report has to show that.
    """
    was, now = fit_of(before, target), fit_of(after, target)
    return was is now or (was in LOADS and now in LOADS and GRADE_OF_FIT[now] >= GRADE_OF_FIT[was])
