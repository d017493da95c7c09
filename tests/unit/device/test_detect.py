"""Every way in which detection can end, with driver libraries built for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import shim
from shim.arch import ComputeCapability
from shim.device.model import Source, Status

SPARK = ComputeCapability(12, 1)


def test_a_spark(machine) -> None:
    found = machine()
    assert (found.status, found.source) == (Status.OK, Source.CUDA)
    assert (found.driver, found.cuda) == ("580.95.05", (13, 0))
    (device,) = found.devices
    assert (device.capability, device.name, device.bus_id) == (SPARK, "NVIDIA GB10", "000F:01:00.0")
    assert (device.sm_count, device.l2, device.shared_per_sm, device.shared_per_block) == (
        48,
        24 << 20,
        100 << 10,
        99 << 10,
    )
    assert (device.integrated, device.pageable, device.host_page_tables, device.clusters) == (True, True, True, True)
    assert device.clock is None, "the driver did not know the question"
    assert (device.family, device.fp4_mma, device.tcgen05, device.wgmma) == ("120f", True, False, False)
    assert device.loads == ("sm_121a", "sm_121f", "sm_121", "sm_120f", "sm_120")
    assert any("nvmlDeviceGetMemoryInfo: Not Supported" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cuda", "status", "words"),
    [
        ("3", Status.FORKED, "cuInit: CUDA_ERROR_NOT_INITIALIZED"),
        ("34", Status.STUB_LIBRARY, "cuInit: CUDA_ERROR_STUB_LIBRARY"),
        ("35", Status.INSUFFICIENT_DRIVER, "cuInit: CUDA_ERROR_INSUFFICIENT_DRIVER"),
        ("100", Status.NO_DEVICE, "cuInit: CUDA_ERROR_NO_DEVICE"),
        ("803", Status.DRIVER_MISMATCH, "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("999", Status.FAILED, "cuInit: error 999"),
        ("crash", Status.FAILED, "the probe ended with signal 6"),
        ("hang", Status.TIMEOUT, "did not answer within 1 s"),
        (None, Status.NO_DRIVER, "libcuda.so.1: cannot open shared object file"),
    ],
)
def test_libcuda_fails(machine, cuda, status, words) -> None:
    found = machine(cuda=cuda, nvml=None)
    assert (found.status, found.source, found.devices) == (status, Source.NOBODY, ())
    assert words in found.why
    assert not found.ok


def test_nvml_tells_what_cuda_programs_cannot_use(machine) -> None:
    found = machine(cuda="35")
    assert found.status is Status.INSUFFICIENT_DRIVER
    assert (found.source, found.capability) == (Source.NVML, SPARK)
    assert "CUDA programs fail" in found.why


def test_a_stub_library_is_named(machine, tmp_path) -> None:
    found = machine(cuda="34")
    assert any(str(tmp_path / "lib") in note and "linking only" in note for note in found.notes)


@pytest.mark.parametrize(
    ("nvml", "status"),
    [("9", Status.NO_DRIVER), ("18", Status.DRIVER_MISMATCH), ("4", Status.NO_PERMISSION), ("hang", Status.TIMEOUT)],
)
def test_without_nvml_libcuda_is_enough(machine, nvml, status) -> None:
    found = machine(nvml=nvml)
    assert (found.asked[0].source, found.asked[0].status) == (Source.NVML, status)
    assert found.capability == SPARK or nvml == "hang"  # one second for both questions is little
    assert found.asked[1].source is Source.CUDA


def test_partial_nvml(machine) -> None:
    """No capability from NVML: libcuda is asked, even when details are not wanted."""
    found = machine(nvml="partial", details=False)
    assert (found.source, found.capability) == (Source.CUDA, SPARK)
    assert any("nvmlDeviceGetCudaComputeCapability: Not Supported" in note for note in found.notes)


def test_quick_makes_no_cuinit(machine, tmp_path) -> None:
    note = tmp_path / "inits"
    found = machine(details=False, FAKE_CUDA_NOTE=str(note))
    assert (found.source, found.capability) == (Source.NVML, SPARK)
    assert not note.exists()


def test_cuinit_is_called_in_a_child(machine, tmp_path) -> None:
    note = tmp_path / "inits"
    machine(FAKE_CUDA_NOTE=str(note))
    assert int(note.read_text()) != os.getpid()


def test_several_devices(machine) -> None:
    found = machine(FAKE_CUDA_COUNT="2", FAKE_NVML_COUNT="2")
    assert [str(device.capability) for device in found.devices] == ["12.1", "12.0"]
    assert found.devices[1].loads == ("sm_120a", "sm_120f", "sm_120")


def test_hidden_devices(machine) -> None:
    """The fake libcuda shows one of the two, as the real one does with CUDA_VISIBLE_DEVICES=0."""
    found = machine(FAKE_NVML_COUNT="2", CUDA_VISIBLE_DEVICES="0")
    assert [(device.name, device.visible) for device in found.devices] == [
        ("NVIDIA GB10", True),
        ("NVIDIA RTX 5090", False),
    ]


def test_everything_hidden(machine) -> None:
    found = machine(details=False, CUDA_VISIBLE_DEVICES="")
    assert (found.status, found.capability) == (Status.NO_DEVICE, None)
    assert "CUDA_VISIBLE_DEVICES" in found.why
    found = machine(cuda="100", CUDA_VISIBLE_DEVICES="")
    assert (found.status, found.capability) == (Status.NO_DEVICE, None)


def test_mig(machine) -> None:
    assert machine(FAKE_NVML_MIG="1").devices[0].mig is True
    assert machine(FAKE_NVML_MIG="0").devices[0].mig is False
    assert machine().devices[0].mig is None


@pytest.mark.parametrize(
    ("text", "capability", "forced"),
    [("12.1", SPARK, "121"), ("12.1a", SPARK, "121a"), ("sm_120f", ComputeCapability(12, 0), "120f")],
)
def test_forced(machine, text, capability, forced) -> None:
    found = machine(cuda="crash", nvml="hang", SHIM_FORCE_ARCH=text)
    assert (found.status, found.source, found.capability) == (Status.OK, Source.FORCED, capability)
    assert str(found.forced) == forced
    assert found.asked == ()


@pytest.mark.parametrize("text", ["12.1x", "spark", "12", "12.1af", "-1.0", "9999.9"])
def test_nonsense_is_not_forced(machine, text) -> None:
    found = machine(SHIM_FORCE_ARCH=text)
    assert found.source is Source.CUDA
    assert any(note.startswith("SHIM_FORCE_ARCH is ignored") for note in found.notes)


def test_the_platform_is_a_hint(machine, files) -> None:
    files({"etc/fastos-release": 'NAME="DGX SPARK FASTOS"\n'})
    found = machine(cuda=None, nvml=None)
    assert (found.status, found.source, found.capability) == (Status.NO_DRIVER, Source.PLATFORM, SPARK)


def test_the_kernel_module_names_the_gpu(machine, files) -> None:
    files(
        {
            "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module  580.95.05  Release\n",
            "proc/driver/nvidia/gpus/000f:01:00.0/information": "Model: \t\t NVIDIA GB10\nIRQ: 1\n",
            "proc/meminfo": "MemTotal: 125000000 kB\nMemAvailable:   100000000 kB\n",
        }
    )
    found = machine(cuda=None, nvml=None)
    assert (found.source, found.capability, found.driver) == (Source.PROC, SPARK, "580.95.05")
    assert found.platform.available_memory == 100_000_000 * 1024
    assert any("NVIDIA_DRIVER_CAPABILITIES lacks `compute`" in note for note in found.notes)
    assert any("NVIDIA_DRIVER_CAPABILITIES lacks `utility`" in note for note in found.notes)


@pytest.mark.parametrize(
    ("contents", "kind", "likely"),
    [
        ({"sys/class/dmi/id/product_name": "NVIDIA_DGX_Spark\n"}, "dgx-spark", "12.1"),
        ({"sys/class/dmi/id/board_name": "GB10 board of an OEM\n"}, "dgx-spark", "12.1"),
        ({"proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"}, "jetson", "8.7"),
        ({"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"}, "jetson", "11.0"),
        ({"etc/nv_tegra_release": "# R36\n"}, "jetson", "None"),
        ({"proc/version": "Linux version 6.6.36-microsoft-standard-WSL2\n"}, "wsl", "None"),
        ({".dockerenv": ""}, "container", "None"),
        ({}, "", "None"),
    ],
)
def test_platforms(machine, files, contents, kind, likely) -> None:
    files(contents)
    found = machine(cuda=None, nvml=None)
    assert (found.platform.kind, str(found.capability)) == (kind, likely)


def test_answers_are_kept_for_the_process(machine, tmp_path) -> None:
    note = tmp_path / "inits"
    first = machine(FAKE_CUDA_NOTE=str(note))
    assert machine(FAKE_CUDA_NOTE=str(note)) is first
    assert len(note.read_text().splitlines()) == 1


def test_api() -> None:
    assert callable(shim.detect)
    assert shim.detect(environ={"SHIM_FORCE_ARCH": "12.1"}).capability == SPARK
    with pytest.raises(AttributeError):
        _ = shim.nothing


@pytest.mark.parametrize(("mode", "code"), [("ok", 0), ("100", 9)])
def test_command(drivers: Path, mode: str, code: int) -> None:
    environ = {
        **os.environ,
        "LD_LIBRARY_PATH": str(drivers),
        "FAKE_CUDA": mode,
        "FAKE_NVML": "9",
        "PYTHONPATH": str(Path(shim.__file__).parents[1]),
    }
    words = [sys.executable, "-m", "shim", "device"]
    ran = subprocess.run([*words, "--format", "json"], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    document = json.loads(ran.stdout)
    assert document["schema"] == "shim-device/1"
    assert [device["capability"] for device in document["devices"]] == (["12.1"] if mode == "ok" else [])
    plain = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert plain.returncode == code
    expected = "loads machine code sm_121a" if mode == "ok" else "no-device: cuInit: CUDA_ERROR_NO_DEVICE"
    assert expected in plain.stdout
