"""What planners of containers share: the PTX to compile, the words for it, and how to refuse."""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Target, select
from shim.devicecode.model import Container, GpuImage, ImageKind
from shim.model import Fit
from shim.planning.model import Refusal
from shim.scan.containers import traits

WHY = {
    Fit.JIT: "only PTX fits: the driver would compile it on first use",
    Fit.JIT_TOO_NEW: "its PTX is newer than the driver reads",
    Fit.UNPROVEN: "its sm_120 code of CUDA 12.8/12.9 is not marked to run on a later device; exact code is certain",
}


def best_ptx(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The PTX the driver would take, were there no machine code."""
    texts = [image for image in images if image.kind is ImageKind.PTX]
    chosen = select([traits(image) for image in texts], target.device)
    return None if chosen is None else texts[chosen]


def refuse(container: Container, code: str, reason: str, advice: str) -> Refusal:
    return Refusal(code=code, container=container.index, offset=container.offset, reason=reason, advice=advice)
