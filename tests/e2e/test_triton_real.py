"""Published releases of Triton compile kernels for 12.1 without a GPU: not as installed, but under `shim exec`."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from shim.devicecode import read_cubin

pytestmark = [pytest.mark.real, pytest.mark.slow]

KERNELS = """\
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    tl.store(out + i, tl.load(x + i, mask=mask) + tl.load(y + i, mask=mask), mask=mask)

@triton.jit
def dot(a, b, c, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    at = i[:, None] * BLOCK + i[None, :]
    tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at)))

one = {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32", "BLOCK": "constexpr"}
two = {"a": "*fp16", "b": "*fp16", "c": "*fp32", "BLOCK": "constexpr"}
for kernel, signature, block in ((add, one, 1024), (dot, two, 32)):
    source = ASTSource(kernel, signature=signature, constexprs={"BLOCK": block})
    made = triton.compile(source, target=GPUTarget("cuda", 121, 32))
    with open(f"{source.name}.cubin", "wb") as file:
        file.write(made.asm["cubin"])
"""


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An environment with nothing but one Triton, by its version; made when it is first asked for."""
    root = Path(os.environ.get("SHIM_TEST_CACHE") or tmp_path_factory.mktemp("triton"))

    class Made(dict[str, Path]):
        def __missing__(self, version: str) -> Path:
            home = root / f"triton-{version}"
            python = home / "bin" / "python"
            if not (home / "complete").exists():
                venv.create(home, with_pip=True, symlinks=True)
                packages = [f"triton=={version}", "setuptools"]
                subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True)
                (home / "complete").touch()
            self[version] = python
            return python

    return Made()


def compile_kernels(python: Path, folder: Path, *prefix: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "kernels.py").write_text(KERNELS)
    for left in folder.glob("*.cubin"):
        left.unlink()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    environ |= {"TRITON_CACHE_DIR": str(folder / f"cache{len(list(folder.iterdir()))}"), **variables}
    argv = [*prefix, str(python), "kernels.py"]
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False)


def made(folder: Path) -> dict[str, str]:
    """Architecture by kernel, as shim's own reader sees it; a kernel without code is left out."""
    found = {}
    for path in sorted(folder.glob("*.cubin")):
        cubin = read_cubin(path.read_bytes())
        found |= {kernel.name: f"{cubin.sm}{cubin.feature}" for kernel in cubin.kernels if kernel.size > 100}
    return found


EXEC = (sys.executable, "-m", "shim", "exec", "--")
BOTH = {"add": "121a", "dot": "121a"}


@pytest.mark.parametrize(
    ("version", "variable"),
    [
        ("3.3.1", "TRITON_PTXAS-BLACKWELL_PATH"),
        ("3.4.0", "TRITON_PTXAS_PATH"),
        ("3.5.1", "TRITON_PTXAS_PATH"),
    ],
)
def test_it_fails_before_and_works_after(pythons, tmp_path, version, variable):
    python = pythons[version]
    before = compile_kernels(python, tmp_path)
    assert before.returncode != 0
    assert "Value 'sm_121a' is not defined for option 'gpu-name'" in before.stderr
    assert made(tmp_path) == {}
    files = sorted((path, path.stat().st_mtime_ns) for path in python.parents[1].rglob("*ptxas*"))
    after = compile_kernels(python, tmp_path, *EXEC)
    assert after.returncode == 0, after.stderr
    assert f"{variable}=" in after.stderr
    assert made(tmp_path) == BOTH
    assert files == sorted((path, path.stat().st_mtime_ns) for path in python.parents[1].rglob("*ptxas*"))


def test_3_6_needs_nothing_and_is_given_nothing(pythons, tmp_path):
    done = compile_kernels(pythons["3.6.0"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == BOTH
    assert "PTXAS" not in compile_kernels(pythons["3.6.0"], tmp_path, *EXEC).stderr


@pytest.mark.parametrize("name", ["TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"])
def test_3_3_looks_at_no_other_variable(pythons, tmp_path, name):
    """The reason for the odd name with a hyphen."""
    from shim.toolchain import ToolStore, own_pins

    pin = next(pin for pin in own_pins() if pin.requirement == "nvidia-cuda-nvcc-cu12==12.9.86")
    good = ToolStore.default().fetch(pin, "ptxas")
    done = compile_kernels(pythons["3.3.1"], tmp_path, **{name: str(good.path)})
    assert "Value 'sm_121a' is not defined" in done.stderr


def test_3_4_does_not_work_with_a_ptxas_of_cuda_13(pythons, tmp_path):
    from builders.kernels import tool

    ptxas = tool("ptxas")
    if ptxas.version[0] < 13:
        pytest.skip("this machine's ptxas is not of CUDA 13")
    done = compile_kernels(pythons["3.4.0"], tmp_path, TRITON_PTXAS_PATH=str(ptxas.path))
    assert "CUDA 10.0 or higher" in done.stderr
    again = compile_kernels(pythons["3.4.0"], tmp_path, *EXEC, TRITON_PTXAS_PATH=str(ptxas.path))
    assert again.returncode == 0, again.stderr
    assert "is passed over" in again.stderr
