"""Bytes in, DeviceCode out: the two ways of reading, as tests use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from shim.devicecode import DeviceCode, GpuImage, StreamReader, read_path
from shim.errors import InputError


def fetcher(data: bytes, calls: list[tuple[int, int]] | None = None) -> Callable[..., Iterable[bytes]]:
    """What `StreamReader.finish` wants; notes the ranges asked for."""

    def fetch(ranges: Sequence[tuple[int, int]]) -> Iterable[bytes]:
        for offset, size in ranges:
            if calls is not None:
                calls.append((offset, size))
            yield data[offset : offset + size]

    return fetch


def read_stream(data: bytes, name: str = "lib.so", cuts: Iterable[int] = ()) -> DeviceCode:
    """Reads `data` as a stream, cut at the given offsets."""
    reader = StreamReader(name, len(data))
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        reader.feed(data[at:cut])
        at = cut
    return reader.finish(fetcher(data))


def read_file(folder: Path, data: bytes, name: str = "lib.so") -> DeviceCode:
    """Reads `data` from a file of that name, through a memory mapping."""
    path = folder / name
    path.write_bytes(data)
    return read_path(path, member=name)


def facts(code: DeviceCode) -> dict[str, object]:
    """Every field, with the containers made, so that two reports can be compared."""
    found: dict[str, object] = {f.name: getattr(code, f.name) for f in fields(code)}
    found["containers"] = tuple(code.containers)
    return found


def images_of(code: DeviceCode) -> list[GpuImage]:
    return [image for container in code.containers for image in container.images]


def payload(data: bytes, image: GpuImage) -> bytes:
    return data[image.payload_offset : image.payload_offset + image.payload_size]


def error_of(data: bytes, name: str = "lib.so", *, pieces: int = 97) -> str:
    """The message with which the file is refused; a stream in pieces must refuse it with the same words."""
    with pytest.raises(InputError) as whole:
        read_stream(data, name)
    with pytest.raises(InputError) as cut:
        read_stream(data, name, range(pieces, len(data), pieces))
    assert str(cut.value) == str(whole.value)
    assert whole.value.hint
    assert str(whole.value).startswith(f"{name}: ")
    return str(whole.value)
