"""Installed distributions: where an environment keeps them, which files they own, and what those hold."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from shim.arch import Target
from shim.errors import InputError
from shim.model import Finding, Subject
from shim.scan.options import ScanOptions
from shim.scan.package import Identity, PackageScan, scan_package
from shim.scan.sources import TreeSource, unreadable

_SITE = (
    "lib/python3*/site-packages",
    "lib64/python3*/site-packages",
    "lib/python3*/dist-packages",
    "local/lib/python3*/dist-packages",
)
_DIST_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed distribution: its name and version as spelt, and its dist-info folder."""

    name: str
    version: str
    dist_info: Path

    @property
    def site(self) -> Path:
        """The folder that RECORD's paths start from."""
        return self.dist_info.parent

    @property
    def record(self) -> Path:
        """The list of its files."""
        return self.dist_info / "RECORD"


def distributions(prefix: Path) -> tuple[Distribution, ...]:
    """Every distribution installed under a prefix, by name.

    Args:
        prefix: of an environment (`sys.prefix` of its interpreter), or a site-packages folder itself.

    Raises:
        InputError: nothing is installed there, or the folder cannot be read.
    """
    found: dict[Path, Distribution] = {}
    for site in _sites(prefix):
        try:
            folders = sorted(site.glob("*.dist-info"))
        except OSError as error:
            raise unreadable(site, error) from error
        for folder in folders:
            match = _DIST_INFO.fullmatch(folder.name)
            if match is not None:
                found.setdefault(
                    folder.resolve(), Distribution(name=match["name"], version=match["version"], dist_info=folder)
                )
    if not found:
        raise InputError(
            f"{prefix}: expected an environment with installed distributions, found none",
            hint="name the folder that holds bin/ and lib/, or a site-packages folder",
        )
    return tuple(sorted(found.values(), key=lambda one: one.name.lower()))


def find_distribution(name: str, prefix: Path) -> Distribution | None:
    """The installed distribution of that name (any spelling), None when there is none."""
    wanted = _normalized(name)
    try:
        everything = distributions(prefix)
    except InputError:
        return None
    return next((one for one in everything if _normalized(one.name) == wanted), None)


def default_prefix(environment: dict[str, str] | None = None) -> Path:
    """The active virtual environment, else the one shim runs in."""
    import os

    active = (os.environ if environment is None else environment).get("VIRTUAL_ENV")
    return Path(active or sys.prefix)


def scan_distribution(distribution: Distribution, options: ScanOptions, *, explain: bool = True) -> PackageScan:
    """Judge what RECORD lists. Files that cannot be read are in the result's errors.

    Args:
        explain: find out what a distribution without device code is.

    Raises:
        InputError: RECORD is missing or malformed.
    """
    source = TreeSource(distribution.site, owned_files(distribution))
    identity = Identity(
        subject=Subject.DISTRIBUTION,
        name=distribution.name,
        version=distribution.version,
        file=str(distribution.dist_info),
        size=sum(file.size for file in source.files),
        explain=explain,
        required=lambda machine: _required(distribution, machine),
    )
    return scan_package(identity, source, options)


def triton_of(distribution: Distribution, target: Target) -> tuple[Finding, ...]:
    """Findings about an installed Triton; () for any other distribution. They depend on variables: never cached."""
    from shim.scan.triton import triton_findings
    from shim.toolchain.triton_bundle import PROGRAMS, is_triton

    if not is_triton(distribution.name):
        return ()
    programs = [f"{PROGRAMS}/{name}" for name in ("ptxas", "ptxas-blackwell")]
    source = TreeSource(distribution.site, [name for name in programs if _is_regular(distribution.site / name)])
    return triton_findings(distribution.name, distribution.version, source, target, installed=distribution.site)


def owned_files(distribution: Distribution) -> tuple[str, ...]:
    """Regular files listed in RECORD, relative to its site folder; those that are gone are left out.

    Raises:
        InputError: RECORD is missing or malformed.
    """
    from shim.wheels.record import parse_record

    try:
        text = distribution.record.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{distribution.dist_info}: has no RECORD, so its files are unknown",
            hint="it was installed by another tool than pip or uv: scan its folder instead",
        ) from error
    except OSError as error:
        raise unreadable(distribution.record, error) from error
    try:
        rows = parse_record(text)
    except InputError as error:
        raise InputError(f"{distribution.record}: {error.message}", hint=error.hint) from error
    return tuple(dict.fromkeys(row.path for row in rows if _is_regular(distribution.site / row.path)))


def _is_regular(path: Path) -> bool:
    """A RECORD may list anything, devices and pipes included, which must not even be opened."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _sites(prefix: Path) -> Iterator[Path]:
    if any(prefix.glob("*.dist-info")):
        yield prefix
    for pattern in _SITE:
        yield from sorted(prefix.glob(pattern))


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(distribution: Distribution, machine: str | None) -> Collection[str]:
    from shim.scan.requirements import names_for
    from shim.wheels.metadata import parse_metadata

    path = distribution.dist_info / "METADATA"
    try:
        metadata = parse_metadata(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    return names_for(metadata.requires_dist, machine)
