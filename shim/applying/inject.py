"""Put compiled machine code into the containers of one file (layout B of docs/patching.md: append and repoint)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from shim import _core
from shim.applying.images import ImageFile
from shim.devicecode import DeviceCode, ImageKind, read_cubin, read_ptx
from shim.errors import PlanError, VerifyError
from shim.planning import InjectSass
from shim.verifying.kernels import KernelCheck, check_cubin

# What fatbinary uses for `--compress-mode=balance`, its default since CUDA 13.0 (measured, docs/formats.md 4.1).
ZSTD_LEVEL = 5
_CONTAINER_HEADER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """Machine code for one step, as it came out of ptxas or nvlink.

    Attributes:
        tools: programs and versions that made it. options: ptxas options replayed from the entry.
        cpu_seconds: time the programs took, when they ran; 0 from the cache.
    """

    cubin: bytes
    tools: tuple[str, ...]
    options: str
    cpu_seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What happened to one container.

    Attributes:
        before, after: file offset of the container in the original and in the new file.
        entry_sha256, cubin_sha256: of the new entry as stored and of the machine code in it.
    """

    container: int
    before: int
    after: int
    arch: str
    reason: str
    entry_size: int
    entry_sha256: str
    cubin_sha256: str
    source_sha256: tuple[str, ...]
    image: NewImage
    check: KernelCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    """A file with new images.

    Attributes:
        undo: (offset, original bytes) of what was overwritten below `original_size`; cutting the file there and
            writing these back gives the original.
        strip_unsafe: GNU strip and objcopy would damage the new file.
    """

    member: str
    path: Path
    original_size: int
    size: int
    undo: tuple[tuple[int, bytes], ...]
    strip_unsafe: bool
    injected: tuple[Injected, ...]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_entry(image: NewImage, arch: str) -> bytes:
    """One fatbin entry for a cubin, compressed as fatbinary would."""
    number = arch.removeprefix("sm_")
    suffix = number[-1] if number[-1] in "af" else ""
    compressed = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compress(image.cubin)
    return _core.make_entry(
        kind=2,
        arch=int(number.rstrip("af")),
        suffix=suffix,
        image=image.cubin,
        compressed=compressed if len(compressed) < len(image.cubin) else None,
    )


def check_step(step: InjectSass, code: DeviceCode, file: ImageFile, image: NewImage) -> KernelCheck:
    """Compare the new machine code with what it came from. Raises VerifyError."""
    texts = [read_ptx(file.plain(s.image)) for s in step.sources if s.image.kind is ImageKind.PTX]
    complete = len(texts) == len(step.sources)
    check = check_cubin(
        read_cubin(image.cubin), texts if complete else [], file.sibling(code.containers[step.container])
    )
    if check.faults:
        raise VerifyError(
            f"{code.member}: container {step.container}: the compiled code is not what the library needs: "
            + "; ".join(check.faults),
            hint="Nothing was written. This would be a bug of the compiler or of shim; please report it.",
        )
    return check


def inject(
    code: DeviceCode,
    source: Path,
    dest: Path,
    steps: Sequence[InjectSass],
    images: Mapping[int, NewImage],
) -> PatchedFile:
    """Write `dest`: `source` with one new image in each step's container.

    Args:
        images: machine code by container index; steps without one are left out.

    Raises:
        PlanError: the ELF file cannot take an appended segment (docs/patching.md lists the cases).
        VerifyError: new code lacks kernels or variables.
    """
    done = [step for step in steps if step.container in images]
    entries: dict[int, bytes] = {}
    checks: dict[int, KernelCheck] = {}
    with ImageFile(source, code.member) as file:
        for step in done:
            image = images[step.container]
            checks[step.container] = check_step(step, code, file, image)
            entries[step.container] = new_entry(image, step.arch)
        sources = {
            step.container: tuple(hashlib.sha256(file.plain(s.image)).hexdigest() for s in step.sources)
            for step in done
        }
    result = _append(code, source, dest, done, entries)
    injected = tuple(
        Injected(
            container=step.container,
            before=step.offset,
            after=after,
            arch=step.arch,
            reason=step.reason,
            entry_size=len(entries[step.container]),
            entry_sha256=hashlib.sha256(entries[step.container]).hexdigest(),
            cubin_sha256=hashlib.sha256(images[step.container].cubin).hexdigest(),
            source_sha256=sources[step.container],
            image=images[step.container],
            check=checks[step.container],
        )
        for step, after in zip(done, result.containers, strict=True)
    )
    return PatchedFile(
        member=code.member,
        path=dest,
        original_size=result.original_size,
        size=result.size,
        undo=tuple(result.undo),
        strip_unsafe=result.strip_unsafe,
        injected=injected,
    )


def _append(
    code: DeviceCode, source: Path, dest: Path, steps: Sequence[InjectSass], entries: Mapping[int, bytes]
) -> _core.AppendResult:
    edits: list[tuple[Sequence[int], Sequence[_core._Piece]]] = []
    for step in steps:
        container = code.containers[step.container]
        old = container.size - _CONTAINER_HEADER
        new = entries[step.container]
        kept = (container.offset + _CONTAINER_HEADER, old)
        edits.append((step.wrappers, [_core.make_container_header(len(new) + old), new, kept]))
    try:
        return _core.append_containers(source, dest, edits)
    except _core.RewriteRefused as error:
        raise PlanError(
            f"{code.member}: {error}", hint="Rebuild it from source for the target; docs/patching.md has the cases."
        ) from error
