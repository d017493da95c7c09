"""Facts of a .cubin file that need the whole of it: its `.nv.compat`, whether it has kernels, and the suffix `f`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from shim.devicecode.model import ImageKind, LooseImage
from shim.devicecode.payload import read_cubin
from shim.errors import InputError

KEPT_CUBIN: Final = 8 << 20
"""Bytes up to which a .cubin file is kept while it is read. The largest of flashinfer-cubin's 16,000 has 0.6 MB."""

_FIRST_WITH_COMPAT: Final = 10  # major: older machine code has nothing in it that a rule asks for
_ASKED_FOR: Final = re.compile(rb"-arch[= ]+sm_(\d+)f\b")
"""In the tool's own note (`.note.nv.tkinfo`): the only place where a bare cubin tells `f` (docs/formats.md 5)."""


def with_facts(image: LooseImage, data: bytes) -> LooseImage:
    """The image with what a reader of the whole file learns; as it was where the file cannot be read so.

    Args:
        image: of a file that is one cubin. data: that file.
    """
    if image.kind is not ImageKind.SASS or image.arch is None or image.arch.capability.major < _FIRST_WITH_COMPAT:
        return image
    try:
        cubin = read_cubin(data)
    except InputError:
        return image  # the search took it for a cubin all the same: it is judged with what that saw
    arch = image.arch
    family = _ASKED_FOR.search(data)
    if arch.feature == "" and family is not None and int(family[1]) == cubin.sm:
        arch = replace(arch, feature="f")
    return replace(image, arch=arch, compat=cubin.compat, has_code=bool(cubin.kernels))
