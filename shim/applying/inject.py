"""Put compiled machine code into the containers of one file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shim import _core
from shim.applying.fatbin_file import write_fatbin
from shim.applying.images import ImageFile
from shim.applying.pack import PackedEntry, new_entry, pack_entries
from shim.applying.rewrite import Edit, Rewritten, rewrite
from shim.applying.shelf import Cubin
from shim.devicecode import Container, DeviceCode, ImageKind, read_cubin, read_ptx
from shim.errors import PlanError, VerifyError
from shim.planning import Act, ContainerPlan, LayoutChoice, LibraryPlan, Make, Wanted
from shim.planning.layout import fallbacks
from shim.planning.packing import zstd_level
from shim.planning.sizes import dropped_size, layout_for
from shim.verifying.kernels import KernelCheck, check_cubin, check_same

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
        dropped_bytes, packed_bytes: of entries left out, and saved by compressing old ones.
    """

    step: ContainerPlan
    before: int
    after: int
    size: int
    entries: tuple[NewEntry, ...]
    packed: tuple[tuple[int, int, str], ...] = ()
    dropped_bytes: int = 0
    packed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    """A file with new containers. `layout`: how it was written, and why so."""

    member: str
    path: Path
    written: Rewritten
    containers: tuple[PatchedContainer, ...]
    layout: LayoutChoice

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
    if code.format == "fatbin":
        written = write_fatbin(code, source, dest, [draft.edit for draft in drafts])
        layout = plan.layout
    else:
        written, layout = _write(source, dest, code, drafts, wanted)
    return PatchedFile(
        member=code.member,
        path=dest,
        written=written,
        containers=tuple(
            replace(draft.container, after=after) for draft, after in zip(drafts, written.containers, strict=True)
        ),
        layout=layout,
    )


def _write(
    source: Path, dest: Path, code: DeviceCode, drafts: Sequence[Draft], wanted: Wanted
) -> tuple[Rewritten, LayoutChoice]:
    """In the layout that the real sizes call for; in the next best where the file does not allow that."""
    edits = [draft.edit for draft in drafts]
    sizes = {draft.container.step.container: draft.container.size for draft in drafts}
    choice = layout_for(code, sizes, wanted)
    others = fallbacks(choice, asked=wanted.layout, program=code.elf_type == "exec")
    notes: list[str] = []
    for layout in (choice.layout, *others):
        try:
            written = rewrite(source, dest, edits, layout, member=code.member)
        except PlanError as error:
            if layout is (choice.layout, *others)[-1]:
                raise
            notes.append(f"{layout} cannot be done: {error.message.removeprefix(f'{code.member}: ')}")
        else:
            return written, LayoutChoice(layout=written.layout, why="; ".join(notes) or choice.why)
    raise AssertionError("the last layout either works or raises")


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
    level = zstd_level(wanted)
    stored = {
        make.arch: new_entry(made[make.arch].cubin, make.arch, level, debug=made[make.arch].debug)
        for make in step.makes
    }
    packed = pack_entries({at: container.images[at] for at in step.packs}, file, level)
    pieces: tuple[bytes | tuple[int, int], ...] = (*stored.values(), *_kept(container, step.drops, packed))
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
            step=replace(step, packs=tuple(packed)),
            before=container.offset,
            after=0,
            size=CONTAINER_HEADER + size,
            entries=entries,
            packed=tuple((at, len(p.data), hashlib.sha256(p.data).hexdigest()) for at, p in packed.items()),
            dropped_bytes=dropped_size(container, step.drops),
            packed_bytes=sum(p.was - len(p.data) for p in packed.values()),
        ),
    )


def _kept(
    container: Container, drops: Collection[int], packed: Mapping[int, PackedEntry]
) -> list[bytes | tuple[int, int]]:
    """The entries that stay, in order: bytes of compressed ones, else ranges of the file, neighbours together."""
    if not drops and not packed:
        return [(container.offset + CONTAINER_HEADER, container.size - CONTAINER_HEADER)]
    pieces: list[bytes | tuple[int, int]] = []
    ends = seen = container.offset
    for position, image in enumerate(container.images):
        if position in drops or image.offset <= seen:  # members of one group share their entry
            continue
        seen = image.offset
        if position in packed:
            pieces.append(packed[position].data)
        elif pieces and isinstance(last := pieces[-1], tuple) and ends == image.offset:
            pieces[-1] = (last[0], last[1] + image.stored_size)
        else:
            pieces.append((image.offset, image.stored_size))
        ends = image.offset + image.stored_size
    return pieces
