"""Streams files of hundreds of megabytes that are made as they go, and prints the peak memory it took.

python -m tests.property.reader_memory CASE MEGABYTES
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from shim.devicecode import StreamReader
from shim.errors import InputError
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import PTX, Image
from tests.builders.hostfile import Code

PIECE = bytes(1 << 20)
ONE = fatbin.container(Image(kind=PTX, arch=80, payload=fatbin.ptx()))


def stretched(small: hostfile.HostFile, megabytes: int) -> Iterator[bytes]:
    """The file with zeros before its section headers."""
    shoff = struct.unpack_from("<Q", small.data, 40)[0]
    yield fatbin.poke(small.data[:shoff], 40, "<Q", shoff + (megabytes << 20))
    yield from (PIECE for _ in range(megabytes))
    yield small.data[shoff:]


def library(megabytes: int) -> Iterator[bytes]:
    yield from stretched(hostfile.shared([Code(data=ONE)], needed=("libc.so.6",)), megabytes)


def payload(megabytes: int) -> Iterator[bytes]:
    """One image that is nearly the whole file."""
    size = megabytes << 20
    entry = bytearray(Image(kind=fatbin.CUBIN, arch=121, payload=b"").encode())
    struct.pack_into("<Q", entry, 8, size)
    yield struct.pack("<IHHQ", fatbin.CONTAINER_MAGIC, 1, 16, len(entry) + size) + bytes(entry)
    yield from (PIECE for _ in range(megabytes))


def archive(megabytes: int) -> Iterator[bytes]:
    """Members larger than what is kept of one, so that all of them wait for a second look."""
    made = hostfile.obj([Code(data=ONE)])
    yield b"!<arch>\n"
    for number in range(megabytes // 32):
        size = len(made.data) + (32 << 20)
        yield f"{f'm{number}.o/':<48}{size:<10}`\n".encode()
        yield from stretched(made, 32)


def containers(megabytes: int) -> Iterator[bytes]:
    """Nothing but small containers: what they are described by is limited."""
    small = fatbin.container(Image(kind=PTX, arch=80, payload=fatbin.ptx(), name="n" * 1000))
    many = small * ((1 << 20) // len(small))
    for _ in range(megabytes):
        yield many + bytes((1 << 20) - len(many))


def bare_cubins(megabytes: int) -> Iterator[bytes]:
    """Heads of cubins, each of which claims four megabytes of what follows."""
    head = bytearray(64)
    head[:9] = b"\x7fELF\x02\x01\x01\x41\x08"
    struct.pack_into("<HH", head, 16, 2, 190)
    struct.pack_into("<QQ", head, 32, 0, (4 << 20) - 64)
    struct.pack_into("<HHHH", head, 54, 0, 0, 64, 1)
    base = hostfile.shared([]).data
    yield base + bytes(-len(base) % 8)
    for _ in range(megabytes):
        yield bytes(head) * ((1 << 20) // 64)


CASES = {f.__name__: f for f in (library, payload, archive, containers, bare_cubins)}
NAMES = {"archive": "lib.a", "payload": "a.fatbin", "containers": "a.fatbin"}


def ranges_of(case: str, megabytes: int, wanted: tuple[int, int]) -> bytes:
    """The bytes of a range, by making the file again."""
    offset, size = wanted
    out = b""
    at = 0
    for piece in CASES[case](megabytes):
        if at + len(piece) > offset and at < offset + size:
            out += piece[max(0, offset - at) : offset + size - at]
        at += len(piece)
    return out


def peak_kilobytes() -> int:
    """Of this process alone: the peak that getrusage gives starts with that of the parent."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def main(case: str, megabytes: int) -> None:
    total = sum(map(len, CASES[case](megabytes)))
    before = peak_kilobytes()
    reader = StreamReader(NAMES.get(case, "lib.so"), total)
    try:
        for piece in CASES[case](megabytes):
            reader.feed(piece)
        code = reader.finish(lambda ranges: [ranges_of(case, megabytes, r) for r in ranges])
        found = f"{len(code.containers)} containers, {len(code.wrappers)} wrappers"
    except InputError as error:
        found = f"refused: {error}"
    print(f"{(peak_kilobytes() - before) >> 10} MB; {found}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
