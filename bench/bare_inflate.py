"""The least a scan of a wheel can do: inflate every member with ISA-L, as many at a time as shim does, and not look.

python bare_inflate.py WHEEL
"""

from __future__ import annotations

import os
import struct
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isal import igzip_lib

_INPUT = 256 << 10
_PIECE = 1 << 20
_MOST_THREADS = 4


def pieces(descriptor: int, member: zipfile.ZipInfo, size: int) -> Iterator[bytes]:
    """The contents of a member, in pieces of at most `size`."""
    name, extra = struct.unpack("<2H", os.pread(descriptor, 4, member.header_offset + 26))
    offset = member.header_offset + 30 + name + extra
    end = offset + member.compress_size
    if member.compress_type == zipfile.ZIP_STORED:
        yield from (os.pread(descriptor, min(size, end - at), at) for at in range(offset, end, size))
        return
    engine = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
    while not engine.eof:
        data = os.pread(descriptor, min(_INPUT, end - offset), offset) if engine.needs_input else b""
        offset += len(data)
        yield engine.decompress(data, size)


def inflate(descriptor: int, member: zipfile.ZipInfo) -> int:
    """Bytes inflated."""
    return sum(len(piece) for piece in pieces(descriptor, member, _PIECE))


def main() -> None:
    path = Path(sys.argv[1])
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        members = sorted(archive.infolist(), key=lambda member: -member.file_size)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
            done = sum(pool.map(lambda member: inflate(file.fileno(), member), members))
    expected = sum(member.file_size for member in members)
    if done < expected:
        sys.exit(f"inflated {done} of {expected} bytes")


if __name__ == "__main__":
    main()
