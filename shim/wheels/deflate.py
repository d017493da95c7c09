"""Deflating new contents: chunks of fixed size, compressed side by side, joined to one valid deflate stream.

Each chunk but the last ends with a sync flush, so that the next one starts on a byte; each takes the 32 KiB
before it as its dictionary, so that matches reach across. The bytes do not depend on the number of threads.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from enum import StrEnum

import isal
from isal import isal_zlib

from shim.wheels.blocks import WINDOW
from shim.wheels.content import Content

__all__ = ["DeflateMode", "deflate", "deflate_identity"]

CHUNK = 1 << 20
"""Contents compressed by one thread at once. 1 and 4 MiB give the same size (within 0.1 %) and speed."""

_FEED = 128 << 10
"""Contents handed to the compressor at once. With whole chunks its output buffer is enlarged many times under
Python's lock, and two threads are hardly faster than one (measured: 0.74 against 0.39 s for 307 MB)."""

_FAST_LEVEL = 3
_CANONICAL_LEVEL = 6


class DeflateMode(StrEnum):
    """How changed members are compressed."""

    FAST = "fast"
    """ISA-L level 3: the same bytes on the same kind of CPU only."""

    CANONICAL = "canonical"
    """zlib level 6: the same bytes on every CPU, about ten times slower."""


def deflate_identity(mode: DeflateMode) -> str:
    """Library, version and level that decide the compressed bytes, for a provenance record."""
    if mode is DeflateMode.FAST:
        return f"isa-l {isal.ISAL_VERSION} level {_FAST_LEVEL}"
    return f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_CANONICAL_LEVEL}"


def deflate(
    content: Content, start: int, stop: int, *, mode: DeflateMode, final: bool, pool: Executor, ahead: int
) -> Iterator[bytes]:
    """Compress a range of contents to a raw deflate stream, or to a piece of one that ends on a byte.

    Args:
        content: what the range is taken from; up to 32 KiB before `start` serve as history.
        start: first byte, and `stop`: first byte behind the range.
        mode: compressor.
        final: end the stream here.
        pool: runs the chunks.
        ahead: chunks in work at once; bounds the memory to about twice as many MiB.
    """
    offsets = range(start, stop, CHUNK) if stop > start else range(start, start + (1 if final else 0))
    work: deque[Future[list[bytes]]] = deque()
    try:
        for offset in offsets:
            end = min(offset + CHUNK, stop)
            last = final and end == stop
            work.append(pool.submit(_chunk, content, offset, end, mode, last))
            if len(work) > ahead:
                yield from work.popleft().result()
        while work:
            yield from work.popleft().result()
    finally:
        for future in work:
            future.cancel()


def _chunk(content: Content, start: int, stop: int, mode: DeflateMode, last: bool) -> list[bytes]:
    history = content.read(max(start - WINDOW, 0), min(start, WINDOW))
    engine: isal_zlib.Compress | zlib._Compress
    if mode is DeflateMode.FAST:
        engine = isal_zlib.compressobj(_FAST_LEVEL, isal_zlib.DEFLATED, -15, zdict=history)
    else:
        engine = zlib.compressobj(_CANONICAL_LEVEL, zlib.DEFLATED, -15, zdict=history)
    out = [engine.compress(piece) for piece in content.pieces(start, stop, _FEED)]
    out.append(engine.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH))
    return out
