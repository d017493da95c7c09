"""METADATA and WHEEL: what a wheel says about itself."""

from __future__ import annotations

import email.parser
import email.policy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from shim.errors import InputError
from shim.wheels.archive import WheelArchive

__all__ = [
    "Metadata",
    "WheelFile",
    "parse_metadata",
    "parse_wheel_file",
    "read_metadata",
    "read_wheel_file",
    "with_build",
]

_MAX_SIZE = 2 << 20
_MAX_TAGS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """METADATA, as far as shim needs it. A field that cannot be read is left out and named in `faults`."""

    name: str
    version: str
    """As written; `parsed_version` is None when it is not a version."""

    parsed_version: Version | None
    summary: str
    license: str
    """License-Expression, else License."""

    classifiers: tuple[str, ...]
    requires_python: SpecifierSet | None
    requires_dist: tuple[Requirement, ...]
    faults: tuple[str, ...]
    """What could not be read, each with its field and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """The WHEEL file."""

    wheel_version: str
    generator: str
    root_is_purelib: bool
    tags: frozenset[Tag]
    build: str
    """Build tag, empty when there is none."""


def read_metadata(archive: WheelArchive) -> Metadata:
    """METADATA of a wheel.

    Raises:
        InputError: the wheel has no METADATA, or one without name or version.
        ArchiveError: broken contents.
    """
    path = f"{archive.dist_info}/METADATA"
    data = archive.read(archive.member(path), limit=_MAX_SIZE)
    try:
        return parse_metadata(data)
    except InputError as err:
        raise InputError(f"{archive.path}: member {path!r}: {err.message}", hint=err.hint) from err


def parse_metadata(data: bytes) -> Metadata:
    """Parse the contents of a METADATA file.

    Raises:
        InputError: without a name or a version nothing can be said about a wheel.
    """
    raw, unparsed = parse_email(data)
    missing = [field for field in ("name", "version") if field not in raw]
    if missing:
        raise InputError(
            f"METADATA has no {' and no '.join(field.title() for field in missing)}",
            hint="fetch the wheel again, or tell its publisher",
        )
    faults = [f"{field}: {_short(values)}" for field, values in sorted(unparsed.items())]
    name, version = raw["name"], raw["version"]
    try:
        canonicalize_name(name, validate=True)
    except InvalidName as err:
        faults.append(f"name: {err}")
    parsed_version = None
    try:
        parsed_version = Version(version)
    except InvalidVersion as err:
        faults.append(f"version: {err}")
    return Metadata(
        name=name,
        version=version,
        parsed_version=parsed_version,
        summary=raw.get("summary", ""),
        license=raw.get("license_expression", raw.get("license", "")),
        classifiers=tuple(raw.get("classifiers", [])),
        requires_python=_requires_python(raw, faults),
        requires_dist=_requires_dist(raw, faults),
        faults=tuple(faults),
    )


def _short(values: object) -> str:
    text = str(values)
    return text if len(text) <= 200 else text[:200] + "..."


def _requires_python(raw: RawMetadata, faults: list[str]) -> SpecifierSet | None:
    text = raw.get("requires_python")
    if text is None:
        return None
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as err:
        faults.append(f"requires_python: {err}")
        return None


def _requires_dist(raw: RawMetadata, faults: list[str]) -> tuple[Requirement, ...]:
    requirements = []
    for text in raw.get("requires_dist", []):
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement as err:
            faults.append(f"requires_dist: {_short(text)}: {str(err).splitlines()[0]}")
    return tuple(requirements)


def read_wheel_file(archive: WheelArchive) -> WheelFile:
    """The WHEEL file of a wheel.

    Raises:
        InputError: there is none, or it lacks a field.
        ArchiveError: broken contents.
    """
    path = f"{archive.dist_info}/WHEEL"
    data = archive.read(archive.member(path), limit=_MAX_SIZE)
    try:
        return parse_wheel_file(data)
    except InputError as err:
        raise InputError(f"{archive.path}: member {path!r}: {err.message}", hint=err.hint) from err


def parse_wheel_file(data: bytes) -> WheelFile:
    """Parse the contents of a WHEEL file.

    Raises:
        InputError: a field is missing or malformed; all of them are named.
    """
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data, headersonly=True)
    fields: Mapping[str, str] = {key.lower(): str(value).strip() for key, value in message.items()}
    tags = [str(tag).strip() for tag in message.get_all("Tag", [])]
    faults = []
    if not re.fullmatch(r"[0-9]+\.[0-9]+", fields.get("wheel-version", "")):
        faults.append(f"Wheel-Version: expected a version, found {fields.get('wheel-version')!r}")
    elif not fields["wheel-version"].startswith("1."):
        faults.append(f"Wheel-Version: expected 1.x, found {fields['wheel-version']}")
    purelib = fields.get("root-is-purelib", "").lower()
    if purelib not in ("true", "false"):
        faults.append(f"Root-Is-Purelib: expected true or false, found {fields.get('root-is-purelib')!r}")
    if not tags or not all(tag.count("-") == 2 for tag in tags):
        faults.append(f"Tag: expected python-abi-platform, found {_short(tags)}")
    elif (count := sum(_tag_count(tag) for tag in tags)) > _MAX_TAGS:
        faults.append(f"Tag: expected at most {_MAX_TAGS} tags, found {count}")
    if faults:
        raise InputError("; ".join(faults), hint="fetch the wheel again, or tell its publisher")
    return WheelFile(
        wheel_version=fields["wheel-version"],
        generator=fields.get("generator", ""),
        root_is_purelib=purelib == "true",
        tags=frozenset(one for tag in tags for one in parse_tag(tag)),
        build=fields.get("build", ""),
    )


def _tag_count(tag: str) -> int:
    """Tags that a compressed one such as `py2.py3-none-any` stands for, without making them."""
    return math.prod(part.count(".") + 1 for part in tag.split("-"))


def with_build(data: bytes, build: str) -> bytes:
    """A WHEEL file with another `Build:`, every other byte as it was.

    The field is replaced where it stands, or added after the last field.

    Args:
        data: contents of the WHEEL file.
        build: build tag such as `1sm121`.
    """
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    field = b"Build: " + build.encode("ascii")
    head = re.match(rb"(?:[^\r\n]+(?:\r?\n|\Z))*", data)
    fields = head[0] if head else b""
    replaced, count = re.subn(rb"(?im)^build:[^\r\n]*", lambda _: field, fields, count=1)
    if not count:
        separator = b"" if not fields or fields.endswith(b"\n") else newline
        replaced = fields + separator + field + newline
    return replaced + data[len(fields) :]
