"""The least that changing one large member of a wheel can cost: inflate it and deflate it again with ISA-L, as many
pieces at a time as there are cores, flushed to disk.

python bare_redeflate.py WHEEL MEMBER OUT
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import isal.isal_zlib
from bare_inflate import pieces

_CHUNK = 1 << 20
_LEVEL = 3  # what shim uses


def deflated(chunk: bytes) -> bytes:
    """One chunk that ends on a byte."""
    engine = isal.isal_zlib.compressobj(_LEVEL, isal.isal_zlib.DEFLATED, -15)
    return engine.compress(chunk) + engine.flush(isal.isal_zlib.Z_SYNC_FLUSH)


def main() -> None:
    path, member, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    ahead = 2 * (os.cpu_count() or 1)
    work: deque[Future[bytes]] = deque()
    done = 0
    with (
        zipfile.ZipFile(path) as archive,
        path.open("rb") as file,
        out.open("wb") as sink,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        info = archive.getinfo(member)
        for chunk in pieces(file.fileno(), info, _CHUNK):
            done += len(chunk)
            work.append(pool.submit(deflated, chunk))
            if len(work) > ahead:
                sink.write(work.popleft().result())
        sink.writelines(future.result() for future in work)
        sink.flush()
        os.fsync(sink.fileno())
    if done != info.file_size:
        sys.exit(f"inflated {done} of {info.file_size} bytes")


if __name__ == "__main__":
    main()
