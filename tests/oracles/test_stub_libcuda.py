"""The stub driver: users of the driver API see a 12.1 device, and every image they load is judged."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from shim import _core
from tests.oracles import ptxas
from tests.oracles.nvjitlink import Choice, choose
from tests.oracles.stub_libcuda import Use, use
from tests.oracles.test_selection_table import Image


@cache
def images() -> dict[str, tuple[bytes, str, str, int]]:
    """File name -> image, its form, and what becomes of it."""
    jit = _core.make_container([Image("sass", "80").entry(), Image("ptx", "80").entry()])
    none = _core.make_container([Image("sass", "90a").entry()])
    return {
        "jit.fatbin": (jit, "fatbin", "JIT compute_80", 0),
        "none.fatbin": (none, "fatbin", "NO IMAGE", 209),
        "exact.cubin": (ptxas.cubin("121a"), "cubin", "SASS sm_121a", 0),
        "other.cubin": (ptxas.cubin("120a"), "cubin", "NO IMAGE", 209),
        "family.cubin": (ptxas.cubin("120"), "cubin", "SASS sm_120", 0),
        "text.ptx": (ptxas.ptx("90")[:-1], "ptx", "JIT compute_90", 0),
        "newer.ptx": (ptxas.ptx("90", version="9.4")[:-1], "ptx", "JIT TOO NEW compute_90", 222),
        "garbage": (b"garbage", "ptx", "DAMAGED", 200),
    }


PLAIN = """
import ctypes, pathlib, sys
cuda = ctypes.CDLL("libcuda.so.1")
count, major, minor, version = (ctypes.c_int() for _ in range(4))
codes = [cuda.cuInit(0), cuda.cuDeviceGetCount(ctypes.byref(count)), cuda.cuDriverGetVersion(ctypes.byref(version))]
codes += [cuda.cuDeviceGetAttribute(ctypes.byref(v), n, 0) for v, n in ((major, 75), (minor, 76))]
print(codes, count.value, major.value, minor.value, version.value)
for path in sys.argv[1:]:
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    load = cuda.cuModuleLoad if path.endswith("cubin") else cuda.cuModuleLoadData
    code = load(ctypes.byref(module), path.encode() if path.endswith("cubin") else pathlib.Path(path).read_bytes())
    if code == 0:
        assert cuda.cuModuleGetFunction(ctypes.byref(function), module, b"kernel") == 0
        code = cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, None, None)
    print(code)
table, found, status = ctypes.c_void_p(1), ctypes.c_void_p(), ctypes.c_int(9)
print(cuda.cuGetExportTable(ctypes.byref(table), bytes(16)), table.value)
print(cuda.cuGetProcAddress_v2(b"cuNewFunction", ctypes.byref(found), 13000, ctypes.c_uint64(0), ctypes.byref(status)))
print(ctypes.CFUNCTYPE(ctypes.c_int)(found.value)(), status.value)
"""
BINDINGS = """
import pathlib, sys
from cuda.bindings import driver

def ok(result):
    assert result[0] == driver.CUresult.CUDA_SUCCESS, result
    return result[1] if len(result) == 2 else None

names = driver.CUdevice_attribute
ok(driver.cuInit(0))
device = ok(driver.cuDeviceGet(0))
capability = (names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
print(*(ok(driver.cuDeviceGetAttribute(name, device)) for name in capability))
ok(driver.cuCtxSetCurrent(ok(driver.cuDevicePrimaryCtxRetain(device))))
for path in sys.argv[1:]:
    image = pathlib.Path(path).read_bytes()
    error, library = driver.cuLibraryLoadData(image, [], [], 0, [], [], 0)
    print(int(error), int(driver.cuModuleLoadData(image)[0]))
    if not error:
        kernel = ok(driver.cuKernelGetFunction(ok(driver.cuLibraryGetKernel(library, b"kernel"))))
        ok(driver.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0))
print(int(driver.cuDeviceGetPCIBusId(13, device)[0]))
"""
TRITON = """
import sys, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.driver import CudaUtils
from triton.compiler import ASTSource

@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + tl.load(y + i, mask=i < n), mask=i < n)

utils = CudaUtils()
print(utils.get_device_properties(0)["multiprocessor_count"])
signature = {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32", "BLOCK": "constexpr"}
for capability in (121, 90):
    source = ASTSource(add, signature=signature, constexprs={"BLOCK": 1024})
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    try:
        utils.load_binary("add", made.asm["cubin"], made.metadata.shared, 0)
    except RuntimeError as error:
        print(error)
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, (image, *_) in images().items():
        (tmp_path / name).write_bytes(image)
    return [tmp_path / name for name in images()]


def seen(found: Use) -> list[tuple[bytes, str, str, int]]:
    return [(load.image, load.form, load.outcome, load.code) for load in found.loads]


def test_every_image_is_judged_and_nothing_private_is_there(files: list[Path]) -> None:
    found = use([sys.executable, "-c", PLAIN, *files])
    lines = found.output.splitlines()
    assert lines[0] == "[0, 0, 0, 0, 0] 1 12 1 13000"
    assert [int(line) for line in lines[1:-3]] == [code for *_, code in images().values()]
    assert lines[-3:] == ["500 None", "0", "801 0"]
    assert [entry[1:] for entry in seen(found)] == [tuple(rest) for _, *rest in images().values()]
    assert [load.image for load in found.loads[:-1]] == [image for image, *_ in images().values()][:-1]
    assert {load.call for load in found.loads} == {"cuModuleLoad", "cuModuleLoadData"}
    assert [(launch.outcome, launch.code) for launch in found.launches] == [
        (load.outcome, 0) for load in found.loads if load.code == 0
    ]
    assert found.calls == {"cuGetExportTable", "cuNewFunction"}


def test_the_linker_agrees_about_the_containers() -> None:
    words = {Choice.JIT: "JIT compute_80", Choice.REJECT: "NO IMAGE"}
    for image, form, outcome, _ in images().values():
        if form == "fatbin":
            assert words[choose(image, "121a")] == outcome


def install(folder: Path, *requirements: str) -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *requirements]
    subprocess.run(command, check=True, capture_output=True)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.real
def test_cuda_bindings_see_a_spark(files: list[Path], tmp_path: Path) -> None:
    site = install(tmp_path / "site", "cuda-bindings==13.*")
    names = [path for path in files if path.name != "garbage"]
    found = use([sys.executable, "-c", BINDINGS, *names], environment=site)
    capability, *codes, unanswered = found.output.splitlines()
    assert (capability, unanswered) == ("12 1", "801")
    expected = [images()[path.name] for path in names]
    assert codes == [f"{code} {code}" for *_, code in expected]
    assert seen(found) == [row for row in expected for _ in range(2)]
    assert [load.call for load in found.loads] == ["cuLibraryLoadData", "cuModuleLoadData"] * len(names)
    assert {launch.outcome for launch in found.launches} == {row[2] for row in expected if row[3] == 0}
    assert found.calls == {"cuDeviceGetPCIBusId"}


@pytest.mark.real
@pytest.mark.slow
def test_triton_loads_what_it_compiled() -> None:
    """Triton's own C code (it is compiled against the stub) loads its cubin for 121a; one for 9.0 is refused."""
    with tempfile.TemporaryDirectory() as folder:
        site = install(Path(folder, "site"), "triton==3.6.0")
        script = Path(folder, "kernels.py")
        script.write_text(TRITON)
        found = use([sys.executable, script], environment={**site, "TRITON_CACHE_DIR": str(Path(folder, "cache"))})
    assert found.output.splitlines()[0] == "48"
    assert [(load.form, load.outcome) for load in found.loads] == [("cubin", "SASS sm_121a"), ("cubin", "NO IMAGE")]
    assert found.kernels == ("add",)
    assert "CUDA_ERROR_NO_BINARY_FOR_GPU" in found.output
