"""A new wheel from an old one: what did not change is copied, RECORD is made anew and stands last."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from shim.errors import InputError
from shim.wheels.archive import WheelArchive
from shim.wheels.compare import Comparison
from shim.wheels.content import Content, Digest
from shim.wheels.deflate import DeflateMode
from shim.wheels.layout import Layout
from shim.wheels.member import STORED, Member
from shim.wheels.memberwriter import MemberWriter, Prepared, prepare
from shim.wheels.newmember import UTF8, new_member, time_of_added
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import RandomFile
from shim.wheels.record import Record, RecordError, RecordIssue, RecordRow, format_record, read_record
from shim.wheels.rules import path_fault
from shim.wheels.zipformat import central_record, end_records

__all__ = ["WrittenWheel", "write_wheel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenWheel:
    """A wheel that was written."""

    path: Path
    size: int
    """Bytes of the file."""

    rows: tuple[RecordRow, ...]
    """Its RECORD: digest and size of every member."""

    dropped_signatures: tuple[str, ...]
    """Signatures of the old RECORD that were left out, because they no longer hold."""

    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal digits. It is read for that: run it beside other work."""
        with RandomFile(self.path) as file:
            return file.sha256()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A member to be changed, being prepared in other threads."""

    prepared: Future[Prepared]
    digest: Future[Digest]


def write_wheel(
    source: WheelArchive,
    out: Path,
    *,
    replaced: Mapping[str, Path | bytes] | None = None,
    added: Mapping[str, bytes] | None = None,
    removed: Collection[str] = (),
    mode: DeflateMode = DeflateMode.FAST,
    late: Callable[[Layout], Mapping[str, bytes]] | None = None,
    force: bool = False,
    jobs: int | None = None,
    epoch: int | None = None,
    read_back: bool = True,
    progress: Callable[[int], None] | None = None,
) -> WrittenWheel:
    """Write a changed wheel. Equal arguments give equal bytes (in FAST mode: on equal CPUs).

    Order in the new archive: the members of the source as they came (changed ones in their place), added
    members by name, members of `late` by name, RECORD. Changed members keep mode, time and compression
    method.

    Args:
        source: the wheel to start from. Its RECORD must be sound (`check_record`).
        out: the file to write; appears whole or not at all.
        replaced: new contents of members, in memory or in a file.
        added: new members. RECORD rows and times are made for them; folders must not be named.
        removed: members to leave out. RECORD and signatures of it need not be named.
        mode: how new contents are compressed.
        late: called when all other members are written; returns further members that depend on where those
            are (reverse data for undo: `delta.plan_undo`).
        force: replace a different file at `out`.
        jobs: threads; the number of cores when None.
        epoch: time of added members, seconds since 1970 in UTC; when None that of SOURCE_DATE_EPOCH, else
            that of the WHEEL member.
        read_back: inflate spliced members again before `out` appears; not needed when the caller reads the
            whole result anyway.
        progress: called with bytes written, step by step.

    Raises:
        InputError: a member that does not exist is replaced or removed, one that does is added; RECORD is
            missing or does not list a member that is kept; `out` cannot be written or holds a different file.
        ArchiveError: broken contents of the source.
        VerifyError: a changed member does not read back.
    """
    replaced, added = replaced or {}, added or {}
    record = read_record(source)
    _check_changed(source, record, replaced, removed)
    _check_added(source, added, ())
    when = time_of_added(source, epoch)
    threads = jobs or os.cpu_count() or 1
    dropped = {record.path, *record.signatures, *removed}
    with ExitStack() as stack:
        output = stack.enter_context(OutputFile(out, progress=progress))
        contents = {path: stack.enter_context(Content(new)) for path, new in replaced.items()}
        pool = stack.enter_context(_threads(threads))
        writer = MemberWriter(source, output, mode=mode, pool=pool, ahead=threads + 1, read_back=read_back)
        work = {path: _submit(pool, source, path, content) for path, content in contents.items()}
        source_hash = pool.submit(source.file.sha256) if late is not None else None
        rows: dict[str, RecordRow] = {}
        comparisons = _write_old(writer, source, work, dropped, rows)
        _add(writer, added, when, rows)
        if late is not None and source_hash is not None:
            layout = Layout(
                source=source,
                source_sha256=source_hash.result(),
                size=output.position,
                temporary=output.temporary,
                copies=tuple(writer.copies),
                comparisons=comparisons,
                rows=dict(rows),
            )
            later = late(layout)
            _check_added(source, later, rows)
            _add(writer, later, when, rows)
        new_rows = _record_rows(source, record, dropped, rows)
        _add_record(writer, source, record, new_rows)
        writer.finish()
        _write_directory(output, writer.members, source.directory.comment)
        output.commit(force=force)
        return WrittenWheel(path=out, size=output.position, rows=new_rows, dropped_signatures=record.signatures)


def _write_old(
    writer: MemberWriter,
    source: WheelArchive,
    work: Mapping[str, _Job],
    dropped: Collection[str],
    rows: dict[str, RecordRow],
) -> tuple[Comparison, ...]:
    """Write the members of the source, as they are or changed; fills in the rows of the changed ones."""
    comparisons = []
    unchanged: list[Member] = []
    for member in source.members:
        job = work.get(member.path)
        if member.path in dropped:
            continue
        if job is None or (prepared := job.prepared.result()).comparison.same:
            unchanged.append(member)
            continue
        writer.copy(unchanged)
        unchanged = []
        digest = job.digest.result()
        writer.change(prepared, digest)
        comparisons.append(prepared.comparison)
        rows[member.path] = _row(member.path, digest)
    writer.copy(unchanged)
    return tuple(comparisons)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops its queue when it is left, so that an error or Ctrl-C need not wait for all of it."""
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="shim-write")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, source: WheelArchive, path: str, content: Content) -> _Job:
    prepared = pool.submit(prepare, source, source.member(path), content)
    return _Job(prepared=prepared, digest=pool.submit(content.digest))


def _check_changed(
    source: WheelArchive,
    record: Record,
    replaced: Mapping[str, Path | bytes],
    removed: Collection[str],
) -> None:
    faults = [f"{path}: cannot be replaced, there is no such member" for path in replaced if path not in source]
    faults += [f"{path}: cannot be removed, there is no such member" for path in removed if path not in source]
    faults += [f"{path}: cannot be both replaced and removed" for path in replaced if path in removed]
    own = {record.path, *record.signatures}
    faults += [f"{path}: is made by the writer" for path in (*replaced, *removed) if path in own]
    if faults:
        raise InputError(f"{source.path}: " + "; ".join(faults))


def _check_added(source: WheelArchive, added: Iterable[str], before: Collection[str]) -> None:
    """New names must be good ones, and new: compared without letter case, as the reader compares them."""
    taken = {path.removesuffix("/").casefold() for path in (*(m.path for m in source.members), *before)}
    faults = []
    for path in added:
        if reason := path_fault(path):
            faults.append(f"{path!r}: cannot be added, {reason}")
        elif path.endswith("/") or path.casefold() in taken:
            faults.append(f"{path}: cannot be added, there is one already, or it is a folder")
        taken.add(path.casefold())
    if faults:
        raise InputError(f"{source.path}: " + "; ".join(faults))


def _add(writer: MemberWriter, added: Mapping[str, bytes], when: tuple[int, int], rows: dict[str, RecordRow]) -> None:
    for path in sorted(added):
        with Content(added[path]) as content:
            rows[path] = _row(path, content.digest())
        writer.add(new_member(path, when), added[path])


def _add_record(writer: MemberWriter, source: WheelArchive, record: Record, rows: tuple[RecordRow, ...]) -> None:
    member = source.member(record.path)
    data = format_record(rows, record.newline)
    if data == source.read(member):
        writer.copy([member])
    else:
        plain = replace(member, extra=b"", flags=member.flags & UTF8)
        writer.add(plain, data, store=member.method == STORED)


def _row(path: str, digest: Digest) -> RecordRow:
    return RecordRow(path=path, algorithm="sha256", digest=digest.sha256, size=digest.size)


def _record_rows(
    source: WheelArchive, record: Record, dropped: Collection[str], rows: Mapping[str, RecordRow]
) -> tuple[RecordRow, ...]:
    """Rows of the old RECORD that still hold, with changed ones in their place, then added ones, then its
    own."""
    result = [rows.get(row.path, row) for row in record.rows if row.path not in dropped]
    listed = {row.path for row in result}
    result += [row for path, row in rows.items() if path not in listed]
    listed.update(rows)
    missing = [m.path for m in source.members if not m.is_dir and m.path not in listed and m.path not in dropped]
    if missing:
        issues = [RecordIssue(path=path, text="in the wheel, but not listed") for path in missing]
        raise RecordError(source.path, issues)
    result.append(RecordRow(path=record.path, algorithm="", digest="", size=None))
    return tuple(result)


def _write_directory(output: OutputFile, members: list[tuple[Member, int]], comment: bytes) -> None:
    start = output.position
    output.write(b"".join(central_record(member, offset) for member, offset in members))
    size = output.position - start
    output.write(end_records(entries=len(members), offset=start, size=size, comment=comment))
