"""Read the GPU code of a file, from disk or from a stream, without unpacking anything.

The work is done in C++ (`shim._core`, GIL released); this module gives names to what it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from shim import _core
from shim.arch import Arch, ComputeCapability
from shim.devicecode.cubin_file import KEPT_CUBIN, with_facts
from shim.devicecode.model import (
    ByteRange,
    Compression,
    Container,
    ContainerGroup,
    ContainerRole,
    DeviceCode,
    GpuImage,
    ImageKind,
    LooseImage,
    Wrapper,
)
from shim.devicecode.payload import small_image_has_code
from shim.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Fetch = Callable[[Sequence[tuple[int, int]]], Iterable[bytes]]

_KINDS = {1: ImageKind.PTX, 2: ImageKind.SASS, 8: ImageKind.LTO_IR, 0x80: ImageKind.TILE_IR}
_MACHINES = {62: "x86_64", 183: "aarch64"}
_ELF_TYPES = {1: "rel", 2: "exec", 3: "dyn"}
_SUFFIX_A, _SUFFIX_F = 0x100000, 0x200000
_COMPRESSION = {0: Compression.NONE, 0x2000: Compression.LZ4, 0x8000: Compression.ZSTD}
_MAX_FETCHES = 64  # a file that needs more ranges than this one by one is not a real one

# Files with these names are read although they carry no magic, or carry it only when they are whole.
_NAMED = (".cubin", ".fatbin", ".ptx", ".ltoir")
_MAGICS = (b"\x7fELF", b"!<arch>\n", b"\x50\xed\x55\xba")


def could_hold_device_code(name: str, head: bytes) -> bool:
    """Whether a file is worth reading: by its first 8 bytes or its name."""
    return name.endswith(_NAMED) or head.startswith(_MAGICS)


def _plain(name: str) -> str:
    """The name without what cannot be UTF-8 (file names may hold any bytes); only its suffix matters."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _arch(number: int, suffix: str) -> Arch | None:
    return Arch(capability=ComputeCapability.from_sm(number), feature=suffix) if number >= 10 else None


def _suffix(flags: int) -> str:
    return "a" if flags & _SUFFIX_A else "f" if flags & _SUFFIX_F else ""


def _image(entry: _core._Entry) -> GpuImage:
    kind, arch, offset, header, payload, compressed, size, major, minor, flags = entry[:10]
    name, options, compat, captured, group = entry[10:]
    image = GpuImage(
        kind=_KINDS.get(kind, ImageKind.UNKNOWN),
        raw_kind=kind,
        arch=_arch(arch, _suffix(flags)),
        offset=offset,
        header_size=header,
        payload_offset=offset + header,
        payload_size=payload,
        compressed_size=compressed,
        size=size,
        compression=_COMPRESSION.get(flags & 0xF000, Compression.UNKNOWN),
        version=(major, minor),
        flags=flags,
        name=_text(name),
        options=_text(options),
        compat=compat,
        has_code=None,
        group=group,
    )
    return small_image_has_code(image, captured) if captured else image


def _container(report: _core.Report, index: int) -> Container:
    offset, size, role, section, entries = report.container(index)
    return Container(
        index=index,
        offset=offset,
        size=size,
        section=section,
        role=ContainerRole(role),
        images=tuple(_image(entry) for entry in entries),
    )


class _Containers(Sequence[Container]):
    """Containers made on demand: a library can hold tens of thousands, and most callers want the groups only."""

    def __init__(self, report: _core.Report) -> None:
        self._report = report

    def __len__(self) -> int:
        return self._report.container_count

    @overload
    def __getitem__(self, index: int) -> Container: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Container]: ...
    def __getitem__(self, index: int | slice) -> Container | Sequence[Container]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return _container(self._report, index % len(self))

    def __iter__(self) -> Iterator[Container]:
        return (_container(self._report, i) for i in range(len(self)))


def _groups(report: _core.Report) -> tuple[ContainerGroup, ...]:
    return tuple(
        ContainerGroup(
            exemplar=_container(report, members[0]),
            indices=tuple(members),
            stored_bytes=tuple(stored),
            decoded_bytes=tuple(decoded),
        )
        for members, stored, decoded in report.groups()
    )


def _device_code(report: _core.Report, member: str, size: int) -> DeviceCode:
    return DeviceCode(
        member=member,
        size=size,
        format=report.format,
        machine=_MACHINES.get(report.machine, ""),
        elf_type=_ELF_TYPES.get(report.elf_type, ""),
        containers=_Containers(report),
        groups=_groups(report),
        wrappers=tuple(
            Wrapper(offset=offset, version=version, pointer=pointer, target=target, container=container)
            for offset, version, pointer, target, container in report.wrappers()
        ),
        loose=tuple(
            LooseImage(
                kind=_KINDS.get(kind, ImageKind.UNKNOWN),
                arch=_arch(arch, feature),
                offset=offset,
                size=length,
                section=section,
                version=(major, minor),
            )
            for kind, arch, feature, offset, length, section, major, minor in report.loose()
        ),
        unknown=tuple(
            ByteRange(offset=offset, size=length, section=section) for offset, length, section in report.unknown()
        ),
        needed=tuple(report.needed),
        soname=report.soname,
        glibc=report.glibc,
    )


def _input_error(error: ValueError, member: str) -> InputError:
    message, offset = error.args
    return InputError(
        f"{member}: {message} (at offset {offset:#x})",
        hint="The file is damaged or was made to mislead; fetch it again from where it came from.",
    )


def read_path(path: Path, *, member: str = "") -> DeviceCode:
    """Read a file on disk through a memory mapping.

    Args:
        member: name used in messages and in the result; the path when empty.

    Raises:
        InputError: the file's ELF, wrapper, container or entry structures contradict themselves.
        OSError: the file cannot be opened.
    """
    name = member or str(path)
    try:
        report = _core.scan_path(os.fsencode(path), _plain(path.name))
    except _core.ParseError as error:
        raise _input_error(error, name) from error
    size = path.stat().st_size
    code = _device_code(report, name, size)
    return _cubin_file(code, path.read_bytes()) if _is_kept(path.name, size) else code


def _is_kept(name: str, size: int) -> bool:
    """Whether a file is read as a whole, beside the search: by its name, as a stream must be judged beforehand."""
    return name.endswith(".cubin") and size <= KEPT_CUBIN


def _cubin_file(code: DeviceCode, data: bytes) -> DeviceCode:
    """What the whole of a .cubin file tells beside what the search saw."""
    if code.format != "cubin":
        return code
    return replace(code, loose=tuple(with_facts(image, data) for image in code.loose))


class StreamReader:
    """Read a file that arrives front to back, in memory bounded by what the answer needs (docs/design.md)."""

    def __init__(self, member: str, size: int) -> None:
        self._member = member
        self._size = size
        self._scan = _core.Scan(size, _plain(member))
        self._kept = bytearray() if _is_kept(member, size) else None

    def feed(self, chunk: Buffer) -> None:
        """Take the next bytes. Raises InputError."""
        if self._kept is not None:
            self._kept += chunk
        try:
            self._scan.feed(chunk)
        except _core.ParseError as error:
            raise _input_error(error, self._member) from error

    def finish(self, fetch: Fetch) -> DeviceCode:
        """Resolve what was seen.

        Args:
            fetch: returns the bytes of ascending (offset, size) ranges of the same file; called when a table that
                was not kept is needed after all (typically once, for relocations of a large library).

        Raises:
            InputError: as `read_path`.
        """
        try:
            self._scan.end()
            for _ in range(_MAX_FETCHES):
                wanted = self._scan.resolve()
                if wanted is None:
                    code = _device_code(self._scan.take(), self._member, self._size)
                    return code if self._kept is None else _cubin_file(code, bytes(self._kept))
                data = b"".join(fetch([wanted]))
                if len(data) != wanted[1]:
                    found = f"expected {wanted[1]} bytes at offset {wanted[0]:#x}, got {len(data)}"
                    raise InputError(f"{self._member}: {found}")
                self._scan.supply(wanted[0], data)
        except _core.ParseError as error:
            raise _input_error(error, self._member) from error
        raise InputError(f"{self._member}: its tables are scattered over more than {_MAX_FETCHES} places")
