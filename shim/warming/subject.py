"""Files of a wheel, an installed distribution or a single file that hold PTX, on disk, one subject at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from shim.applying.members import read_members
from shim.devicecode import DeviceCode, ImageKind, could_hold_device_code, read_path
from shim.errors import InputError
from shim.planning.licence import is_nvidia_distribution
from shim.scan.installed import Distribution, owned_files
from shim.scan.sources import is_candidate
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.metadata import parse_metadata, read_metadata

_HEAD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A package or file on disk.

    Attributes:
        name: of the distribution, "" for a file. label: for messages.
        nvidia: the whole distribution is NVIDIA's.
        files: those with PTX, as read, and where they lie.
    """

    name: str
    label: str
    nvidia: bool
    files: tuple[tuple[DeviceCode, Path], ...]


def has_ptx(code: DeviceCode) -> bool:
    """Whether a driver could have anything to compile in this file."""
    kinds = {image.kind for group in code.groups for image in group.exemplar.images}
    return ImageKind.PTX in kinds or any(image.kind is ImageKind.PTX for image in code.loose)


@contextmanager
def open_wheel(path: Path, limits: Limits) -> Iterator[Subject]:
    """A wheel; its files with PTX are unpacked into a temporary folder while the context lasts.

    Raises:
        InputError: the wheel is not sound.
    """
    with WheelArchive.open(path, limits=limits) as archive, TemporaryDirectory(prefix="shim-warm-") as work:
        files = []
        for number, content in enumerate(read_members(archive)):
            if content.code is not None and has_ptx(content.code):
                copy = Path(work) / f"{number}-{Path(content.member.path).name}"
                archive.extract(content.member, copy)
                files.append((content.code, copy))
        licence = read_metadata(archive).license
        name = path.name if archive.name is None else archive.name.distribution
        yield Subject(
            name=name,
            label=path.name if archive.name is None else f"{name} {archive.name.version}",
            nvidia=archive.name is not None and is_nvidia_distribution(archive.name.normalized, (licence,)),
            files=tuple(files),
        )


def open_distribution(distribution: Distribution) -> Subject:
    """An installed distribution, its files where they are. Raises InputError."""
    info = distribution.dist_info / "METADATA"
    licence = parse_metadata(info.read_bytes()).license if info.is_file() else ""
    return Subject(
        name=distribution.name,
        label=f"{distribution.name} {distribution.version}",
        nvidia=is_nvidia_distribution(distribution.name.lower().replace("_", "-"), (licence,)),
        files=tuple(_read(distribution.site, owned_files(distribution))),
    )


def open_file(path: Path) -> Subject:
    """One library or GPU code file. Raises InputError."""
    code = read_path(path, member=path.name)
    if not code.has_device_code:
        raise InputError(f"{path}: holds no GPU code", hint="name a wheel, a library or a .fatbin or .ptx file")
    return Subject(name="", label=path.name, nvidia=False, files=((code, path),))


def _read(root: Path, names: Sequence[str]) -> Iterator[tuple[DeviceCode, Path]]:
    for name in names:
        path = root / name
        if not is_candidate(name):
            continue
        with path.open("rb") as stream:
            if not could_hold_device_code(name, stream.read(_HEAD)):
                continue
        code = read_path(path, member=name)
        if has_ptx(code):
            yield code, path
