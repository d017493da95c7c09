"""Why a library has its grade, one sentence a fact, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shim.arch import CodeForm, Target, cuda_reading_isa, same_family, sorted_archs
from shim.devicecode.model import ImageKind
from shim.model import Fit
from shim.scan.containers import Decision, image_name, loadable, traits
from shim.scan.words import listing, plural, version_text


def reasons(decisions: Sequence[Decision], target: Target) -> tuple[str, ...]:
    """Sentences for everything but what simply runs; for a library that simply runs, that it does."""
    counted = [decision for decision in decisions if decision.counted]
    total = sum(decision.count for decision in counted if decision.fit is not Fit.NO_CODE)
    by_fit = {fit: [decision for decision in counted if decision.fit is fit] for fit in Fit}
    sentences = [
        _nothing(by_fit[Fit.NOTHING], total, target),
        _too_new(by_fit[Fit.JIT_TOO_NEW], total, target),
        _jit(by_fit[Fit.JIT], decisions, total, target),
        _unproven(by_fit[Fit.UNPROVEN], total, target),
        _runs([*by_fit[Fit.SAME_MAJOR], *by_fit[Fit.FAMILY], *by_fit[Fit.NATIVE]], total),
        _other(by_fit[Fit.OTHER_ARCH], total),
        _not_judged(by_fit[Fit.NOT_JUDGED]),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _share(decisions: Sequence[Decision], total: int) -> str:
    count = sum(decision.count for decision in decisions)
    if count == total:
        return "the one container" if total == 1 else f"all {total:,} containers"
    return f"{count:,} of {total:,} containers"


def _images(decisions: Iterable[Decision]) -> str:
    """Names of all images of the groups: sm_80, sm_90a, compute_80."""
    found = {(image.kind, image.arch) for decision in decisions for image in decision.images if image.arch}
    prefixes = {ImageKind.SASS: "sm_", ImageKind.PTX: "compute_", ImageKind.LTO_IR: "lto_"}
    names = [
        f"{prefix}{arch}"
        for kind, prefix in prefixes.items()
        for arch in sorted_archs(arch for found_kind, arch in found if found_kind is kind and arch)
    ]
    return listing(names) or "no architecture"


def _taken(decisions: Iterable[Decision]) -> str:
    names = {image_name(decision.taken): None for decision in decisions if decision.taken is not None}
    return listing(names)


def _nothing(decisions: Sequence[Decision], total: int, target: Target) -> str:
    if not decisions:
        return ""
    device = target.device
    exact = sorted_archs(
        image.arch
        for decision in decisions
        for image in decision.images
        if image.arch and image.arch.feature == "a" and same_family(image.arch.capability, device)
    )
    why = "".join(f"; sm_{arch} loads on {arch.capability} alone" for arch in exact)
    return f"nothing loads on {device} from {_share(decisions, total)}: {_images(decisions)}{why}"


def _too_new(decisions: Sequence[Decision], total: int, target: Target) -> str:
    isas = [d.taken.version for d in decisions if d.taken is not None and d.taken.kind is ImageKind.PTX]
    if not decisions:
        return ""
    known = cuda_reading_isa(max(isas)) if isas else None
    needs = f", which needs a driver of CUDA {version_text(known)}" if known else ""
    isa = f" of ISA {version_text(max(isas))}{needs}" if isas else ""
    driver, limit = version_text(target.driver_cuda), version_text(target.max_isa)
    share = _share(decisions, total)
    return f"{share} would be compiled from PTX{isa}; the driver of CUDA {driver} reads PTX up to {limit}"


def _jit(decisions: Sequence[Decision], everything: Sequence[Decision], total: int, target: Target) -> str:
    if not decisions:
        return ""
    if all(decision.linked_at_run_time for decision in decisions):
        units = [decision for decision in everything if decision.live and not decision.counted]
        modules = plural(sum(decision.count for decision in units), "module")
        return f"the driver compiles and links {modules} of relocatable code ({_taken(units)}) on first use"
    beaten = sorted_archs(
        image.arch
        for decision in decisions
        for image in decision.images
        if image.arch and traits(image).form is CodeForm.SASS and loadable(image, target)
    )
    sentence = f"the driver compiles PTX ({_taken(decisions)}) of {_share(decisions, total)} on first use"
    if beaten:
        sentence += f", although machine code (sm_{beaten[-1]}) is there: PTX for a higher number wins"
    return sentence


def _unproven(decisions: Sequence[Decision], total: int, target: Target) -> str:
    if not decisions:
        return ""
    return (
        f"{_taken(decisions)} code in {_share(decisions, total)} was built by CUDA 12.8 or 12.9, without the "
        f"record that it runs on {target.device}: reported to run, but NVIDIA's linker refuses it"
    )


def _other(decisions: Sequence[Decision], total: int) -> str:
    if not decisions:
        return ""
    return f"{_share(decisions, total)} for other GPU families only ({_images(decisions)})"


def _runs(decisions: Sequence[Decision], total: int) -> str:
    if not decisions:
        return ""
    return f"machine code that runs as it is in {_share(decisions, total)} ({_taken(decisions)})"


def _not_judged(decisions: Sequence[Decision]) -> str:
    if not decisions:
        return ""
    count = sum(decision.count for decision in decisions)
    images = plural(count, "image")
    return f"not judged: {images} that the library links or picks by itself ({_images(decisions)})"
