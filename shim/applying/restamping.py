"""Restamp the machine code of one container: decode, mark, ask the compiler's release, compare."""

from __future__ import annotations

from shim.applying.generation import Generations
from shim.applying.images import ImageFile
from shim.applying.inject import NewImage
from shim.applying.restamp import NEW_NAME, OLD_NAME, RestampRefused, restamp
from shim.devicecode import read_cubin
from shim.errors import InputError
from shim.planning import Make

_DEBUG = 0x2  # flag of a fatbin entry


def restamped_image(make: Make, source: ImageFile, generations: Generations) -> NewImage:
    """The new image for a RESTAMP make.

    Raises:
        RestampRefused: its fields are not as expected, or its compiler's release does not confirm that they may change.
    """
    (origin,) = make.sources
    try:
        old = source.plain(origin.image)
        marked = restamp(old)
        before, after = read_cubin(old), read_cubin(marked.image)
    except InputError as error:
        raise RestampRefused(error.message, hint=error.hint) from error
    if (before.kernels, before.objects) != (
        after.kernels,
        after.objects,
    ) or f"sm_{after.sm}{after.feature}" != NEW_NAME:
        raise RestampRefused("the marked machine code does not read back as the same kernels for the new architecture")
    confirmed = generations.confirm(marked.generation)
    return NewImage(
        cubin=marked.image,
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
