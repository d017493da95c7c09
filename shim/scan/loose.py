"""GPU code outside containers, and folders of GPU code files, in the form the judge takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shim.devicecode.model import (
    Compression,
    Container,
    ContainerGroup,
    ContainerRole,
    DeviceCode,
    GpuImage,
    LooseImage,
)

_FILE_FORMATS = frozenset({"cubin", "ptx", "ltoir"})


def loose_groups(code: DeviceCode) -> tuple[ContainerGroup, ...]:
    """Loose images as containers of one image each, like ones together (there can be thousands).

    `indices` of such a group count places in `code.loose`.
    """
    role = ContainerRole.FILE if code.format in _FILE_FORMATS else ContainerRole.EMBEDDED
    alike: dict[object, list[int]] = {}
    for index, image in enumerate(code.loose):
        alike.setdefault((image.kind, image.arch, image.version, image.compat, image.has_code), []).append(index)
    return tuple(_group(code.loose, indices, role) for indices in alike.values())


def as_one(member: str, files: Sequence[DeviceCode]) -> DeviceCode:
    """Many files of GPU code as one, for a package that picks among them by itself. `files` is not empty."""
    return replace(
        files[0],
        member=member,
        size=sum(code.size for code in files),
        containers=(),
        groups=tuple(group for code in files for group in code.groups),
        wrappers=(),
        loose=tuple(image for code in files for image in code.loose),
        unknown=tuple(span for code in files for span in code.unknown),
    )


def _group(loose: Sequence[LooseImage], indices: Sequence[int], role: ContainerRole) -> ContainerGroup:
    first = loose[indices[0]]
    size = sum(loose[index].size for index in indices)
    container = Container(
        index=indices[0],
        offset=first.offset,
        size=first.size,
        section=first.section,
        role=role,
        images=(_image(first),),
    )
    return ContainerGroup(exemplar=container, indices=tuple(indices), stored_bytes=(size,), decoded_bytes=(size,))


def _image(loose: LooseImage) -> GpuImage:
    return GpuImage(
        kind=loose.kind,
        raw_kind=0,
        arch=loose.arch,
        offset=loose.offset,
        header_size=0,
        payload_offset=loose.offset,
        payload_size=loose.size,
        compressed_size=0,
        size=loose.size,
        compression=Compression.NONE,
        version=loose.version,
        flags=0,
        name="",
        options="",
        compat=loose.compat,
        has_code=loose.has_code,
    )
