"""Modules given to a driver, in a child that they may end. The driver is one that stands in."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.fake_libcuda import build

from shim.arch import ComputeCapability
from shim.device.driver_cache import find_device, load_modules
from shim.errors import DeviceError


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("libcuda"))


@pytest.fixture
def driver(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in is what the child finds; returns the log of what it loaded."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("FAKE_LIBCUDA_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def files(folder: Path, *texts: str) -> list[Path]:
    made = []
    for number, text in enumerate(texts):
        made.append(folder / f"{number}.module")
        made[-1].write_text(text)
    return made


def test_what_the_driver_says_of_its_device(driver: Path) -> None:
    found = find_device()
    assert (found.name, found.capability, found.driver) == ("Fake GB10", ComputeCapability(12, 1), (13, 0))


def test_each_module_is_loaded_once(driver: Path, tmp_path: Path) -> None:
    assert load_modules(find_device(), files(tmp_path, "one", "two", "three")) == ("", "", "")
    assert driver.read_text() == "text\ntext\ntext\n"


def test_one_that_the_driver_refuses_hurts_no_other(driver: Path, tmp_path: Path) -> None:
    first, second, third = load_modules(find_device(), files(tmp_path, "one", "newer", "three"))
    assert (first, third) == ("", "")
    assert "unsupported toolchain (222)" in second
    assert driver.read_text() == "text\ntext\n"


def test_one_that_crashes_the_driver_hurts_no_other(driver: Path, tmp_path: Path) -> None:
    outcomes = load_modules(find_device(), files(tmp_path, "crash", "two", "crash", "four"))
    assert [outcome.partition(":")[0] for outcome in outcomes] == [
        "ended the driver's process",
        "",
        "ended the driver's process",
        "",
    ]
    assert driver.read_text() == "text\ntext\n"


def test_one_that_hangs_is_given_up(driver: Path, tmp_path: Path) -> None:
    assert load_modules(find_device(), files(tmp_path, "hang", "two"), seconds=1) == ("not done in 1 s", "")


def test_nothing_to_load(driver: Path) -> None:
    assert load_modules(find_device(), []) == ()


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libcuda.so.1").write_text("no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="no usable GPU: no CUDA driver"):
        find_device()


def test_no_device(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="device 3: invalid device ordinal"):
        find_device(3)
    monkeypatch.setenv("FAKE_LIBCUDA_NO_DEVICE", "1")
    with pytest.raises(DeviceError, match="no CUDA-capable device"):
        find_device()
