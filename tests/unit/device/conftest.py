"""Driver libraries that say what a test wants, found through LD_LIBRARY_PATH as real ones are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.device.detect import detect
from shim.device.model import Detection

SOURCES = Path(__file__).parents[2] / "builders"
LIBRARIES = {"libcuda.so.1": "fake_libcuda.c", "libnvidia-ml.so.1": "fake_libnvml.c"}


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both libraries."""
    folder = tmp_path_factory.mktemp("drivers")
    compiler = shutil.which("cc") or shutil.which("gcc")
    words = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    for library, source in LIBRARIES.items():
        command = [*words, "-shared", "-fPIC", "-Wall", "-Werror", "-o", folder / library, SOURCES / source]
        subprocess.run(command, check=True, capture_output=True)
    return folder


Machine = Callable[..., Detection]


@pytest.fixture
def machine(drivers: Path, tmp_path: Path) -> Machine:
    """Detect on a machine with the libraries named and the files of `tmp_path/root`."""

    def run(*, cuda: str | None = "ok", nvml: str | None = "ok", details: bool = True, **values: str) -> Detection:
        folder = tmp_path / "lib"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        environ = {"LD_LIBRARY_PATH": str(folder), "PATH": os.environ["PATH"], **values}
        for library, mode, name in (("libcuda.so.1", cuda, "FAKE_CUDA"), ("libnvidia-ml.so.1", nvml, "FAKE_NVML")):
            if mode is not None:
                shutil.copy(drivers / library, folder)
                environ[name] = mode
        (tmp_path / "root").mkdir(exist_ok=True)
        seconds = 1.0 if "hang" in (cuda, nvml) else 60.0
        return detect(details=details, seconds=seconds, environ=environ, root=tmp_path / "root")

    return run


@pytest.fixture
def files(tmp_path: Path) -> Callable[[dict[str, str]], None]:
    """Put files under the root that the machine has."""

    def write(contents: dict[str, str]) -> None:
        for name, text in contents.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write
