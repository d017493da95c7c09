"""Reverse data read back: the header with every number checked, then the kept bytes in order (form: module `delta`)."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import IO, Any

import zstandard

from shim.errors import InputError
from shim.wheels.delta import MAGIC, Copy, Deflate, Literal, Operation
from shim.wheels.level import LEVELS
from shim.wheels.moved import Moved

__all__ = ["Literals", "UndoHeader"]

MAX_HEADER = 8 << 20
MAX_WINDOW = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoHeader:
    name: str
    size: int
    sha256: str
    prefix_size: int
    prefix_crc32: int
    zlib: str
    operations: tuple[Operation, ...]


class Literals:
    """Reverse data opened for reading: the header, then the literal bytes in order."""

    def __init__(self, raw: IO[bytes], where: str) -> None:
        self._where = where
        if raw.read(len(MAGIC)) != MAGIC:
            raise self.fault(f"expected it to start with {MAGIC!r}")
        engine = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._reader = engine.stream_reader(raw, read_across_frames=False)
        (size,) = struct.unpack("<I", self.read(4))
        if size > MAX_HEADER:
            raise self.fault(f"its header claims {size} bytes, expected at most {MAX_HEADER}")
        try:
            fields = json.loads(self.read(size))
            self.header = _parse_header(fields)
        except (ValueError, TypeError, KeyError, RecursionError) as err:
            raise self.fault(f"its header is malformed ({type(err).__name__}: {err})") from err

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        parts = []
        while size:
            try:
                part = self._reader.read(size)
            except zstandard.ZstdError as err:
                raise self.fault(str(err)) from err
            if not part:
                raise self.fault(f"it ends {size} bytes too early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def fault(self, text: str) -> InputError:
        """An error about this reverse data."""
        return InputError(
            f"{self._where}: the undo data is damaged: {text}",
            hint="get the original wheel from where it came from",
        )


def _parse_header(fields: Any) -> UndoHeader:
    """The header with every number checked to be one and in range.

    Raises:
        ValueError, TypeError, KeyError: it is not such a header.
    """
    prefix_size, prefix_crc = fields["prefix"]
    name = fields["name"]
    if not isinstance(name, str) or not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError(f"the name {name!r} is not one of a file")
    return UndoHeader(
        name=name,
        size=_number(fields["size"]),
        sha256=str(fields["sha256"]),
        prefix_size=_number(prefix_size),
        prefix_crc32=_number(prefix_crc),
        zlib=str(fields["zlib"]),
        operations=tuple(_decoded(item) for item in fields["operations"]),
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a size or an offset")
    return value


def _decoded(item: Any) -> Operation:
    match item:
        case ["copy", offset, size]:
            return Copy(offset=_number(offset), size=_number(size))
        case ["literal", size]:
            return Literal(size=_number(size))
        case ["deflate", str(path), level, size, crc, contents_size, [*ranges]]:
            if level not in LEVELS:
                raise ValueError(f"{level!r} is not a zlib level")
            return Deflate(
                path=path,
                level=level,
                size=_number(size),
                crc32=_number(crc),
                contents_size=_number(contents_size),
                ranges=tuple((_number(offset), _number(length)) for offset, length in ranges),
            )
        case ["moved", str(path), level, size, crc, contents_size, [*pieces]]:
            if level not in LEVELS:
                raise ValueError(f"{level!r} is not a zlib level")
            return Moved(
                path=path,
                level=level,
                size=_number(size),
                crc32=_number(crc),
                contents_size=_number(contents_size),
                pieces=tuple((-1 if at == -1 else _number(at), _number(length)) for at, length in pieces),
            )
        case _:
            raise ValueError(f"{str(item)[:80]} is not an operation")
