"""Which GPU is here, without CUDA headers, without torch, without cuInit in this process, and without exceptions."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from shim.arch import Arch, ComputeCapability
from shim.device.model import Asked, Detection, GpuDevice, Platform, Source, Status
from shim.device.platform import kernel_driver, read_platform
from shim.device.probe import ATTRIBUTES, Answer, ask_cuda, ask_nvml
from shim.device.visible import visible
from shim.errors import UsageError

SECONDS: Final = 20.0
"""Wall time a driver may take to answer. cuInit takes some seconds on a machine without persistence daemon."""

FORCE: Final = "SHIM_FORCE_ARCH"
_OLDEST_MAJOR: Final = 5


def detect(
    *,
    init: bool = False,
    details: bool = True,
    seconds: float = SECONDS,
    environ: Mapping[str, str] | None = None,
    root: Path = Path("/"),
) -> Detection:
    """Say which GPU is here. Never raises; `status`, `source` and `why` tell what happened.

    NVML is asked first, then libcuda, each in a child process; then /proc and signs of the platform. Equal calls in
    one process are answered once.

    Args:
        init: ask libcuda in this process. cuInit breaks CUDA in children that this process forks.
        details: ask libcuda also when NVML has told the capability; False is quicker and calls no cuInit anywhere.
        seconds: wall time for each question.
        environ: variables to go by; None: those of this process.
        root: of the files to look at.
    """
    values = dict(os.environ if environ is None else environ)
    key = tuple(sorted(values.items()))
    return _detect(init, details, seconds, key, root, os.getpid(), kernel_driver(root))


@functools.lru_cache(maxsize=8)
def _detect(
    init: bool, details: bool, seconds: float, environ: tuple[tuple[str, str], ...], root: Path, pid: int, driver: str
) -> Detection:
    """Cached by process and driver: a fork asks anew, and so does who stays alive through a driver update."""
    values = dict(environ)
    platform = read_platform(root)
    notes: list[str] = []
    if forced := values.get(FORCE):
        try:
            return _forced(_parse_forced(forced), platform)
        except (UsageError, ValueError) as error:
            notes.append(f"{FORCE} is ignored: {error}")
    nvml = ask_nvml(values, seconds=seconds)
    asked = [Asked(source=Source.NVML, status=nvml.status, why=nvml.why)]
    devices = tuple(_nvml_devices(nvml, values.get("CUDA_VISIBLE_DEVICES")))
    known = nvml.status is Status.OK and any(device.capability for device in devices)
    cuda = None
    if details or init or not known:
        cuda = ask_cuda(values, seconds=seconds, here=init)
        asked.append(Asked(source=Source.CUDA, status=cuda.status, why=cuda.why))
        if cuda.status is Status.OK:
            devices = tuple(_cuda_devices(cuda, devices))
    found = _outcome(nvml, cuda, devices, platform)
    return replace(
        found,
        driver=str(nvml.data.get("driver", "")) or platform.kernel_driver,
        cuda=_cuda_version(cuda, nvml),
        platform=platform,
        notes=(*notes, *_notes(nvml, cuda, values, platform)),
        asked=tuple(asked),
    )


def _parse_forced(text: str) -> Arch:
    number, dot, rest = text.strip().partition(".")
    digits = rest.rstrip("af")
    arch = Arch(ComputeCapability.parse(f"{number}.{digits}"), rest[len(digits) :]) if dot else Arch.parse(text)
    if arch.capability.major < _OLDEST_MAJOR:
        raise UsageError(f"not the architecture of a GPU: {text!r}")
    return arch


def _forced(arch: Arch, platform: Platform) -> Detection:
    device = GpuDevice(index=0, name="forced", capability=arch.capability)
    return Detection(
        status=Status.OK,
        source=Source.FORCED,
        why=f"{FORCE} says {arch}; nothing was asked",
        devices=(device,),
        forced=arch,
        platform=platform,
    )


def _outcome(nvml: Answer, cuda: Answer | None, devices: tuple[GpuDevice, ...], platform: Platform) -> Detection:
    """libcuda decides what CUDA programs get; NVML and the platform tell what is there all the same."""
    if cuda is not None and cuda.status is Status.OK:
        return Detection(status=Status.OK, source=Source.CUDA, why=cuda.why, devices=devices)
    if devices:
        source = Source.NVML if any(device.capability for device in devices) else Source.NOBODY
        if cuda is None:
            seen = any(device.visible for device in devices)
            why = nvml.why if seen else "CUDA_VISIBLE_DEVICES hides every device"
            return Detection(status=Status.OK if seen else Status.NO_DEVICE, source=source, why=why, devices=devices)
        return Detection(status=cuda.status, source=source, why=f"CUDA programs fail: {cuda.why}", devices=devices)
    failed = cuda if cuda is not None and cuda.status is not Status.NO_DRIVER else nvml
    if cuda is not None and failed.status is Status.NO_DRIVER:
        failed = cuda
    if platform.likely is not None:
        device = GpuDevice(index=0, name=platform.model, capability=platform.likely)
        source = Source.PROC if "GB10" in platform.model else Source.PLATFORM
        why = f"{failed.why}; {platform.model or platform.why} is a machine with {platform.likely}"
        return Detection(status=failed.status, source=source, why=why, devices=(device,))
    return Detection(status=failed.status, source=Source.NOBODY, why=failed.why)


def _nvml_devices(answer: Answer, wanted: str | None) -> Iterator[GpuDevice]:
    raw: list[dict[str, Any]] = answer.data.get("devices", [])
    seen = set(visible(wanted, [device["uuid"] for device in raw]))
    for position, device in enumerate(raw):
        yield GpuDevice(
            index=device["index"],
            name=device["name"],
            capability=ComputeCapability(*device["capability"]) if device["capability"] else None,
            uuid=device["uuid"],
            visible=position in seen,
            total_memory=device["total_memory"],
            mig=device["mig"],
        )


def _cuda_devices(answer: Answer, others: tuple[GpuDevice, ...]) -> Iterator[GpuDevice]:
    """Devices as libcuda numbers them, with what only NVML tells; then those that CUDA programs do not see."""
    by_uuid = {_digits(device.uuid): device for device in others if device.uuid}
    for raw in answer.data["devices"]:
        values = {name: _value(raw["attributes"], number) for name, number in ATTRIBUTES.items()}
        twin = by_uuid.pop(_digits(raw["uuid"]), None)
        major, minor = values["major"], values["minor"]
        yield GpuDevice(
            index=raw["ordinal"],
            name=raw["name"],
            capability=None if major is None or minor is None else ComputeCapability(major, minor),
            uuid=raw["uuid"],
            bus_id=raw["bus_id"],
            total_memory=raw["total_memory"] or None,
            mig=twin.mig if twin else None,
            sm_count=values["sm_count"],
            l2=values["l2"],
            shared_per_sm=values["shared_per_sm"],
            shared_per_block=values["shared_per_block"],
            clock=values["clock"],
            integrated=_flag(values["integrated"]),
            pageable=_flag(values["pageable"]),
            host_page_tables=_flag(values["host_page_tables"]),
            concurrent_managed=_flag(values["concurrent_managed"]),
            clusters=_flag(values["clusters"]),
        )
    for device in by_uuid.values():
        if not device.mig:  # an instance of it has a UUID of its own
            yield replace(device, visible=False)


def _value(attributes: Mapping[Any, int], number: int) -> int | None:
    """Keys are numbers when asked here, text after JSON."""
    return attributes.get(number, attributes.get(str(number)))


def _flag(value: int | None) -> bool | None:
    return None if value is None else value != 0


def _digits(uuid: str) -> str:
    return uuid.removeprefix("GPU-").replace("-", "").lower()


def _cuda_version(cuda: Answer | None, nvml: Answer) -> tuple[int, int] | None:
    for answer in (cuda, nvml):
        number = int(answer.data.get("driver_cuda", 0)) if answer is not None else 0
        if number > 0:
            return number // 1000, number % 1000 // 10
    return None


def _notes(nvml: Answer, cuda: Answer | None, environ: Mapping[str, str], platform: Platform) -> Iterator[str]:
    if platform.kernel_driver and nvml.status is Status.NO_DRIVER:
        yield (
            "the kernel module is loaded, but libnvidia-ml is missing: in a container, NVIDIA_DRIVER_CAPABILITIES "
            "lacks `utility`"
        )
    if cuda is not None and cuda.status is Status.NO_DRIVER and (platform.kernel_driver or nvml.status is Status.OK):
        yield "libcuda is missing: in a container, NVIDIA_DRIVER_CAPABILITIES lacks `compute`"
    if cuda is not None and cuda.status is Status.STUB_LIBRARY:
        yield f"{cuda.data.get('library')} is for linking only: take its folder out of LD_LIBRARY_PATH"
    for device in nvml.data.get("devices", []):
        for words in device["unanswered"]:
            if "MigMode" not in words:
                yield f"NVML, device {device['index']}: {words}"
    for name in ("NV_VARIANT_PROVIDER_FORCE_SM_ARCH", "TORCH_CUDA_ARCH_LIST"):
        if value := environ.get(name):
            yield f"{name}={value} is set; it does not change what was found"
