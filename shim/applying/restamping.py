"""Restamp the machine code of one container: decode, mark, ask the compiler's release, compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.applying.generation import Generations
from shim.applying.images import ImageFile
from shim.applying.inject import NewImage
from shim.applying.restamp import NEW_NAME, OLD_NAME, RestampRefused, restamp
from shim.applying.workfile import WorkFile
from shim.devicecode import GpuImage, read_cubin
from shim.errors import InputError
from shim.planning import Make

_DEBUG = 0x2  # flag of a fatbin entry


@dataclass(frozen=True, slots=True, kw_only=True)
class RestampedCubin:
    """Machine code marked anew each time it is read, so that a large plan is not held in memory."""

    path: Path
    member: str
    image: GpuImage

    def read(self) -> bytes:
        """Raises InputError, RestampRefused."""
        with ImageFile(self.path, self.member) as file:
            return restamp(file.plain(self.image)).image


def restamped_image(file: WorkFile, make: Make, generations: Generations) -> NewImage:
    """The new image for a RESTAMP make.

    Raises:
        RestampRefused: its fields are not as expected, or its compiler's release does not confirm that they may change.
    """
    (origin,) = make.sources
    try:
        with ImageFile(file.path, file.member) as source:
            old = source.plain(origin.image)
        marked = restamp(old)
        before, after = read_cubin(old), read_cubin(marked.image)
    except InputError as error:
        raise RestampRefused(error.message, hint=error.hint) from error
    same = (before.kernels, before.objects) == (after.kernels, after.objects)
    if not same or f"sm_{after.sm}{after.feature}" != NEW_NAME:
        raise RestampRefused("the marked machine code does not read back as the same kernels for the new architecture")
    confirmed = generations.confirm(marked.generation)
    return NewImage(
        code=RestampedCubin(path=file.path, member=file.member, image=origin.image),
        tools=(),
        options="",
        cpu_seconds=0.0,
        cached=False,
        debug=bool(origin.image.flags & _DEBUG),
        remarks=(
            f"{OLD_NAME} machine code of CUDA {marked.generation[0]}.{marked.generation[1]} marked as {NEW_NAME}: "
            f"not an act that NVIDIA supports, not run on a GB10; {confirmed}",
        ),
    )
