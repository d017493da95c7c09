"""The GPU code in files: containers, images, kernels. The typed face of the C++ readers."""

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
    compat_records,
)
from shim.devicecode.payload import (
    DEFAULT_LIMIT,
    CubinInfo,
    Kernel,
    decode,
    kernels_in,
    read_cubin,
    read_ptx,
)
from shim.devicecode.reader import StreamReader, could_hold_device_code, read_path

__all__ = [
    "DEFAULT_LIMIT",
    "ByteRange",
    "Compression",
    "Container",
    "ContainerGroup",
    "ContainerRole",
    "CubinInfo",
    "DeviceCode",
    "GpuImage",
    "ImageKind",
    "Kernel",
    "LooseImage",
    "StreamReader",
    "Wrapper",
    "compat_records",
    "could_hold_device_code",
    "decode",
    "kernels_in",
    "read_cubin",
    "read_path",
    "read_ptx",
]
