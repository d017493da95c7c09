"""What `device` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shim.device.model import Detection, GpuDevice
from shim.scan.words import size_text


def detection_lines(found: Detection) -> list[str]:
    """For people."""
    lines: list[str] = []
    for device in found.devices:
        lines += _device_lines(device)
    if not found.ok or not found.devices:
        lines.append(f"{found.status}: {found.why}")
    if found.driver or found.cuda:
        cuda = f", CUDA {found.cuda[0]}.{found.cuda[1]}" if found.cuda else ""
        lines.append(f"driver {found.driver or 'of unknown version'}{cuda}")
    platform = found.platform
    if platform.kind:
        lines.append(f"platform {platform.kind} ({platform.why})")
    if platform.available_memory is not None:
        lines.append(f"memory available to programs: {size_text(platform.available_memory)}")
    lines.append(f"told by {found.source}")
    lines += [f"note: {note}" for note in found.notes]
    if found.ok:
        return lines
    return lines + [f"asked {one.source}: {one.status}: {one.why}" for one in found.asked]


def _device_lines(device: GpuDevice) -> Iterator[str]:
    hidden = "" if device.visible else " (hidden by CUDA_VISIBLE_DEVICES)"
    capability = f"compute capability {device.capability}" if device.capability else "compute capability unknown"
    yield f"device {device.index}: {device.name or 'without a name'}, {capability}{hidden}"
    facts = [
        None if device.sm_count is None else f"{device.sm_count} SMs",
        "integrated" if device.integrated else None,
        "reads pageable host memory" if device.pageable else None,
        "by the host's page tables" if device.host_page_tables else None,
        None if device.total_memory is None else f"memory {size_text(device.total_memory)}",
        None if device.l2 is None else f"L2 {size_text(device.l2)}",
        None if device.shared_per_sm is None else f"shared memory {size_text(device.shared_per_sm)} an SM",
        None if device.shared_per_block is None else f"{size_text(device.shared_per_block)} a block",
        "clusters" if device.clusters else None,
        "MIG" if device.mig else None,
    ]
    if told := ", ".join(fact for fact in facts if fact):
        yield f"  {told}"
    if device.capability:
        having = [
            name
            for name, has in (("FP4 MMA", device.fp4_mma), ("tcgen05", device.tcgen05), ("wgmma", device.wgmma))
            if has
        ]
        yield f"  instructions beyond the common ones: {', '.join(having) or 'none'}"
        yield f"  loads machine code {', '.join(device.loads)}; PTX up to compute_{device.capability.canonical.sm}"


def detection_document(found: Detection) -> dict[str, Any]:
    """As JSON values."""
    return {
        "schema": "shim-device/1",
        "status": found.status.value,
        "source": found.source.value,
        "why": found.why,
        "forced": str(found.forced) if found.forced else None,
        "driver": found.driver,
        "cuda": "{}.{}".format(*found.cuda) if found.cuda else None,
        "devices": [_device_document(device) for device in found.devices],
        "platform": {
            "kind": found.platform.kind,
            "why": found.platform.why,
            "model": found.platform.model,
            "kernel_driver": found.platform.kernel_driver,
            "available_memory": found.platform.available_memory,
        },
        "notes": list(found.notes),
        "asked": [{"source": a.source.value, "status": a.status.value, "why": a.why} for a in found.asked],
    }


def _device_document(device: GpuDevice) -> dict[str, Any]:
    plain = (
        "index name uuid bus_id visible total_memory mig sm_count integrated pageable host_page_tables "
        "concurrent_managed l2 shared_per_sm shared_per_block clusters clock family fp4_mma tcgen05 wgmma"
    )
    return {
        **{name: getattr(device, name) for name in plain.split()},
        "capability": str(device.capability) if device.capability else None,
        "loads": list(device.loads),
    }
