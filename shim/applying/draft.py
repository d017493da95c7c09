"""Write the patched wheel, with provenance, bill of materials and reverse data in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.applying.events import Watcher
from shim.applying.files import PatchedFiles
from shim.applying.inject import PatchedFile
from shim.planning import Plan, Slim
from shim.provenance import document as provenance
from shim.provenance import sbom
from shim.provenance.document import Digests, Original, Request
from shim.provenance.recipes import recipe_records
from shim.wheels.archive import WheelArchive
from shim.wheels.deflate import DeflateMode, deflate_identity
from shim.wheels.delta import plan_undo
from shim.wheels.layout import Layout
from shim.wheels.metadata import with_build
from shim.wheels.moved import OldPiece
from shim.wheels.name import WheelName
from shim.wheels.record import read_record
from shim.wheels.undo import side_car, undo_member
from shim.wheels.writer import WrittenWheel, write_wheel

# Reverse data goes into the wheel when it adds less than this share to it, else beside it.
EMBED_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRequest:
    """What to write.

    Attributes:
        old_digests: SHA-256 of the members as they were, by path.
        build: the new build tag.
    """

    archive: WheelArchive
    name: WheelName
    request: Request
    plan: Plan
    done: PatchedFiles
    old_digests: Mapping[str, str]
    build: str
    mode: DeflateMode


def write_draft(wanted: DraftRequest, draft: Path, watcher: Watcher) -> WrittenWheel:
    """Write the wheel to `draft`; reverse data that is too large for it goes to its side-car."""
    archive = wanted.archive
    info = archive.dist_info
    wheel_file = f"{info}/WHEEL"

    def late(layout: Layout) -> Mapping[str, bytes]:
        documents = _documents(wanted, layout)
        moved = {member: _pieces(done) for member, done in wanted.done.patched.items()}
        undo = plan_undo(layout, moved=moved)
        slim = wanted.request.wanted.slim is not Slim.OFF  # what was left out is most of the wheel, or wanted out of it
        data = None if slim else undo.to_bytes(limit=int(EMBED_SHARE * layout.size))
        if data is not None:
            return {**documents, undo_member(info): data}
        undo.write(side_car(draft))
        return documents

    return write_wheel(
        archive,
        draft,
        replaced={
            wheel_file: with_build(archive.read(archive.member(wheel_file)), wanted.build),
            **{member: patched.path for member, patched in wanted.done.patched.items()},
            **wanted.plan.edited,
        },
        mode=wanted.mode,
        late=late,
        read_back=False,  # verify_written does
        progress=watcher.done,
    )


def _pieces(done: PatchedFile) -> tuple[OldPiece, ...]:
    """Where the old bytes of a library stand in the new one."""
    return tuple((-1 if old.at is None else old.at, old.size) for old in done.written.old)


def _documents(wanted: DraftRequest, layout: Layout) -> dict[str, bytes]:
    """Provenance and bill of materials; the writer has hashed both wheels' members on its way."""
    path, info = wanted.archive.path, wanted.archive.dist_info
    digests = {
        member: Digests(before=wanted.old_digests[member], after=layout.rows[member].digest)
        for member in wanted.done.patched
    }
    document = provenance.make_document(
        Original(filename=path.name, sha256=layout.source_sha256, size=path.stat().st_size),
        wanted.request,
        wanted.plan.libraries,
        wanted.done.patched,
        digests,
        dropped_signatures=read_record(wanted.archive).signatures,
        compression=deflate_identity(wanted.mode),
        recipes=recipe_records([match.recipe for match in wanted.plan.recipes], wanted.plan.edits),
        edited=[
            {"path": path, "before": wanted.old_digests[path], "after": layout.rows[path].digest}
            for path in wanted.plan.edited
        ],
    )
    bom = sbom.make_sbom(wanted.name.distribution, wanted.name.version, document, wanted.done.work.tools)
    return {
        f"{info}/{provenance.FOLDER}/{provenance.FILE}": provenance.dump(document),
        f"{info}/sboms/{sbom.FILE}": bom,
    }
