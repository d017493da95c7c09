"""The fake runtime: its names, its answers, and what it says of real libraries before and after `shim patch`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf
from tests.builders.c_code import compile_c
from tests.builders.kernels import build_shared
from tests.oracles.cudart_exports import SONAMES, exports
from tests.oracles.fake_cudart import HERE, Run, build, emulator, run
from tests.oracles.live import live_containers
from tests.oracles.nvjitlink import Choice, judge
from tests.oracles.symbols import container_symbols
from tests.oracles.test_selection_table import Image
from tests.oracles.wrapper_walk import walk

NATIVE = platform.machine()
MACHINES = [NATIVE, *({"x86_64", "aarch64"} - {NATIVE})]
BEFORE = (Image("sass", "80"), Image("ptx", "80"))

WHOLE = """
__device__ int counter = 3;
__constant__ float table[4];
template <class T> __global__ void scale(T* x, T by) { x[threadIdx.x] *= by + table[0]; atomicAdd(&counter, 1); }
extern "C" int launch_float() { scale<float><<<2, 64>>>(nullptr, 2.f); return cudaGetLastError(); }
extern "C" int launch_double() { scale<double><<<2, 64>>>(nullptr, 2.); return cudaGetLastError(); }
extern "C" int copied() {
  float out[4] = {1, 2, 3, 4}, back[4] = {};
  if (cudaMemcpyToSymbol(table, out, sizeof out) || cudaMemcpyFromSymbol(back, table, sizeof back)) return -1;
  return static_cast<int>(back[3]);
}
extern "C" int properties() {
  struct { cudaDeviceProp at; char guard[64]; } p;
  memset(p.guard, 77, sizeof p.guard);
  if (cudaGetDeviceProperties(&p.at, 0) || p.guard[0] != 77 || p.guard[63] != 77) return -1;
  if (p.at.multiProcessorCount != 48 || p.at.warpSize != 32 || p.at.sharedMemPerBlockOptin != 99 << 10) return -2;
  if (p.at.regsPerMultiprocessor != 65536 || !p.at.cooperativeLaunch || p.at.maxThreadsPerMultiProcessor != 1536)
    return -3;
  if (p.at.reservedSharedMemPerBlock != 1024 || !p.at.hostRegisterSupported || p.at.surfaceAlignment != 512) return -4;
  return p.at.major * 10 + p.at.minor;
}
extern "C" int attributes() {
  cudaFuncAttributes a;
  return cudaFuncGetAttributes(&a, scale<float>) ? -1 : a.binaryVersion;
}
"""
# Without a runtime nvcc would not link device code; the folder holds an empty one.
OPEN = ("-O1", "-cudart=shared", f"-L{HERE / 'link'}")
PARTS = {
    "part.cu": "__device__ float twice(float x) { return x + x; }\n__device__ int only_here = 3;\n",
    "main.cu": "extern __device__ float twice(float);\n__global__ void use(float* x) { x[0] = twice(x[0]); }\n"
    'extern "C" int launch() { use<<<1, 1>>>(nullptr); return cudaGetLastError(); }\n',
}


def registering(folder: Path, major: int, machine: str, images: list[Image], parts: list[Image] | None = None) -> Path:
    """A library with one container, linked against the fake runtime of this CUDA major."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "container.bin").write_bytes(_core.make_container([image.entry() for image in images]))
    options = ["-shared", "-fPIC", '-DCONTAINER="container.bin"', f"-Wa,-I{folder}", str(build(major, machine))]
    if parts is not None:
        (folder / "part.bin").write_bytes(_core.make_container([image.entry() for image in parts]))
        options.append('-DPRELINKED="part.bin"')
    return compile_c(folder / "library.so", [HERE / "registering.c"], machine=machine, options=options)


def patched(library: Path, folder: Path) -> Path:
    """What `shim patch` makes of it."""
    environment = {**os.environ, "SHIM_CACHE_DIR": str(folder / "cache"), "SHIM_OFFLINE": "1"}
    command = [sys.executable, "-m", "shim", "patch", str(library), "-o", str(folder / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "out" / library.name


def outcomes(done: Run) -> list[tuple[str, int]]:
    return [(launch.outcome, launch.code) for launch in done.launches]


@pytest.mark.parametrize("major", SONAMES)
@pytest.mark.parametrize("machine", [NATIVE, pytest.param(MACHINES[1], marks=pytest.mark.slow)])
def test_names_versions_and_soname_are_those_of_the_real_library(major: int, machine: str) -> None:
    with build(major, machine).open("rb") as file:
        elf = ELFFile(file)
        table, numbers = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".gnu.version")
        (soname,) = (tag.soname for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_SONAME"))
        versions = {
            definition["vd_ndx"]: next(iter(names)).name
            for definition, names in elf.get_section_by_name(".gnu.version_d").iter_versions()
        }
        found = {
            symbol.name: versions[int(numbers.get_symbol(index)["ndx"])]
            for index, symbol in enumerate(table.iter_symbols())
            if symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")
        }
    assert soname == SONAMES[major]
    assert len(exports(major)) > 390
    assert found == dict.fromkeys(exports(major), SONAMES[major])


@pytest.mark.parametrize("major", SONAMES)
@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], ("NO IMAGE", 209)),
        ([Image("sass", "90"), Image("sass", "120a")], ("NO IMAGE", 209)),
        ([*BEFORE], ("JIT compute_80", 0)),
        ([*BEFORE, Image("sass", "120")], ("SASS sm_120", 0)),
        ([*BEFORE, Image("sass", "121")], ("SASS sm_121", 0)),
        ([Image("sass", "121"), Image("sass", "121a")], ("SASS sm_121a", 0)),
    ],
    ids=lambda value: value[0].replace(" ", "-") if isinstance(value, tuple) else "",
)
def test_a_library_of_each_cuda_major(
    major: int, images: list[Image], expected: tuple[str, int], tmp_path: Path
) -> None:
    library = registering(tmp_path, major, NATIVE, images)
    done = run(library, ["launch", "last_error", "last_error", "capability", "symbol", "generated"], major=major)
    (module,) = done.modules
    assert outcomes(done) == [expected]
    code = expected[1]
    assert [value for _, value in done.returned] == [code, code, 0, 1121, code, 0]
    assert done.stubs == {"cudaDeviceSynchronize"}
    assert (module.version, module.kernels, module.variables) == (1, {"kernel"}, {"variable": 12})
    assert module.image == (tmp_path / "container.bin").read_bytes()
    assert Path(module.library) == library
    # Three ways to the same bytes: handed to the runtime, found in the file, found in memory.
    (live,) = live_containers(library)
    assert (live.data, live.address, live.version) == (module.image, module.address, 1)


def test_a_device_link_without_an_image_is_linked_from_its_parts(tmp_path: Path) -> None:
    def outcome(name: str, images: list[Image], parts: list[Image]) -> Run:
        return run(registering(tmp_path / name, 13, NATIVE, images, parts), ["launch"], major=13)

    old, ptx = [Image("sass", "80")], [Image("ptx", "90")]
    done = outcome("jit", old, ptx)
    assert outcomes(done) == [("JIT compute_90", 0)]
    assert done.modules[0].prelinked == ((tmp_path / "jit" / "part.bin").read_bytes(),)
    assert outcomes(outcome("none", old, old)) == [("NO IMAGE", 209)]
    assert outcomes(outcome("linked", [*old, Image("sass", "121")], ptx)) == [("SASS sm_121", 0)]


def test_an_unknown_kernel_and_a_broken_library_are_reported(tmp_path: Path) -> None:
    library = registering(tmp_path, 13, NATIVE, [*BEFORE])
    assert outcomes(run(library, ["launch_unknown"], major=13)) == [("UNKNOWN KERNEL", 98)]
    with pytest.raises(RuntimeError, match="ended with 3"):
        run(library, ["no_such_function"], major=13)
    with pytest.raises(RuntimeError, match="ended with 2"):
        run(tmp_path / "container.bin", major=13)


def test_settings_of_the_driver(tmp_path: Path) -> None:
    jit, exact = [*BEFORE], [*BEFORE, Image("sass", "121")]
    old, new = (registering(tmp_path / str(len(i)), 13, NATIVE, i) for i in (jit, exact))

    def outcome(library: Path, **environment: str) -> list[tuple[str, int]]:
        return outcomes(run(library, ["launch"], major=13, environment=environment))

    assert outcome(old, CUDA_DISABLE_PTX_JIT="1") == [("NO IMAGE", 209)]
    assert outcome(new, CUDA_DISABLE_PTX_JIT="1") == [("SASS sm_121", 0)]
    assert outcome(new, CUDA_FORCE_PTX_JIT="1") == [("JIT compute_80", 0)]
    assert outcome(old, SHIM_FAKE_GPU_ISA="809") == [("JIT TOO NEW compute_80", 222)]  # the PTX is of ISA 9.0
    assert outcome(old, SHIM_FAKE_GPU_SM="80") == [("SASS sm_80", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("major", SONAMES)
def test_the_other_machine_under_emulation(major: int, tmp_path: Path) -> None:
    machine = MACHINES[1]
    if emulator(machine) is None:
        pytest.skip(f"needs qemu-user-static and the C library of {machine}")
    library = registering(tmp_path, major, machine, [*BEFORE])
    done = run(library, ["launch", "capability"], major=major, machine=machine)
    assert outcomes(done) == [("JIT compute_80", 0)]
    assert [value for _, value in done.returned] == [0, 1121]
    assert done.modules[0].image == live_containers(library)[0].data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library made by nvcc, before and after `shim patch`."""
    folder = tmp_path_factory.mktemp("whole")
    library = build_shared(folder, {"whole.cu": WHOLE}, extra=OPEN, name="whole.so")
    return library, patched(library, folder)


CALLS = ("launch_float", "launch_double", "copied", "properties", "attributes")


@pytest.mark.parametrize("major", [12, 13])  # nvcc 13 calls functions that CUDA 11 did not have
def test_code_of_nvcc_before_and_after_patching(whole: tuple[Path, Path], major: int) -> None:
    calls = [call for call in CALLS if major == 13 or call != "properties"]  # its struct is that of CUDA 13
    for library, expected, choice in zip(
        whole, ("JIT compute_80", "SASS sm_121"), (Choice.JIT, Choice.SASS), strict=True
    ):
        done = run(library, calls, major=major)
        (module,) = done.modules
        assert outcomes(done) == [(expected, 0)] * 2
        assert [launch.kernel for launch in done.launches] == ["_Z5scaleIfEvPT_S0_", "_Z5scaleIdEvPT_S0_"]
        answers = dict(zip(CALLS, (0, 0, 4, 121, 121), strict=True))
        assert list(done.returned) == [(call, answers[call]) for call in calls]
        assert judge(module.image) is choice
        assert [container.data for container in live_containers(library)] == [module.image]
    symbols = container_symbols(module.image, "121")
    assert symbols.kernels == module.kernels
    assert module.variables == {"counter": 4, "table": 16}
    assert module.variables.items() <= symbols.variables.items()


def test_device_linked_code_of_nvcc_before_and_after_patching(tmp_path: Path) -> None:
    library = build_shared(tmp_path, PARTS, rdc=True, extra=OPEN, name="linked.so")
    before, after = (run(path, ["launch"], major=13) for path in (library, patched(library, tmp_path)))
    assert (outcomes(before), outcomes(after)) == ([("JIT compute_80", 0)], [("SASS sm_121", 0)])
    (old,), (new,) = before.modules, after.modules
    assert (old.version, len(old.prelinked), new.prelinked) == (2, 2, old.prelinked)
    assert (judge(old.image), judge(new.image)) == (Choice.REJECT, Choice.SASS)
    symbols = container_symbols(new.image, "121")
    assert (symbols.kernels, new.kernels) == ({"_Z3usePf"}, {"_Z3usePf"})
    # The walk sees what the start-up code wrote: which parts belong to the device link.
    preload = {"LD_PRELOAD": str(build(13))}
    (linked,) = (w for w in walk(tmp_path / "out/linked.so", environment=preload).wrappers if w.version == 2)
    assert (linked.size, len(linked.prelinked)) == (len(new.image), 2)
    sample = walk(elf.sample("gnu-rela").path).wrappers[2]
    assert (sample.version, sample.prelinked) == (2, ())  # nothing registered it: its array is empty


def test_machine_code_of_other_devices_only(tmp_path: Path) -> None:
    library = build_shared(tmp_path, {"w.cu": WHOLE}, ptx=(), extra=OPEN, name="old.so")
    done = run(library, ["launch_float", "copied"], major=13)
    assert outcomes(done) == [("NO IMAGE", 209)]
    assert [value for _, value in done.returned] == [209, -1]
