"""Facts of files read without a grammar: Makefiles, shell scripts, pyproject.toml, setup.cfg, meson.build."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from shim.source.buildfiles.archs import GENCODE, NVCC_ARCH, read_gencode, read_list
from shim.source.buildfiles.model import ArchMention, BuildSystem, FileFacts, MentionKind, StandardFlag
from shim.source.buildfiles.spans import Text
from shim.source.buildfiles.variables import role_of

_LARGEST: Final = 1 << 20
_COMMENT: Final = re.compile(rb"[ \t]*#")
_ASSIGNED: Final = re.compile(
    rb"(?<!\w)(?:-D)?(?P<name>[A-Z][A-Z0-9_]{3,60})(?::[A-Z]+)?(?P<sign>[\"']?[ \t]*[:?]?=[ \t]*)(?P<quote>[\"']?)"
    rb"(?:\$\{(?P=name):-)?(?P<value>(?:sm_|compute_)?[0-9][0-9A-Za-z.;,+ _-]*)(?P=quote)"
)
_STANDARD: Final = re.compile(rb"(?<![\w-])--?std=(?:c|gnu)\+\+(?P<number>\d\d)(?!\w)")
_BACKEND: Final = re.compile(rb"^[ \t]*build-backend[ \t]*=[ \t]*[\"'](?P<name>[\w.]+)", re.MULTILINE)
_SYSTEMS: Final = (
    (b"scikit_build_core", BuildSystem.SCIKIT_BUILD_CORE),
    (b"skbuild", BuildSystem.SCIKIT_BUILD),
    (b"setuptools", BuildSystem.SETUPTOOLS),
    (b"py_build_cmake", BuildSystem.CMAKE),
    (b"mesonpy", BuildSystem.MESON),
)


def text_facts(source: bytes, path: str) -> FileFacts:
    """Facts of one file. Lines that are comments are left out."""
    if len(source) > _LARGEST:
        return FileFacts()
    text = Text(source)
    return FileFacts(
        archs=tuple(sorted(_archs(text, path), key=lambda mention: mention.start)),
        standards=tuple(
            StandardFlag(**_place(match, text, path), standard=int(match["number"]))
            for match in _STANDARD.finditer(source)
            if not _commented(source, match.start())
        ),
        builds=True,
        system=_system(source) if path.endswith("pyproject.toml") else None,
    )


def _system(source: bytes) -> BuildSystem | None:
    match = _BACKEND.search(source)
    if match is None:
        return None
    return next((system for name, system in _SYSTEMS if match["name"].startswith(name)), BuildSystem.OTHER)


def _archs(text: Text, path: str) -> Iterator[ArchMention]:
    source = text.source
    for match in GENCODE.finditer(source):
        if not _commented(source, match.start()):
            named = read_gencode(match["code"].decode())
            computed = any(sign in match[0] for sign in (b"{", b"%", b"$"))
            yield ArchMention(
                **_place(match, text, path),
                kind=MentionKind.GENCODE,
                archs=named.archs,
                sass=named.sass,
                virtual=named.virtual,
                computed=computed,
            )
    for match in NVCC_ARCH.finditer(source):
        read = read_list(match["value"].decode(), bare_is_both=True)
        if not _commented(source, match.start()) and read is not None:
            fields = _place(match, text, path, "value")
            yield ArchMention(
                **fields, kind=MentionKind.NVCC_ARCH, archs=read.archs, sass=read.sass, virtual=read.virtual
            )
    for match in _ASSIGNED.finditer(source):
        name = match["name"].decode()
        cmake = name == "CMAKE_CUDA_ARCHITECTURES"
        read = read_list(match["value"].decode(), bare_is_both=cmake)
        if role_of(name) == "archs" and read is not None and not _commented(source, match.start()):
            yield ArchMention(
                **_place(match, text, path, "value"),
                kind=MentionKind.CMAKE if cmake else MentionKind.ENV,
                archs=read.archs,
                sass=read.sass,
                virtual=read.virtual,
                variable=name,
                overridable=b"?" in match["sign"] or b":-" in match[0],
            )


def _place(match: re.Match[bytes], text: Text, path: str, group: str | int = 0) -> dict[str, Any]:
    start, end = match.span(group)
    stop = start + len(text.source[start:end].rstrip(b" ;,-"))
    return {"path": path, "line": text.line(start), "start": start, "end": stop, "text": text.decode(start, stop)}


def _commented(source: bytes, at: int) -> bool:
    return _COMMENT.match(source, source.rfind(b"\n", 0, at) + 1, at + 1) is not None
