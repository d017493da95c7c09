"""RECORD: files of a wheel, their sizes and hashes (PyPA specification "Recording installed projects")."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from shim.errors import InputError
from shim.wheels.archive import WheelArchive
from shim.wheels.hashing import hash_member

__all__ = [
    "Record",
    "RecordError",
    "RecordIssue",
    "RecordRow",
    "check_record",
    "format_record",
    "parse_record",
    "read_record",
]

_ALGORITHMS = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Accepted hashes and their sizes in bytes. The specification rules out whatever is weaker than SHA-256."""

_MAX_RECORD = 64 << 20
_MAX_ROWS = 250_000
"""More than `Limits.max_members`; a hostile RECORD could hold millions of tiny rows."""

_SIGNATURES = (".jws", ".p7s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """One line of RECORD."""

    path: str
    algorithm: str
    """`sha256`, `sha384` or `sha512`; empty when the row has no hash."""

    digest: str
    """Hexadecimal digits; empty when the row has no hash."""

    size: int | None
    """Bytes, None when the row does not say."""

    line: str = ""
    """The row as it was written, without its line end; empty for rows that shim made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordIssue:
    """One fault of RECORD."""

    path: str
    """The member concerned, or RECORD itself."""

    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class RecordError(InputError):
    """RECORD is missing, malformed, or does not describe the wheel.

    Attributes:
        issues: every fault found.
    """

    _SHOWN = 20

    def __init__(self, path: Path, issues: Sequence[RecordIssue]) -> None:
        lines = [f"{path}: RECORD does not describe this wheel ({len(issues)} faults)"]
        lines += [f"  {issue}" for issue in issues[: self._SHOWN]]
        if len(issues) > self._SHOWN:
            lines.append(f"  and {len(issues) - self._SHOWN} more")
        super().__init__("\n".join(lines), hint="fetch the wheel again, or tell its publisher")
        self.issues = tuple(issues)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """RECORD of one wheel."""

    path: str
    rows: tuple[RecordRow, ...]
    newline: str
    r"""Line end of the file: `\n` or `\r\n`."""

    signatures: tuple[str, ...]
    """Members that sign RECORD (`RECORD.jws`, `RECORD.p7s`): any change of the wheel makes them wrong."""

    @property
    def signed(self) -> bool:
        """Does the wheel carry a signature of its RECORD?"""
        return bool(self.signatures)


def parse_record(text: bytes | str) -> tuple[RecordRow, ...]:
    """Parse the text of a RECORD file.

    Raises:
        RecordError: malformed rows, all of them.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as err:
            issue = RecordIssue(path="RECORD", text=f"not UTF-8 at byte {err.start}: {err.reason}")
            raise RecordError(Path("RECORD"), [issue]) from err
    rows = []
    issues = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if number > _MAX_ROWS:
            issues.append(RecordIssue(path=f"RECORD line {number}", text=f"more than {_MAX_ROWS} rows"))
            break
        if not line:
            continue
        try:
            rows.append(_parse_row(line))
        except (ValueError, csv.Error) as err:
            issues.append(RecordIssue(path=f"RECORD line {number}", text=f"{err}: {line[:200]!r}"))
    if issues:
        raise RecordError(Path("RECORD"), issues)
    return tuple(rows)


def _parse_row(line: str) -> RecordRow:
    cells = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
    if len(cells) != 3:
        raise ValueError(f"expected path, hash and size, found {len(cells)} fields")
    path, hashed, size = cells
    if not path:
        raise ValueError("the path is empty")
    if size and not (size.isascii() and size.isdigit()):
        raise ValueError(f"the size {size[:40]!r} is not a number")
    if len(size) > 20:
        raise ValueError(f"the size has {len(size)} digits")
    algorithm, separator, value = hashed.partition("=")
    if hashed and not separator:
        raise ValueError(f"expected algorithm=digest, found {hashed!r}")
    digest = _from_base64(algorithm, value) if hashed else ""
    return RecordRow(path=path, algorithm=algorithm, digest=digest, size=int(size) if size else None, line=line)


def _from_base64(algorithm: str, value: str) -> str:
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"expected a hash of {', '.join(_ALGORITHMS)}, found {algorithm!r}")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as err:
        raise ValueError(f"the {algorithm} digest is not URL-safe base64") from err
    if len(raw) != _ALGORITHMS[algorithm]:
        raise ValueError(f"expected {_ALGORITHMS[algorithm]} bytes of {algorithm}, the digest has {len(raw)}")
    return raw.hex()


def format_record(rows: Sequence[RecordRow], newline: str = "\n") -> bytes:
    """The text of a RECORD file. Rows that were read are written as they stood."""
    lines = [row.line or _format_row(row) for row in rows]
    return "".join(line + newline for line in lines).encode("utf-8")


def _format_row(row: RecordRow) -> str:
    hashed = ""
    if row.digest:
        value = base64.urlsafe_b64encode(bytes.fromhex(row.digest)).decode("ascii").rstrip("=")
        hashed = f"{row.algorithm}={value}"
    text = io.StringIO()
    size = "" if row.size is None else str(row.size)
    csv.writer(text, lineterminator="").writerow([row.path, hashed, size])
    return text.getvalue()


def read_record(archive: WheelArchive) -> Record:
    """Read RECORD of a wheel, without comparing it with the members.

    Raises:
        RecordError: it is missing or malformed.
        ArchiveError: broken contents.
    """
    if archive not in _READ:
        _READ[archive] = _read_record(archive)
    return _READ[archive]


_READ: WeakKeyDictionary[WheelArchive, Record] = WeakKeyDictionary()
"""Records of the archives that are open: the stages of a patch ask for the same one several times."""


def _read_record(archive: WheelArchive) -> Record:
    path = f"{archive.dist_info}/RECORD"
    if path not in archive:
        raise RecordError(archive.path, [RecordIssue(path=path, text="missing; every wheel must have it")])
    text = archive.read(archive.member(path), limit=_MAX_RECORD)
    try:
        rows = parse_record(text)
    except RecordError as err:
        raise RecordError(archive.path, err.issues) from err
    signatures = tuple(path + suffix for suffix in _SIGNATURES if path + suffix in archive)
    newline = "\r\n" if b"\r\n" in text else "\n"
    return Record(path=path, rows=rows, newline=newline, signatures=signatures)


def check_record(archive: WheelArchive, *, hashes: Mapping[str, str] | None = None) -> Record:
    """Compare RECORD with the members of its wheel.

    Args:
        archive: the wheel.
        hashes: SHA-256 of the members (`hash_members`); None compares names and sizes only.

    Returns:
        The record, when it is right.

    Raises:
        RecordError: with every fault found.
        ArchiveError: broken contents.
    """
    record = read_record(archive)
    issues = [*_row_issues(archive, record, hashes), *_unlisted(archive, record)]
    if issues:
        raise RecordError(archive.path, issues)
    return record


def _row_issues(archive: WheelArchive, record: Record, hashes: Mapping[str, str] | None) -> Iterator[RecordIssue]:
    unhashed = {record.path, *record.signatures}
    seen: set[str] = set()
    for row in record.rows:
        if row.path in seen:
            yield RecordIssue(path=row.path, text="listed twice")
        seen.add(row.path)
        if row.path not in archive or row.path.endswith("/"):
            yield RecordIssue(path=row.path, text="listed, but the wheel has no such file")
            continue
        member = archive.member(row.path)
        if row.size is not None and row.size != member.size:
            yield RecordIssue(path=row.path, text=f"size: expected {row.size} bytes, found {member.size}")
        if row.path in unhashed:
            if row.path == record.path and row.digest:
                yield RecordIssue(path=row.path, text="RECORD cannot hold its own hash")
        elif not row.digest:
            yield RecordIssue(path=row.path, text="no hash")
        elif hashes is not None:
            known = row.algorithm == "sha256"
            found = hashes[row.path] if known else hash_member(archive, member, row.algorithm)
            if found != row.digest:
                yield RecordIssue(path=row.path, text=f"{row.algorithm}: expected {row.digest}, found {found}")


def _unlisted(archive: WheelArchive, record: Record) -> Iterator[RecordIssue]:
    listed = {row.path for row in record.rows} | {record.path, *record.signatures}
    for member in archive.members:
        if not member.is_dir and member.path not in listed:
            yield RecordIssue(path=member.path, text="in the wheel, but not listed")
