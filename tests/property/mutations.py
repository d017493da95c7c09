"""Damages real files at random, and reads what comes out.

    python -m tests.property.mutations NAME FILE FIRST COUNT

Every case is made from (NAME, number) alone, so that one that fails can be made again. The number of each case is
written before it is read: a process that dies or hangs names the case that did it.
"""

from __future__ import annotations

import faulthandler
import random
import resource
import struct
import sys
import tempfile
import traceback
from pathlib import Path

from shim.devicecode import DeviceCode, ImageKind, StreamReader, decode, kernels_in, read_path
from shim.errors import InputError

SECONDS = 10  # for one case; a good file of this size takes milliseconds
MEMORY = 4 << 30  # address space of the process
_DECODE_LIMIT = 16 << 20
_MAGICS = (b"\x7fELF", b"\x50\xed\x55\xba", b"\xb1\x43\x62\x46", b"\x28\xb5\x2f\xfd", b".version", b"`\n")
_ODD = (
    0,
    1,
    7,
    8,
    0x3F,
    0x40,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    2**31,
    2**32 - 1,
    2**32,
    2**63,
    2**64 - 8,
    2**64 - 1,
)


def hot_places(data: bytes) -> list[int]:
    """Starts of the structures that matter: headers, records, tables. Half of all changes go there."""
    places = [0]
    for magic in _MAGICS:
        at = data.find(magic)
        while at >= 0 and len(places) < 4000:
            places.append(at)
            at = data.find(magic, at + 1)
    if data.startswith(b"\x7fELF"):
        shoff, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
        headers = [shoff + 64 * i for i in range(count)]
        places += headers
        places += [struct.unpack_from("<Q", data, at + 24)[0] for at in headers]
    return [at for at in places if at < len(data)]


def mutate(data: bytes, hot: list[int], rng: random.Random) -> bytes:
    """One to six changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not out:
            break
        at = rng.choice(hot) + rng.randrange(128) if rng.random() < 0.5 else rng.randrange(len(out))
        at = min(at, len(out) - 1)
        length = min(rng.choice((1, 2, 4, 8, 16, 64, 300)), len(out) - at)
        match rng.randrange(9):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2 | 3 | 4:
                size = rng.choice((2, 4, 8))
                at -= at % size
                value = rng.choice((*_ODD, len(out), rng.randrange(2 * len(out)))) % 256**size
                out[at : at + size] = value.to_bytes(size, "little")[: len(out) - at]
            case 5:
                out[at : at + length] = bytes(length)
            case 6:
                del out[at : at + length]
            case 7:
                source = rng.randrange(len(out))
                out[at : at + length] = out[source : source + length]
            case 8:
                del out[rng.choice((at, len(out) - rng.randrange(64) - 1)) :]
    return bytes(out)


def stream(data: bytes, name: str, rng: random.Random) -> DeviceCode:
    reader = StreamReader(name, len(data))
    at = 0
    while at < len(data):
        step = rng.randint(1, 1 << rng.randint(4, 18))
        reader.feed(data[at : at + step])
        at += step
    return reader.finish(lambda ranges: [data[offset : offset + size] for offset, size in ranges])


def outcome(read) -> tuple[object, DeviceCode | None]:
    try:
        code = read()
        return (code.groups, tuple(code.containers), code.wrappers, code.loose, code.unknown, code.needed), code
    except InputError as error:
        return str(error), None


def read_images(data: bytes, code: DeviceCode) -> None:
    """Decodes the images, and reads their kernels; what does not decode is an InputError."""
    for container in list(code.containers)[:50]:
        for image in container.images:
            try:
                plain = decode(
                    image, data[image.payload_offset : image.payload_offset + image.payload_size], limit=_DECODE_LIMIT
                )
                kernels_in(image.kind, plain)
            except InputError:
                continue
    for image in code.loose:
        try:
            kernels_in(image.kind, data[image.offset : image.offset + image.size])
        except InputError:
            assert image.kind in (ImageKind.PTX, ImageKind.SASS)


def check(data: bytes, name: str, path: Path, rng: random.Random) -> bool:
    """Reads one damaged file in both ways. True when it was refused. Anything but an InputError gets out."""
    path.write_bytes(data)
    mapped, code = outcome(lambda: read_path(path, member=name))
    streamed, _ = outcome(lambda: stream(data, name, rng))
    assert mapped == streamed, "a stream gives something else than a mapping"
    if code is not None:
        read_images(data, code)
    return code is None


def main(name: str, source: str, first: int, count: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    data = Path(source).read_bytes()
    hot = hot_places(data)
    refused = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            print(f"case {number}", flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            rng = random.Random(f"{name}:{number}")
            try:
                refused += check(mutate(data, hot, rng), name, Path(folder, name), rng)
            except Exception:  # noqa: BLE001 - any other exception than those of shim is what is looked for
                failed += 1
                print(f"FAILED {name}:{number}\n{traceback.format_exc()}", flush=True)
            faulthandler.cancel_dump_traceback_later()
    print(f"refused {refused}, failed {failed}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
