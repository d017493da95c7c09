"""Decode the payload of an image, and read the kernels in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shim import _core
from shim.devicecode.model import Compression, GpuImage, ImageKind
from shim.errors import InputError

DEFAULT_LIMIT = 1 << 30  # decoded bytes of one image; the largest seen in a wheel is a 34 MB PTX text
SMALL_LIMIT = 1 << 20  # of an image whose stored form is at most 4 KiB: one without code decodes to far less


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A function that host code can launch.

    Attributes:
        size: bytes of machine code; for PTX the characters of the body.
        instructions: statements of a PTX body; None for machine code.
        parameters: (ordinal, size in bytes). Offsets are left out: they may differ between architectures.
    """

    name: str
    size: int
    instructions: int | None
    parameters: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CubinInfo:
    """What a cubin says of itself. The suffix `f` is recorded in the fatbin entry only (docs/formats.md 5)."""

    abi: int
    sm: int
    feature: str
    linked: bool
    compat: bytes
    kernels: tuple[Kernel, ...]
    objects: tuple[tuple[str, int], ...]  # (name, size) of __device__ and __constant__ data
    functions: tuple[str, ...]  # functions that other code of the cubin calls


def _fail(image: GpuImage, what: str) -> InputError:
    return InputError(
        f"{image.kind.value} image at offset {image.offset:#x}: {what}",
        hint="The container is damaged, or uses a compression this version of shim does not know.",
    )


def _unlz4(image: GpuImage, data: bytes, limit: int) -> bytes:
    import lz4.block

    if image.group is not None:
        raise _fail(image, "a group compressed with LZ4, which no tool writes")
    _check_limit(image, image.size, limit)
    try:
        return bytes(lz4.block.decompress(data, uncompressed_size=image.size))
    except (lz4.block.LZ4BlockError, ValueError, OverflowError) as error:
        raise _fail(image, f"LZ4 block does not decode ({error})") from error


def _unzstd(image: GpuImage, data: bytes, limit: int) -> bytes:
    import zstandard

    try:
        # The library allocates what the frame states, whatever size it is asked for: look before.
        stated = zstandard.frame_content_size(data)
        expected = image.size if image.group is None else max(stated, sum(image.group))
        if stated not in (-1, expected):
            raise _fail(image, f"expected {expected} decoded bytes, the zstd frame states {stated}")
        _check_limit(image, expected, limit)
        return zstandard.ZstdDecompressor().decompress(
            data, max_output_size=expected, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise _fail(image, f"zstd frame does not decode ({error})") from error


def _check_limit(image: GpuImage, size: int, limit: int) -> None:
    if size > limit:
        raise _fail(image, f"claims {size} decoded bytes, more than the limit of {limit}")


def decode(image: GpuImage, payload: bytes, *, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the plain bytes of an image; PTX without its trailing NULs.

    Args:
        payload: the `image.payload_size` bytes at `image.payload_offset`.
        limit: largest decoded size accepted.

    Raises:
        InputError: sizes that lie, a broken stream, or more bytes than `limit`.
    """
    if len(payload) != image.payload_size:
        raise _fail(image, f"expected a payload of {image.payload_size} bytes, got {len(payload)}")
    if (image.compression is Compression.NONE) != (image.compressed_size == 0):
        raise _fail(image, f"flags {image.flags:#x} and compressed size {image.compressed_size} contradict each other")
    match image.compression:
        case Compression.NONE:
            plain = payload
        case Compression.LZ4:
            plain = _unlz4(image, payload[: image.compressed_size], limit)
        case Compression.ZSTD:
            plain = _unzstd(image, payload[: image.compressed_size], limit)
        case Compression.UNKNOWN:
            raise _fail(image, f"unknown compression (flags {image.flags:#x})")
    if image.group is not None:
        offset, size = image.group
        plain = plain[offset : offset + size]
    if len(plain) != image.size:
        raise _fail(image, f"expected {image.size} decoded bytes, found {len(plain)}")
    return plain.rstrip(b"\0") if image.kind is ImageKind.PTX else plain


def _parse_error(error: ValueError, what: str) -> InputError:
    message, offset = error.args
    prefix = "" if message.startswith(what) else f"{what}: "
    return InputError(f"{prefix}{message} (at offset {offset:#x} of the image)")


def read_cubin(data: bytes) -> CubinInfo:
    """Read a cubin. Raises InputError."""
    try:
        abi, sm, feature, linked, compat, symbols = _core.read_cubin(data)
    except _core.ParseError as error:
        raise _parse_error(error, "cubin") from error
    kernels = []
    objects = []
    functions = []
    for raw, function, kernel, size, parameters in symbols:
        name = raw.decode("utf-8", "replace")
        if kernel:
            kernels.append(Kernel(name=name, size=size, instructions=None, parameters=tuple(parameters)))
        elif function:
            functions.append(name)
        else:
            objects.append((name, size))
    return CubinInfo(
        abi=abi,
        sm=sm,
        feature=feature,
        linked=linked,
        compat=compat,
        kernels=tuple(kernels),
        objects=tuple(objects),
        functions=tuple(functions),
    )


def read_ptx(data: bytes) -> tuple[Kernel, ...]:
    """Read the entry functions of a PTX module. Raises InputError."""
    try:
        kernels = _core.read_ptx(data)[4]
    except _core.ParseError as error:
        raise _parse_error(error, "PTX") from error
    return tuple(
        Kernel(
            name=raw.decode("utf-8", "replace"),
            size=size,
            instructions=instructions,
            parameters=tuple(enumerate(parameters)),
        )
        for raw, size, instructions, parameters in kernels
    )


def kernels_in(kind: ImageKind, data: bytes) -> tuple[Kernel, ...]:
    """Kernels of a decoded image; empty for kinds whose content is opaque (LTO-IR, Tile IR, unknown)."""
    if kind is ImageKind.SASS:
        return read_cubin(data).kernels
    return read_ptx(data) if kind is ImageKind.PTX else ()


def small_image_has_code(image: GpuImage, payload: bytes) -> GpuImage:
    """Fill in `has_code` of an image whose payload was kept; None stays when the payload cannot be read."""
    try:
        plain = decode(image, payload, limit=SMALL_LIMIT)
        return replace(image, has_code=bool(kernels_in(image.kind, plain)))
    except InputError:
        return image
