"""The wheel of shim itself: it holds everything, and a machine without a compiler can install and run it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.real  # pip fetches the build backend

ROOT = Path(__file__).parents[2]
DATA = {
    "shim/py.typed",
    "shim/_core.pyi",
    "shim/_cuda.pyi",
    "shim/scan/report.schema.json",
    "shim/scan/known_gpu.toml",
    "shim/toolchain/pins.toml",
    "shim/applying/samples/block-scaled.ptx",
    "shim/patches/__init__.py",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_everything(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "shim").rglob("*.py")}
    assert sources | DATA <= names
    assert any(name.startswith("shim/_core.") and name.endswith(".so") for name in names)


def test_own_cuda_module_is_native_and_its_ptx_suits_the_driver(wheel: Path, tmp_path: Path) -> None:
    """CMake's list `80-virtual;121-real`: exact code for the Spark, and PTX that driver 580 (ISA 9.0) reads."""
    from shim.devicecode import ImageKind, read_path

    with zipfile.ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if name.startswith("shim/_cuda.") and name.endswith(".so")]
        if not found:
            from shim.toolchain import find_tools

            assert not any(tool.origin == "PATH" for tool in find_tools("nvcc")), (
                "nvcc is on PATH, but _cuda was not built"
            )
            return
        path = Path(archive.extract(found[0], tmp_path))
    images = [image for container in read_path(path).containers for image in container.images]
    assert {(image.kind, str(image.arch)) for image in images} == {(ImageKind.PTX, "80"), (ImageKind.SASS, "121")}
    assert max(image.version for image in images if image.kind is ImageKind.PTX) <= (9, 0)


def test_installs_and_runs_without_a_compiler(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    bare = {**os.environ, "PATH": str(venv / "bin"), "CC": "/nonexistent", "CXX": "/nonexistent"}
    install = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", wheel]
    subprocess.run(install, check=True, capture_output=True, env=bare)
    done = subprocess.run(
        [python, "-m", "shim", "scan", wheel, "--platform", "native"], env=bare, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sm121-shim" in done.stdout or "sm121_shim" in done.stdout
    tested = subprocess.run([venv / "bin" / "shim", "selftest"], env=bare, capture_output=True, text=True)
    assert tested.returncode in (0, 9)
    assert "Traceback" not in tested.stderr
