"""Put compiled machine code into the containers of one file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard

from shim import _core
from shim.applying.fatbin_file import write_fatbin
from shim.applying.images import ImageFile
from shim.applying.rewrite import Edit, Rewritten, rewrite
from shim.applying.shelf import Cubin
from shim.devicecode import Container, DeviceCode, ImageKind, read_cubin, read_ptx
from shim.errors import PlanError, VerifyError
from shim.planning import Act, ContainerPlan, Layout, LibraryPlan, Make, Wanted
from shim.verifying.kernels import KernelCheck, check_cubin, check_same

# What fatbinary uses for `--compress-mode=balance`, its default since CUDA 13.0 (measured, docs/formats.md 4.1).
ZSTD_LEVEL = 5
CONTAINER_HEADER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """Machine code for one step, as it came out of ptxas or nvlink.

    Attributes:
        code: where it is.
        tools: programs and versions that made it. options: ptxas options replayed from the entry.
        cpu_seconds: time the programs took, when they ran; 0 from the cache.
        remarks: what is unusual or unproven about it, for the report and the provenance.
        debug: made with `-g`, which its fatbin entry says too.
    """

    code: Cubin
    tools: tuple[str, ...]
    options: str
    cpu_seconds: float
    cached: bool
    remarks: tuple[str, ...] = ()
    debug: bool = False

    @property
    def cubin(self) -> bytes:
        """The bytes, read anew each time. Raises InputError."""
        return self.code.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A new image as it stands in its container.

    Attributes:
        size, sha256: of the entry as stored. cubin_sha256: of the machine code in it.
        source_sha256: of what it was made from.
    """

    make: Make
    size: int
    sha256: str
    cubin_sha256: str
    source_sha256: tuple[str, ...]
    image: NewImage
    check: KernelCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedContainer:
    """What happened to one container.

    Attributes:
        step: as it was carried out. before, after: file offset in the original and in the new file.
        size: bytes of the new container.
        entries: new ones; they stand first, in this order.
        packed: (position, size, sha256) of each old entry that was compressed, as it is stored now.
    """

    step: ContainerPlan
    before: int
    after: int
    size: int
    entries: tuple[NewEntry, ...]
    packed: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    """A file with new containers."""

    member: str
    path: Path
    written: Rewritten
    containers: tuple[PatchedContainer, ...]

    @property
    def size(self) -> int:
        return self.written.size

    @property
    def original_size(self) -> int:
        return self.written.original_size


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_entry(image: NewImage, arch: str) -> bytes:
    """One fatbin entry for a cubin, compressed as fatbinary would."""
    number = arch.removeprefix("sm_")
    suffix = number[-1] if number[-1] in "af" else ""
    cubin = image.cubin
    compressed = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compress(cubin)
    return _core.make_entry(
        kind=2,
        arch=int(number.rstrip("af")),
        suffix=suffix,
        image=cubin,
        compressed=compressed if len(compressed) < len(cubin) else None,
        debug=image.debug,
    )


def check_make(make: Make, container: Container, code: DeviceCode, file: ImageFile, image: NewImage) -> KernelCheck:
    """Compare the new machine code with what it came from. Raises VerifyError."""
    if make.act is Act.RESTAMP:
        return check_same(read_cubin(image.cubin), read_cubin(file.plain(make.sources[0].image)))
    texts = [read_ptx(file.plain(s.image)) for s in make.sources if s.image.kind is ImageKind.PTX]
    complete = len(texts) == len(make.sources)
    check = check_cubin(read_cubin(image.cubin), texts if complete else [], file.sibling(container))
    if check.faults:
        raise VerifyError(
            f"{code.member}: container {container.index}: the compiled code is not what the library needs: "
            + "; ".join(check.faults),
            hint="Nothing was written. This would be a bug of the compiler or of shim; please report it.",
        )
    return check


def inject(
    code: DeviceCode,
    source: Path,
    dest: Path,
    plan: LibraryPlan,
    images: Mapping[tuple[int, str], NewImage],
    wanted: Wanted,
) -> PatchedFile:
    """Write `dest`: `source` with the containers of the plan's steps.

    Args:
        images: machine code by (container, architecture), one for every make of the plan.

    Raises:
        PlanError: the ELF file cannot be changed so (docs/patching.md lists the cases).
        VerifyError: new code lacks kernels or variables.
    """
    drafts = []
    with ImageFile(source, code.member) as file:
        for step in plan.steps:
            container = code.containers[step.container]
            made = {make.arch: images[step.container, make.arch] for make in step.makes}
            drafts.append(draft_container(step, container, code, file, made, wanted))
    edits = [draft.edit for draft in drafts]
    if code.format == "fatbin":
        written = write_fatbin(code, source, dest, edits)
    else:
        written = _write(source, dest, edits, plan.layout.layout, code.member, wanted)
    return PatchedFile(
        member=code.member,
        path=dest,
        written=written,
        containers=tuple(
            replace(draft.container, after=after) for draft, after in zip(drafts, written.containers, strict=True)
        ),
    )


def _write(source: Path, dest: Path, edits: Sequence[Edit], layout: Layout, member: str, wanted: Wanted) -> Rewritten:
    """In the layout planned; by appending where the file does not allow that and nobody asked for it."""
    try:
        return rewrite(source, dest, edits, layout, member=member)
    except PlanError:
        if wanted.layout is not None or layout is Layout.APPEND:
            raise
        return rewrite(source, dest, edits, Layout.APPEND, member=member)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A container to be written, and what to say of it."""

    edit: Edit
    container: PatchedContainer


def draft_container(
    step: ContainerPlan,
    container: Container,
    code: DeviceCode,
    file: ImageFile,
    made: Mapping[str, NewImage],
    wanted: Wanted,
) -> Draft:
    """Put a new container together: entries of new images, then the old ones that stay."""
    stored = {make.arch: new_entry(made[make.arch], make.arch) for make in step.makes}
    kept = _kept(container, step.drops)
    pieces: tuple[bytes | tuple[int, int], ...] = (*stored.values(), *kept)
    size = sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces)
    entries = tuple(
        NewEntry(
            make=make,
            size=len(stored[make.arch]),
            sha256=hashlib.sha256(stored[make.arch]).hexdigest(),
            cubin_sha256=hashlib.sha256(made[make.arch].cubin).hexdigest(),
            source_sha256=tuple(hashlib.sha256(file.plain(s.image)).hexdigest() for s in make.sources),
            image=made[make.arch],
            check=check_make(make, container, code, file, made[make.arch]),
        )
        for make in step.makes
    )
    return Draft(
        edit=Edit(offset=container.offset, wrappers=step.wrappers, pieces=(_core.make_container_header(size), *pieces)),
        container=PatchedContainer(
            step=step, before=container.offset, after=0, size=CONTAINER_HEADER + size, entries=entries
        ),
    )


def _kept(container: Container, drops: Collection[int]) -> list[tuple[int, int]]:
    """Ranges of the file with the entries that stay, neighbours together."""
    if not drops:
        return [(container.offset + CONTAINER_HEADER, container.size - CONTAINER_HEADER)]
    ranges: list[tuple[int, int]] = []
    for position, image in enumerate(container.images):
        if position in drops:
            continue
        if ranges and sum(ranges[-1]) == image.offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + image.stored_size)
        else:
            ranges.append((image.offset, image.stored_size))
    return ranges
