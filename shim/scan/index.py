"""Finds and fetches source distributions on the indexes that pip is configured with, without running their code.

Speaks the simple repository API, HTML (PEP 503) and JSON (PEP 691); index addresses and certificates are pip's.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import netrc
import re
import shutil
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shim.errors import InputError, ToolError
from shim.process import run
from shim.scan.index_page import IndexFile, parse_page

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

_ACCEPT: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_PAGE_LIMIT: Final = 64 << 20
_TIMEOUT: Final = 60  # seconds without an answer
_SUFFIXES: Final = (".tar.gz", ".zip")


def fetch_sdist(requirement: Requirement, *, python: str | None, folder: Path) -> Path | None:
    """Fetch the newest source distribution that fits; None when no index has one.

    Raises:
        ToolError: no index answers, or pip cannot say which there are.
        InputError: the file is not the one that the index describes.
    """
    from shim.scan.fetch import pip_command

    settings = pip_settings(pip_command())
    context = _context(settings)
    best = choose(_listed(requirement.name, settings, context), requirement, python=python)
    return None if best is None else _download(best, folder, context)


def choose(files: Iterable[IndexFile], requirement: Requirement, *, python: str | None) -> IndexFile | None:
    """The newest source distribution that meets the requirement and runs on that Python."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

    version_of_python = python or "{}.{}.{}".format(*sys.version_info[:3])
    found: dict[Version, IndexFile] = {}
    for file in files:
        try:
            name, version = parse_sdist_filename(file.name)
            fits = SpecifierSet(file.requires_python).contains(version_of_python, prereleases=True)
        except (InvalidSdistFilename, InvalidSpecifier):
            continue
        if name == canonicalize_name(requirement.name) and fits and not file.yanked:
            found.setdefault(version, file)
    chosen = max(requirement.specifier.filter(found), default=None)
    return None if chosen is None else found[chosen]


def pip_settings(pip: Iterable[str]) -> Mapping[str, str]:
    """pip's own settings for `download`: index-url, extra-index-url, find-links, cert ...

    Raises:
        ToolError: pip does not say.
    """
    command = list(pip)
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in run([*command, "config", "list"]).check().stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in found and value:
            found[section][option] = str(ast.literal_eval(value))
    settings = {**found["global"], **found["download"], **found[":env:"]}
    if "index-url" not in settings and settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        usage = " ".join(run([*command, "download", "--help"]).check().stdout.split())
        default = re.search(r"--index-url <url>.{0,80}?\(default (\S+?)\)", usage)
        if default is None:
            raise ToolError("pip does not say which index it uses", hint="set PIP_INDEX_URL")
        settings["index-url"] = default[1]
    return settings


def _listed(name: str, settings: Mapping[str, str], context: ssl.SSLContext) -> Iterator[IndexFile]:
    from packaging.utils import canonicalize_name

    for folder in settings.get("find-links", "").split():
        path = Path(folder.removeprefix("file://"))
        if path.is_dir():
            yield from (_local(file) for file in sorted(path.iterdir()) if file.name.endswith(_SUFFIXES))
    indexes = [settings.get("index-url", ""), *settings.get("extra-index-url", "").split()]
    for index in filter(None, indexes):
        yield from _project(f"{index.rstrip('/')}/{canonicalize_name(name)}/", context)


def _local(path: Path) -> IndexFile:
    return IndexFile(name=path.name, url=path.absolute().as_uri(), sha256="", requires_python="", yanked=False)


def _project(url: str, context: ssl.SSLContext) -> tuple[IndexFile, ...]:
    """Files of a project on one index; () when that index does not have it."""
    local = urllib.parse.urlsplit(url)
    if local.scheme == "file":
        folder = Path(urllib.request.url2pathname(local.path))
        page = folder / "index.html"
        if page.is_file():
            return parse_page(url, page.read_bytes(), "text/html")
        return tuple(_local(path) for path in sorted(folder.iterdir())) if folder.is_dir() else ()
    try:
        with _open(url, context) as answer:
            content = answer.read(_PAGE_LIMIT)
            return parse_page(answer.geturl(), content, answer.headers.get("content-type", ""))
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return ()
        raise ToolError(f"{_public(url)}: the index answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise ToolError(f"{_public(url)}: no answer: {error}", hint="check the network and pip's settings") from error


def _open(url: str, context: ssl.SSLContext) -> HTTPResponse:
    """Ask for a page or file, with the user name and password of the address or of the netrc file."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ToolError(f"{_public(url)}: expected an http or https address")
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers={"Accept": _ACCEPT})
    login = _login(parts)
    if login:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    answer = urllib.request.urlopen(request, timeout=_TIMEOUT, context=context)
    if not isinstance(answer, HTTPResponse):
        raise ToolError(f"{_public(url)}: expected an answer over http")
    return answer


def _login(parts: urllib.parse.SplitResult) -> str:
    if parts.username is not None:
        return f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    try:
        found = netrc.netrc().authenticators(parts.hostname or "")
    except (OSError, netrc.NetrcParseError):
        return ""
    return "" if found is None else f"{found[0]}:{found[2]}"


def _public(url: str) -> str:
    """The address without user name and password, for messages."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _context(settings: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.get("cert"))
    if client := settings.get("client-cert"):
        context.load_cert_chain(client)
    return context


def _download(file: IndexFile, folder: Path, context: ssl.SSLContext) -> Path:
    """Write the file into the folder, and compare it with the hash the index gives."""
    if "/" in file.name or file.name.startswith("."):
        raise InputError(f"{_public(file.url)}: expected a file name, found {file.name!r}")
    path = folder / file.name
    digest = hashlib.sha256()
    try:
        local = urllib.parse.urlsplit(file.url)
        if local.scheme == "file":
            shutil.copyfile(urllib.request.url2pathname(local.path), path)
        else:
            with _open(file.url, context) as answer, path.open("wb") as out:
                shutil.copyfileobj(answer, out, 1 << 20)
    except (OSError, HTTPException) as error:
        raise ToolError(f"{_public(file.url)}: could not be fetched: {error}") from error
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    if file.sha256 and digest.hexdigest() != file.sha256:
        raise InputError(
            f"{_public(file.url)}: SHA-256: expected {file.sha256}, found {digest.hexdigest()}",
            hint="the file was changed on the way or on the index: do not use it",
        )
    return path
