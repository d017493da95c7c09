"""A new wheel from an old one: what did not change is copied, RECORD is made anew and stands last."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from shim.errors import InputError, UsageError
from shim.wheels.archive import WheelArchive
from shim.wheels.content import Content, Digest
from shim.wheels.deflate import DeflateMode
from shim.wheels.layout import Layout
from shim.wheels.member import STORED, Member
from shim.wheels.memberwriter import MemberWriter, Prepared, prepare
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import RandomFile
from shim.wheels.record import Record, RecordError, RecordIssue, RecordRow, format_record, read_record
from shim.wheels.zipformat import central_record, end_records

__all__ = ["WrittenWheel", "write_wheel"]

_UNIX = 3 << 8
_UTF8 = 1 << 11
_EARLIEST = 1 << 5 | 1
"""1980-01-01, the first day a zip file can name."""


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
        progress: called with bytes written, step by step.

    Raises:
        InputError: a member that does not exist is replaced or removed, one that does is added; RECORD is
            missing or does not list a member that is kept; `out` cannot be written or holds a different file.
        ArchiveError: broken contents of the source.
        VerifyError: a changed member does not read back.
    """
    replaced, added = replaced or {}, added or {}
    record = read_record(source)
    _check_names(source, record, replaced, added, removed)
    when = _time_of_added(source, epoch)
    threads = jobs or os.cpu_count() or 1
    dropped = {record.path, *record.signatures, *removed}
    with ExitStack() as stack:
        output = stack.enter_context(OutputFile(out, progress=progress))
        contents = {path: stack.enter_context(Content(new)) for path, new in replaced.items()}
        pool = stack.enter_context(_threads(threads))
        writer = MemberWriter(source, output, mode=mode, pool=pool, ahead=threads + 1)
        work = {path: _submit(pool, source, path, content) for path, content in contents.items()}
        rows, comparisons = {}, []
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
        _add(writer, added, when, rows)
        if late is not None:
            layout = Layout(
                source=source,
                size=output.position,
                temporary=output.temporary,
                copies=tuple(writer.copies),
                comparisons=tuple(comparisons),
                rows=dict(rows),
            )
            later = late(layout)
            _check_names(source, record, {}, later, ())
            _add(writer, later, when, rows)
        new_rows = _record_rows(source, record, dropped, rows)
        old_record = replace(
            source.member(record.path), extra=b"", flags=source.member(record.path).flags & _UTF8
        )
        writer.add(old_record, format_record(new_rows, record.newline))
        writer.finish()
        _write_directory(output, writer.members, source.directory.comment)
        output.commit(force=force)
        return WrittenWheel(
            path=out,
            size=output.position,
            rows=new_rows,
            dropped_signatures=record.signatures,
        )


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


def _check_names(
    source: WheelArchive,
    record: Record,
    replaced: Mapping[str, Path | bytes],
    added: Mapping[str, bytes],
    removed: Collection[str],
) -> None:
    faults = [
        f"{path}: cannot be replaced, there is no such member" for path in replaced if path not in source
    ]
    faults += [
        f"{path}: cannot be removed, there is no such member" for path in removed if path not in source
    ]
    faults += [f"{path}: cannot be added, there is one already" for path in added if path in source]
    faults += [f"{path}: cannot be both replaced and removed" for path in replaced if path in removed]
    own = {record.path, *record.signatures}
    faults += [f"{path}: is made by the writer" for path in (*replaced, *removed) if path in own]
    if faults:
        raise InputError(f"{source.path}: " + "; ".join(faults))


def _time_of_added(source: WheelArchive, epoch: int | None) -> tuple[int, int]:
    """Time and date of added members, as zip files hold them."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch is None and text:
        if not text.isascii() or not text.isdigit():
            raise UsageError(
                f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {text!r}",
                hint="set it right or unset it",
            )
        epoch = int(text)
    if epoch is None:
        wheel = source.member(f"{source.dist_info}/WHEEL")
        return (wheel.dos_time, wheel.dos_date) if wheel.dos_date >= _EARLIEST else (0, _EARLIEST)
    moment = time.gmtime(min(epoch, 0xFFFFFFFF))
    if moment.tm_year < 1980:
        return 0, _EARLIEST
    return (
        moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
        (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
    )


def _add(
    writer: MemberWriter, added: Mapping[str, bytes], when: tuple[int, int], rows: dict[str, RecordRow]
) -> None:
    for path in sorted(added):
        with Content(added[path]) as content:
            rows[path] = _row(path, content.digest())
        writer.add(_new_member(path, when), added[path])


def _new_member(path: str, when: tuple[int, int]) -> Member:
    return Member(
        path=path,
        size=0,
        compressed_size=0,
        crc32=0,
        method=STORED,
        header_offset=0,
        data_offset=0,
        end=0,
        flags=0 if path.isascii() else _UTF8,
        create_version=_UNIX | 20,
        extract_version=20,
        dos_time=when[0],
        dos_date=when[1],
        internal_attr=0,
        external_attr=(stat.S_IFREG | 0o644) << 16,
        raw_name=path.encode("utf-8"),
        extra=b"",
        comment=b"",
    )


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
    missing = [
        m.path for m in source.members if not m.is_dir and m.path not in listed and m.path not in dropped
    ]
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
