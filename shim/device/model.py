"""What detection found, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shim.arch import Arch, ComputeCapability
from shim.device.images import machine_code_for

FAMILIES = {10: "100f", 11: "110f", 12: "120f"}


class Status(StrEnum):
    """How detection ended."""

    OK = "ok"
    NO_DRIVER = "no-driver"
    """No driver library can be opened."""
    STUB_LIBRARY = "stub-library"
    """The library that was opened is the toolkit's stub for linking (CUDA_ERROR_STUB_LIBRARY)."""
    NO_DEVICE = "no-device"
    """The driver is there and shows no device, for instance because CUDA_VISIBLE_DEVICES hides them."""
    INSUFFICIENT_DRIVER = "insufficient-driver"
    DRIVER_MISMATCH = "driver-mismatch"
    """User-space library and kernel module are of different versions; often cured by a reboot."""
    FORKED = "forked-after-init"
    """This process was forked by one that had called cuInit, and cannot use CUDA any more."""
    NO_PERMISSION = "no-permission"
    TIMEOUT = "timeout"
    FAILED = "failed"


class Source(StrEnum):
    """Who told the compute capability, the most direct one."""

    FORCED = "SHIM_FORCE_ARCH"
    CUDA = "libcuda"
    NVML = "NVML"
    PROC = "/proc"
    PLATFORM = "platform"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDevice:
    """One device. None: nobody told.

    Attributes:
        index: CUDA's ordinal when libcuda told of it, else NVML's index, which CUDA_VISIBLE_DEVICES does not change.
        visible: whether CUDA_VISIBLE_DEVICES lets a CUDA program see it.
        total_memory, l2, shared_per_sm, shared_per_block: bytes. `shared_per_block` is the opt-in maximum.
        pageable: kernels may read memory of malloc. host_page_tables: by the host's own page tables (GB10).
        clock: kHz.
    """

    index: int
    name: str = ""
    capability: ComputeCapability | None = None
    uuid: str = ""
    bus_id: str = ""
    visible: bool = True
    total_memory: int | None = None
    mig: bool | None = None
    sm_count: int | None = None
    integrated: bool | None = None
    pageable: bool | None = None
    host_page_tables: bool | None = None
    concurrent_managed: bool | None = None
    l2: int | None = None
    shared_per_sm: int | None = None
    shared_per_block: int | None = None
    clusters: bool | None = None
    clock: int | None = None

    @property
    def family(self) -> str | None:
        """The family-specific architecture of its family, such as "120f"; None before Blackwell."""
        return FAMILIES.get(self.capability.canonical.major) if self.capability else None

    @property
    def fp4_mma(self) -> bool | None:
        """Block-scaled mma.sync on FP4 and MX types (PTX ISA, mma: sm_120a / sm_120f and up)."""
        return self.capability.canonical.major == 12 if self.capability else None

    @property
    def tcgen05(self) -> bool | None:
        """Tensor memory instructions (PTX ISA, tcgen05: 10.x and 11.0)."""
        return self.capability.canonical.major in (10, 11) if self.capability else None

    @property
    def wgmma(self) -> bool | None:
        """Warpgroup MMA (PTX ISA, wgmma: sm_90a only)."""
        return self.capability == ComputeCapability(9, 0) if self.capability else None

    @property
    def loads(self) -> tuple[str, ...]:
        """Machine code that it can load, best first: "sm_121a", "sm_121f", "sm_121", "sm_120f", "sm_120"."""
        return machine_code_for(self.capability) if self.capability else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question of detection and its answer, in words."""

    source: Source
    status: Status
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The machine around the GPU. A hint, never proof.

    Attributes:
        kind: "dgx-spark", "jetson", "wsl", "container" or "".
        why: which file says so.
        likely: capability that such a machine has.
        kernel_driver: version of the loaded kernel module, "" when none is.
        available_memory: MemAvailable of /proc/meminfo in bytes. On GB10 that is the GPU's memory, of which NVML tells
            nothing.
    """

    kind: str = ""
    why: str = ""
    likely: ComputeCapability | None = None
    model: str = ""
    kernel_driver: str = ""
    available_memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What `shim.detect()` returns.

    Attributes:
        source: who told the capability of the first device.
        why: the outcome in one sentence.
        driver: version of the driver, such as "580.95.05"; "" when nobody told.
        cuda: CUDA version that the driver supports.
        forced: architecture of SHIM_FORCE_ARCH.
        notes: what a user may want to know beside it.
        asked: every question that was put, in order.
    """

    status: Status
    source: Source
    why: str
    devices: tuple[GpuDevice, ...] = ()
    driver: str = ""
    cuda: tuple[int, int] | None = None
    forced: Arch | None = None
    platform: Platform = Platform()
    notes: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def device(self) -> GpuDevice | None:
        """The first device that a CUDA program sees."""
        return next((device for device in self.devices if device.visible), None)

    @property
    def capability(self) -> ComputeCapability | None:
        """Of that device."""
        return self.device.capability if self.device else None
