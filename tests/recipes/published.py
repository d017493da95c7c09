"""Published files by package and version: lists, and members read one by one without fetching the whole wheel.

Indexes, certificates and time limits are pip's own (`shim.scan.index`); wheels are read by HTTP ranges, sdists are
small and fetched whole. What was read is kept in shim's cache folder under the file's SHA-256: a second run is quick.
"""

from __future__ import annotations

import io
import ssl
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Collection, Iterable
from functools import cache, cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import quote

from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from shim.errors import InputError
from shim.scan.fetch import platform_tags
from shim.scan.index import pip_settings
from shim.scan.index_page import IndexFile, parse_page
from shim.store.folder import cache_root, private_folder
from shim.toolchain.pip import pip_command

_BLOCK = 1 << 18
_ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2"}


@cache
def _settings() -> tuple[str, ssl.SSLContext]:
    settings = pip_settings(pip_command("the published files"))
    return settings["index-url"].rstrip("/"), ssl.create_default_context(cafile=settings.get("cert"))


@cache
def files(package: str) -> tuple[IndexFile, ...]:
    """The files that the first index of pip's settings lists for a package."""
    index, context = _settings()
    request = urllib.request.Request(f"{index}/{package}/", headers=_ACCEPT)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return parse_page(answer.geturl(), answer.read(), answer.headers.get("content-type", ""))


def choose(package: str, version: str, filename: str, python: str) -> IndexFile:
    """The sdist, or the wheel that a machine takes: `sdist`, `manylinux aarch64`, `manylinux x86_64`, `any`."""
    wanted = Version(version)
    for file in files(package):
        try:
            if filename == "sdist":
                if parse_sdist_filename(file.name)[1] == wanted:
                    return file
                continue
            _, found, _, tags = parse_wheel_filename(file.name)
        except (InvalidSdistFilename, InvalidWheelFilename):
            continue
        if found == wanted and any(_fits(tag, filename, python) for tag in tags):
            return file
    raise InputError(f"{package} {version}: the index has no {filename} for Python {python}")


def versions(package: str, filename: str, python: str) -> tuple[Version, ...]:
    """Versions of which such a file is published, oldest first; yanked ones too."""
    found = set()
    for file in files(package):
        try:
            if filename == "sdist":
                found.add(parse_sdist_filename(file.name)[1])
            else:
                _, version, _, tags = parse_wheel_filename(file.name)
                if any(_fits(tag, filename, python) for tag in tags):
                    found.add(version)
        except (InvalidSdistFilename, InvalidWheelFilename):
            continue
    return tuple(sorted(found))


@cache
def _platforms(machine: str) -> frozenset[str]:
    return frozenset(platform_tags(machine))


def _fits(tag: Tag, filename: str, python: str) -> bool:
    platform = tag.platform in (("any",) if filename == "any" else _platforms(filename.split()[-1]))
    major, minor = python.split(".")
    if tag.interpreter in (f"cp{major}{minor}", f"py{major}", "py2"):
        return platform
    older = tag.interpreter[:3] in ("cp3", "py3") and int(tag.interpreter[3:] or 0) <= int(minor)
    return platform and older and tag.abi in ("abi3", "none")


@lru_cache(maxsize=4)
def tree(package: str, version: str, filename: str, python: str) -> PublishedTree:
    """The published file of a version as a source tree; the last few stay open."""
    file = choose(package, version, filename, python)
    return SdistTree(file) if filename == "sdist" else WheelTree(file)


def occurs_in(package: str, version: str, filename: str, member: str, text: bytes) -> bool:
    """Whether a member of a wheel holds a text. It is read as a stream and not kept; False when there is none."""
    source = tree(package, version, filename, "3.12")
    assert isinstance(source, WheelTree)
    if member not in source.names():
        return False
    tail = b""
    with source.open(member) as stream:
        while piece := stream.read(1 << 24):
            if text in tail + piece:
                return True
            tail = piece[-len(text) :]
    return False


class PublishedTree:
    """A source tree whose files are read when asked for, and kept."""

    def __init__(self, file: IndexFile) -> None:
        self.file = file
        self._root = private_folder(cache_root() / "published") / (file.sha256[:24] or quote(file.name, ""))

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        listed = self._root / "names"
        if not listed.is_file():
            self._keep(listed, "\n".join(self._names()).encode())
        return tuple(listed.read_text("utf-8").split("\n"))

    def names(self) -> Collection[str]:
        return self._listed

    def read(self, name: str) -> bytes:
        kept = self._root / "files" / quote(name, "")
        if not kept.is_file():
            if name not in self._listed:
                raise InputError(f"{self.file.name}: {name}: no such file")
            self._keep(kept, self._read(name))
        return kept.read_bytes()

    def _keep(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{id(data)}")
        temporary.write_bytes(data)
        temporary.replace(path)

    def _names(self) -> Iterable[str]:
        raise NotImplementedError

    def _read(self, name: str) -> bytes:
        raise NotImplementedError


class WheelTree(PublishedTree):
    """Members of a wheel, by ranges."""

    def __init__(self, file: IndexFile) -> None:
        super().__init__(file)
        self._archive: zipfile.ZipFile | None = None

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None:
            self._archive = zipfile.ZipFile(io.BufferedReader(_Ranged(self.file.url), _BLOCK))
        return self._archive

    def open(self, name: str) -> IO[bytes]:
        return self._open().open(name)

    def _names(self) -> Iterable[str]:
        return [one.filename for one in self._open().infolist() if not one.is_dir()]

    def _read(self, name: str) -> bytes:
        return self._open().read(name)


class SdistTree(PublishedTree):
    """Files of a source distribution, without its top folder."""

    def _fetch(self) -> bytes:
        kept = self._root / "archive"
        if not kept.is_file():
            with urllib.request.urlopen(self.file.url, timeout=60, context=_settings()[1]) as answer:
                self._keep(kept, answer.read())
        return kept.read_bytes()

    @cached_property
    def _members(self) -> dict[str, bytes]:
        data = io.BytesIO(self._fetch())
        if self.file.name.endswith(".zip"):
            with zipfile.ZipFile(data) as archive:
                return {_below(one.filename): archive.read(one) for one in archive.infolist() if not one.is_dir()}
        found = {}
        with tarfile.open(fileobj=data) as archive:
            for one in archive:
                stream = archive.extractfile(one) if one.isreg() else None
                if stream is not None:
                    found[_below(one.name)] = stream.read()
        return found

    def _names(self) -> Iterable[str]:
        return sorted(self._members)

    def _read(self, name: str) -> bytes:
        return self._members[name]


def _below(name: str) -> str:
    parts = PurePosixPath(name).parts
    return "/".join(parts[1:]) if len(parts) > 1 else name


class _Ranged(io.RawIOBase):
    """A file on a web server, read by ranges."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._at = url, 0
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=60, context=_settings()[1]) as answer:
            self._size = int(answer.headers["content-length"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        headers = {"Range": f"bytes={self._at}-{end - 1}"}
        request = urllib.request.Request(self._url, headers=headers)
        with urllib.request.urlopen(request, timeout=60, context=_settings()[1]) as answer:
            if answer.status != 206:
                raise InputError(f"{self._url}: the server does not give ranges")
            data = answer.read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def main() -> None:
    """`python -m tests.recipes.published PACKAGE FILENAME PYTHON [VERSION [MEMBER ...]]`: look at a published file."""
    package, filename, python, *rest = sys.argv[1:]
    if not rest:
        print(*versions(package, filename, python))
        return
    source = tree(package, rest[0], filename, python)
    for name in rest[1:]:
        sys.stdout.buffer.write(source.read(name))
    if len(rest) == 1:
        print(source.file.name, *source.names(), sep="\n")


if __name__ == "__main__":
    main()
