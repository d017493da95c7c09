"""Single members of large published wheels, read in pieces over HTTP: 50 KB instead of 800 MB."""

from __future__ import annotations

import io
import ssl
import urllib.request
import zipfile
from collections.abc import Sequence

from shim.scan.index import pip_settings
from shim.scan.index_page import parse_page
from shim.toolchain.pip import pip_command

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_PIECE = 1 << 17


class RemoteFile(io.RawIOBase):
    """A file behind a URL whose server answers range requests."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._url, self._context, self._at = url, context, 0
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            self._size = int(answer.headers["content-length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={self._at}-{end - 1}"})
        with urllib.request.urlopen(request, context=self._context, timeout=60) as answer:
            assert answer.status == 206, "the index does not answer range requests"
            data = answer.read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def read_members(name: str, version: str, tag: str, members: Sequence[str]) -> dict[str, bytes]:
    """Bytes by member name of the published wheel `name`-`version` whose file name ends in `tag`.whl."""
    settings = pip_settings(pip_command(name))
    context = ssl.create_default_context(cafile=settings.get("cert"))
    page = f"{settings['index-url'].rstrip('/')}/{name}/"
    request = urllib.request.Request(page, headers={"Accept": _ACCEPT})
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        files = parse_page(answer.geturl(), answer.read(), answer.headers.get("content-type", ""))
    wanted = f"{name}-{version}-"
    url = next(file.url for file in files if file.name.startswith(wanted) and file.name.endswith(f"{tag}.whl"))
    with zipfile.ZipFile(io.BufferedReader(RemoteFile(url, context), _PIECE)) as archive:
        return {member: archive.read(member) for member in members}
