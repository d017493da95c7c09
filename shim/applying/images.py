"""Bytes of images out of a file on disk."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from shim.devicecode import Container, CubinInfo, GpuImage, ImageKind, decode, read_cubin
from shim.errors import InputError


class ImageFile:
    """An open file whose images are read one at a time."""

    def __init__(self, path: Path, member: str) -> None:
        self._member = member
        self._file: BinaryIO = path.open("rb")

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def raw(self, offset: int, size: int) -> bytes:
        """Bytes as stored. Raises InputError when the file is shorter than it was when it was scanned."""
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise InputError(f"{self._member}: ends inside the {size} bytes at offset {offset:#x}")
        return data

    def plain(self, image: GpuImage) -> bytes:
        """The decoded image; LTO-IR, which cannot be decoded (docs/formats.md 4.3), as stored. Raises InputError."""
        payload = self.raw(image.payload_offset, image.payload_size)
        try:
            return payload if image.kind is ImageKind.LTO_IR else decode(image, payload)
        except InputError as error:
            raise InputError(f"{self._member}: {error.message}", hint=error.hint) from error

    def sibling(self, container: Container) -> CubinInfo | None:
        """The newest plain machine code of a container: the yardstick for a new one beside it."""
        plain = [
            (image.arch.capability, image)
            for image in container.images
            if image.kind is ImageKind.SASS and image.arch is not None and not image.arch.feature
        ]
        if not plain:
            return None
        newest = max(plain, key=lambda pair: pair[0])[1]
        return read_cubin(self.plain(newest))
