"""Whole wheels from a dict of members, made by zipfile (someone else's code), RECORD included."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

WHEEL = "Wheel-Version: 1.0\nGenerator: tests (1.0)\nRoot-Is-Purelib: false\nTag: {tag}\n"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: made by a test\n"
WHEN = (2024, 5, 17, 12, 34, 56)


def record_text(members: Mapping[str, bytes], record: str) -> bytes:
    """RECORD of the members."""
    lines = []
    for path, data in members.items():
        if path.endswith("/") or path.startswith(f"{record}."):
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        quoted = f'"{path}"' if "," in path else path
        lines.append(f"{quoted},sha256={digest},{len(data)}\n")
    return ("".join(lines) + f"{record},,\n").encode()


def make_wheel(
    folder: Path,
    members: Mapping[str, bytes | str] | None = None,
    *,
    name: str = "demo",
    version: str = "1.0",
    tag: str = "py3-none-any",
    build: str = "",
    level: int | None = 6,
    record: bytes | None = None,
    comment: bytes = b"",
    modes: Mapping[str, int] | None = None,
    streamed: bool = False,
) -> Path:
    """Write a wheel.

    Args:
        folder: where to write it.
        members: contents by path, beside the dist-info files (which may be given instead).
        name, version, tag, build: parts of its file name.
        level: zlib level, None stores the members.
        record: text of RECORD, in place of the right one; an empty one leaves it out.
        comment: archive comment.
        modes: Unix modes by path, 0o644 for the others.
        streamed: write as to a pipe, with data descriptors.
    """
    info = f"{name}-{version}.dist-info"
    contents: dict[str, bytes] = {
        path: data.encode() if isinstance(data, str) else data for path, data in (members or {}).items()
    }
    contents.setdefault(f"{info}/METADATA", METADATA.format(name=name, version=version).encode())
    contents.setdefault(f"{info}/WHEEL", WHEEL.format(tag=tag).encode())
    text = record_text(contents, f"{info}/RECORD") if record is None else record
    if text:
        contents[f"{info}/RECORD"] = text
    parts = [name, version, build, tag]
    path = folder / ("-".join(part for part in parts if part) + ".whl")
    target = _Pipe(path) if streamed else path
    method = zipfile.ZIP_STORED if level is None else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w", method, compresslevel=level) as archive:
        for member, data in contents.items():
            info_of = zipfile.ZipInfo(member, WHEN)
            info_of.compress_type = zipfile.ZIP_STORED if member.endswith("/") else method
            info_of.external_attr = ((modes or {}).get(member, 0o644) | 0o100000) << 16
            archive.writestr(info_of, data, compresslevel=level)
        archive.comment = comment
    if isinstance(target, _Pipe):
        target.close()
    return path


class _Pipe:
    """A file that cannot seek, so that zipfile writes data descriptors."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def poke(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def local_offset(path: Path, member: str) -> int:
    """Where the local header of a member is."""
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member).header_offset


def central_offset(path: Path, member: str) -> int:
    """Where the central directory record of a member is."""
    data = path.read_bytes()
    wanted = member.encode()
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        size = struct.unpack_from("<H", data, at + 28)[0]
        if data[at + 46 : at + 46 + size] == wanted:
            return at
        at = data.find(b"PK\x01\x02", at + 4)
    raise AssertionError(f"{path} has no member {member}")


def data_span(path: Path, member: str) -> tuple[int, int]:
    """Offset and size of the compressed data of a member."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    header = path.read_bytes()[info.header_offset : info.header_offset + 30]
    name, extra = struct.unpack_from("<2H", header, 26)
    return info.header_offset + 30 + name + extra, info.compress_size


def library(seed: int, size: int) -> bytes:
    """Bytes that compress about as a shared library does: repeated runs, tables of addresses, some noise."""
    rng = random.Random(seed)
    words = [rng.randbytes(rng.randrange(3, 40)) for _ in range(400)]
    out = bytearray()
    while len(out) < size:
        kind = rng.randrange(8)
        if kind == 0:
            out += rng.randbytes(rng.randrange(64, 3000))
        elif kind == 1:
            start = rng.randrange(1 << 24)
            out += b"".join(struct.pack("<Q", start + 24 * n) for n in range(rng.randrange(8, 200)))
        elif kind == 2:
            out += bytes(rng.randrange(16, 2000))
        else:
            out += b"".join(rng.choice(words) for _ in range(rng.randrange(10, 200)))
    return bytes(out[:size])
