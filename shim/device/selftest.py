"""Which image of shim's own CUDA module does this device run?

Not run on a GB10: no such device was at hand when this was written. `python -m shim selftest` is the command that
would show it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.arch import ComputeCapability
from shim.errors import DeviceError

_KINDS = {1: "", 2: "f", 3: "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestResult:
    """What ran.

    Attributes:
        image: architecture the kernel was compiled for, such as "121" (machine code) or "80" (the fallback PTX).
        machine_code: whether it was machine code from the wheel, not PTX compiled by the driver.
        binary_version: SM number of the code that ran. ptx_version: virtual architecture it came from.
    """

    name: str
    capability: ComputeCapability
    image: str
    machine_code: bool
    binary_version: int
    ptx_version: int


def run_selftest(device: int = 0) -> SelfTestResult:
    """Run one kernel on a device.

    Raises:
        DeviceError: shim was built without CUDA, there is no usable device or driver, or the kernel failed.
    """
    try:
        from shim import _cuda
    except ImportError as error:
        raise DeviceError(
            "this build of shim has no CUDA module, so it cannot run the self-test",
            hint="build it where nvcc is found, with -C cmake.define.SHIM_CUDA=ON",
        ) from error
    try:
        name, major, minor, code, binary, ptx = _cuda.selftest(device)
    except _cuda.CudaError as error:
        raise DeviceError(
            f"the self-test did not run on device {device}: {error}",
            hint="run it on a machine with an NVIDIA GPU and a driver of CUDA 13.0 (580) or newer",
        ) from error
    kind, arch = divmod(code, 1_000_000)
    number = arch // 10
    return SelfTestResult(
        name=name,
        capability=ComputeCapability(major, minor),
        image=f"{number}{_KINDS.get(kind, '?')}",
        # The module holds PTX for 8.0 only; everything else it holds is machine code (CMakeLists.txt).
        machine_code=number != 80,
        binary_version=binary,
        ptx_version=ptx,
    )
