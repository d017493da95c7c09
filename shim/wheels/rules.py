"""What the members of an archive may be called, and what they may be."""

from __future__ import annotations

import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from shim.wheels import zipformat
from shim.wheels.directory import CentralRecord
from shim.wheels.faults import Fault
from shim.wheels.limits import Limits
from shim.wheels.member import DEFLATED, STORED

__all__ = ["check_names", "check_record", "check_total", "decode_name", "path_fault"]

_UTF8 = 1 << 11
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCHED = 1 << 5
_UNICODE_PATH = 0x7075
_METHODS = {
    1: "shrink",
    6: "implode",
    9: "deflate64",
    12: "bzip2",
    14: "lzma",
    93: "zstd",
    95: "xz",
    97: "wavpack",
    98: "ppmd",
    99: "AES encryption",
}
_MAX_NAME = 4096
"""Longest path of Linux."""

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE_HINT = "do not install it: an installer might write outside the environment"
_REPACK_HINT = "pack the wheel again with stored or deflated members"


def decode_name(record: CentralRecord) -> tuple[str, Fault | None]:
    """The path of a record as text: UTF-8 when flagged or ASCII, else code page 437 (APPNOTE appendix D)."""
    if not record.flags & _UTF8:
        return record.raw_name.decode("cp437"), None
    try:
        return record.raw_name.decode("utf-8"), None
    except UnicodeDecodeError as err:
        name = record.raw_name.decode("utf-8", "replace")
        fault = Fault(what=f"the name is not UTF-8 ({err.reason})", member=name, offset=record.position)
        return name, fault


def check_record(record: CentralRecord, name: str, limits: Limits) -> Iterator[Fault]:
    """Every fault of one record that can be told without its neighbours."""
    if record.flags & _ENCRYPTED:
        yield Fault(
            what="the member is encrypted",
            member=name,
            offset=record.position,
            expected="a plain member",
            found=f"flags {record.flags:#06x}",
            hint="get the wheel in plain form: no installer takes encrypted members",
        )
    if record.flags & _PATCHED:
        yield Fault(what="the member is a zip patch", member=name, offset=record.position, hint=_REPACK_HINT)
    if record.method not in (STORED, DEFLATED):
        yield Fault(
            what="unsupported compression method",
            member=name,
            offset=record.position,
            expected="0 (stored) or 8 (deflate)",
            found=f"{record.method} ({_METHODS.get(record.method, 'unknown')})",
            hint=_REPACK_HINT,
        )
    yield from _check_path(record, name)
    yield from _check_type(record, name)
    yield from _check_size(record, name, limits)


def path_fault(name: str) -> str:
    """Why a name is not a safe relative path of normal form; empty when it is one."""
    if not name:
        return "the name is empty"
    if len(name.encode("utf-8", "replace")) > _MAX_NAME:
        return f"the name is longer than {_MAX_NAME} bytes"
    if _CONTROL.search(name):
        return "the name holds a control character"
    if name.startswith("/"):
        return "the name is absolute"
    if "\\" in name:
        return "the name holds a backslash"
    if _DRIVE.match(name):
        return "the name starts with a drive letter"
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        return "the name leaves the folder it is unpacked to ('..')"
    if "" in parts or "." in parts:
        return "the name is not in normal form ('.' or an empty part)"
    return ""


def _check_path(record: CentralRecord, name: str) -> Iterator[Fault]:
    if reason := path_fault(name):
        yield Fault(
            what=reason,
            member=name,
            offset=record.position,
            expected="a relative path with '/' between its parts",
            found=repr(name) if len(name) < 200 else f"{len(name)} characters",
            hint=_ESCAPE_HINT,
        )
    if record.extra and (other := _unicode_path(record)) is not None and other != name:
        yield Fault(
            what="the member has two names",
            member=name,
            offset=record.position,
            expected=repr(name),
            found=f"{other!r} in its Unicode path field",
            hint="do not install it: installers may see different contents in this file",
        )


def _unicode_path(record: CentralRecord) -> str | None:
    """The name in the Info-ZIP Unicode path field, when it is valid for this member (APPNOTE 4.6.9)."""
    for identifier, data in zipformat.extra_fields(record.extra):
        if identifier == _UNICODE_PATH and len(data) >= 5 and data[0] == 1:
            if int.from_bytes(data[1:5], "little") != zlib.crc32(record.raw_name):
                return None
            return data[5:].decode("utf-8", "replace")
    return None


def _check_type(record: CentralRecord, name: str) -> Iterator[Fault]:
    kind = stat.S_IFMT(record.external_attr >> 16)
    if kind == stat.S_IFLNK:
        yield Fault(
            what="the member is a symbolic link",
            member=name,
            offset=record.position,
            expected="a file or a folder",
            found=f"mode {record.external_attr >> 16:#o}",
            hint=_ESCAPE_HINT,
        )
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield Fault(
            what="the member is neither a file nor a folder",
            member=name,
            offset=record.position,
            expected="a file or a folder",
            found=f"mode {record.external_attr >> 16:#o}",
            hint=_ESCAPE_HINT,
        )
    if name.endswith("/") and record.size:
        yield Fault(
            what="a folder with contents",
            member=name,
            offset=record.position,
            expected="0 bytes",
            found=f"{record.size}",
        )
    if record.method == STORED and record.size != record.compressed_size:
        yield Fault(
            what="a stored member of two sizes",
            member=name,
            offset=record.position,
            expected=f"{record.compressed_size} bytes",
            found=f"{record.size}",
        )


def _check_size(record: CentralRecord, name: str, limits: Limits) -> Iterator[Fault]:
    if record.size > limits.max_member_size:
        yield Fault(
            what="the member is too large once inflated",
            member=name,
            offset=record.position,
            expected=f"at most {limits.max_member_size} bytes",
            found=f"{record.size}",
            hint="raise --max-member-size if the file is to be trusted",
        )
    ratio = record.size / max(record.compressed_size, 1)
    if record.size > limits.ratio_floor and ratio > limits.max_ratio:
        yield Fault(
            what="the member looks like a zip bomb",
            member=name,
            offset=record.position,
            expected=f"at most {limits.max_ratio:g} bytes from each compressed byte",
            found=f"{ratio:.0f} ({record.compressed_size} -> {record.size} bytes)",
            hint="raise --max-ratio if the file is to be trusted",
        )


def check_total(records: Sequence[CentralRecord], file_size: int, limits: Limits) -> Iterator[Fault]:
    """Faults of all members taken together."""
    total = sum(record.size for record in records)
    if total > limits.max_total_size:
        yield Fault(
            what="the archive is too large once inflated",
            expected=f"at most {limits.max_total_size} bytes",
            found=f"{total}",
            hint="raise --max-total-size if the file is to be trusted",
        )
    if total > limits.ratio_floor and total > limits.max_ratio * file_size:
        yield Fault(
            what="the archive looks like a zip bomb",
            expected=f"at most {limits.max_ratio:g} bytes from each compressed byte",
            found=f"{total / file_size:.0f} ({file_size} -> {total} bytes)",
            hint="raise --max-ratio if the file is to be trusted",
        )


def check_names(records: Sequence[CentralRecord], names: Sequence[str], limits: Limits) -> Iterator[Fault]:
    """Names that would be written over each other: duplicates, case clashes, a file that is also a folder."""
    exact: set[str] = set()
    folded: dict[str, str] = {}
    for record, name in zip(records, names, strict=True):
        path = name.removesuffix("/")
        other = folded.setdefault(path.casefold(), path)
        if path in exact:
            hint = "do not install it: installers may take either"
            yield Fault(what="the name occurs twice", member=name, offset=record.position, hint=hint)
        elif other != path and not limits.allow_case_clash:
            yield Fault(
                what="two names differ only by letter case",
                member=name,
                offset=record.position,
                found=repr(other),
                hint="pass --allow-case-clash if it is only ever unpacked to case-sensitive file systems",
            )
        exact.add(path)
    # Sorted with a slash behind each, a path stands right before what is inside it.
    keys = sorted(f"{name}/" for name in names if not name.endswith("/"))
    for key, following in pairwise(keys):
        if following.startswith(key) and following != key:
            yield Fault(what="the member is a file and a folder", member=key[:-1])
