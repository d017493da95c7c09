"""Decode the payload of an image, and read the kernels in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shim import _core
from shim.devicecode.model import Compression, GpuImage, ImageKind
from shim.errors import InputError

DEFAULT_LIMIT = 1 << 30  # decoded bytes of one image; the largest seen in a wheel is a 34 MB PTX text


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


def _fail(image: GpuImage, what: str) -> InputError:
    return InputError(
        f"{image.kind.value} image at offset {image.offset:#x}: {what}",
        hint="The container is damaged, or uses a compression this version of shim does not know.",
    )


def _inflate(image: GpuImage, data: bytes, size: int) -> bytes:
    if image.compression is Compression.LZ4:
        import lz4.block

        try:
            return bytes(lz4.block.decompress(data, uncompressed_size=size))
        except (lz4.block.LZ4BlockError, ValueError, OverflowError) as error:
            raise _fail(image, f"LZ4 block does not decode ({error})") from error
    import zstandard

    try:
        # The frame's own size is the attacker's as well: never allocate more than the entry promised.
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size, read_across_frames=False)
    except zstandard.ZstdError as error:
        raise _fail(image, f"zstd frame does not decode ({error})") from error


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
    if image.compression is Compression.NONE:
        plain = payload
    elif image.compression is Compression.UNKNOWN:
        raise _fail(image, f"unknown compression (flags {image.flags:#x})")
    else:
        plain = _decompress(image, payload, limit)
    if image.group is not None:
        offset, size = image.group
        plain = plain[offset : offset + size]
    return plain.rstrip(b"\0") if image.kind is ImageKind.PTX else plain


def _decompress(image: GpuImage, payload: bytes, limit: int) -> bytes:
    size = image.group[0] + image.group[1] if image.group else image.size
    if image.group is not None:
        import zstandard

        size = max(size, zstandard.frame_content_size(payload))
    if size > limit:
        raise _fail(image, f"claims {size} decoded bytes, more than the limit of {limit}")
    plain = _inflate(image, payload[: image.compressed_size], size)
    if image.group is None and len(plain) != image.size:
        raise _fail(image, f"expected {image.size} decoded bytes, found {len(plain)}")
    return plain


def _parse_error(error: ValueError, what: str) -> InputError:
    message, offset = error.args
    return InputError(f"{what}: {message} (at offset {offset:#x} of the image)")


def read_cubin(data: bytes) -> CubinInfo:
    """Read a cubin. Raises InputError."""
    try:
        abi, sm, feature, linked, compat, symbols = _core.read_cubin(data)
    except _core.ParseError as error:
        raise _parse_error(error, "cubin") from error
    kernels = []
    objects = []
    for raw, function, kernel, size, parameters in symbols:
        name = raw.decode("utf-8", "replace")
        if kernel:
            kernels.append(Kernel(name=name, size=size, instructions=None, parameters=tuple(parameters)))
        elif not function:
            objects.append((name, size))
    return CubinInfo(
        abi=abi,
        sm=sm,
        feature=feature,
        linked=linked,
        compat=compat,
        kernels=tuple(kernels),
        objects=tuple(objects),
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
        return replace(image, has_code=bool(kernels_in(image.kind, decode(image, payload))))
    except InputError:
        return image
