"""Real bitsandbytes on the fake runtime, before and after `shim patch`, for both machines.

Each of its libraries is loaded, a kernel is launched through one of its C functions, and everything it registers is
looked up in the image that a DGX Spark would take. cuBLAS and what else is not here are stand-ins.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracles.fake_cudart import Run, build, emulator, run
from tests.oracles.live import live_containers
from tests.oracles.needed import cuda_major, stand_ins
from tests.oracles.nvjitlink import Choice, judge
from tests.oracles.symbols import container_symbols
from tests.oracles.wrapper_walk import walk

pytestmark = pytest.mark.real

WHEEL = "bitsandbytes==0.50.2"
KERNEL = "_Z18kQuantizeBlockwiseIfLi64ELi2ELi0ELi0EEvPfPT_S0_PhS0_ii"
CALL = "cquantize_blockwise_fp32:p,p,p,p,64,4096"
SYSTEM = ("libcudart", "librt", "libpthread", "libdl", "libm.", "libgcc_s", "libc.", "ld-linux")

# What a 12.1 device does with each library as published. 12.0 code of CUDA 12.8 lacks the mark for later devices.
JIT = dict.fromkeys(("118", "121", "124", "126"), "JIT compute_90")
PUBLISHED = {
    "x86_64": {**JIT, "128": "UNPROVEN sm_120", "130": "SASS sm_120", "132": "SASS sm_120"},
    "aarch64": {**JIT, "128": "UNPROVEN sm_120", "130": "SASS sm_121", "132": "SASS sm_121"},
}
VARIABLES = {"118": 21, "121": 21, "124": 28, "126": 48, "128": 49, "130": 50, "132": 75}
# Parts of names that differ from build to build: CUB's list of architectures, and nvcc's number of a translation unit.
BUILD = re.compile(
    r"\d+(?:CUB|THRUST)_[\d_]+_NS"
    r"|(?:__nv_static_|ZN)?\d*_(?:INTERNAL|GLOBAL__N)?_+[0-9a-f]{8}_\d+_(?P<file>\w+?_cu)_[0-9a-f]{8}_\d+"
)
NEEDS_PATCH = {"118", "121", "124", "126", "128"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """The CUDA libraries of one wheel by CUDA version ("126"), before and after patching."""

    machine: str
    before: dict[str, Path]
    after: dict[str, Path]
    changed: frozenset[str]


def unpack(wheel: Path, folder: Path) -> dict[str, Path]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "libbitsandbytes_cuda" in name]
        return {
            Path(name).stem.removeprefix("libbitsandbytes_cuda"): Path(archive.extract(name, folder)) for name in names
        }


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Unpacked]:
    """Fetches and patches the wheel of a machine, once."""
    made: dict[str, Unpacked] = {}
    kept = os.environ.get("SHIM_TEST_CACHE")
    cache = Path(kept) / "real" if kept else tmp_path_factory.mktemp("cache")

    def get(machine: str) -> Unpacked:
        if machine in made:
            return made[machine]
        folder = tmp_path_factory.mktemp(machine)
        platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 24, 28)]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
        subprocess.run([*pip, "-d", folder, WHEEL], check=True, capture_output=True)
        (wheel,) = folder.glob("*.whl")
        command = [sys.executable, "-m", "shim", "patch", str(wheel), "-o", str(folder / "out"), "--format", "json"]
        environment = {**os.environ, "SHIM_CACHE_DIR": str(cache)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        before = unpack(wheel, folder / "before")
        after = unpack(Path(json.loads(done.stdout)["path"]), folder / "after")
        changed = frozenset(name for name in before if before[name].read_bytes() != after[name].read_bytes())
        made[machine] = Unpacked(machine=machine, before=before, after=after, changed=changed)
        return made[machine]

    return get


def neighbours(library: Path, folder: Path, machine: str) -> Path:
    """Stand-ins for what it needs. The C++ library of another machine is not here either."""
    return stand_ins(library, folder, keep=(*SYSTEM, *(["libstdc++"] if machine == platform.machine() else [])))


def load(library: Path, folder: Path, machine: str) -> Run:
    folders = [neighbours(library, folder, machine)]
    return run(library, [CALL], major=cuda_major(library), machine=machine, folders=folders)


MACHINES = [
    platform.machine(),
    *(pytest.param(m, marks=pytest.mark.slow) for m in ("x86_64", "aarch64") if m != platform.machine()),
]


def common(names: Iterable[str]) -> set[str]:
    """Names without what differs from build to build."""
    return {BUILD.sub(r"*\g<file>", name) for name in names}


def runnable(machine: str) -> str:
    if emulator(machine) is None:
        pytest.skip(f"needs qemu-user-static and the C library of {machine}")
    return machine


@pytest.mark.parametrize("machine", MACHINES)
def test_launches_before_and_after(machine: str, unpacked: Callable[[str], Unpacked], tmp_path: Path) -> None:
    wheel = unpacked(runnable(machine))
    assert wheel.before.keys() == VARIABLES.keys()
    assert wheel.changed == NEEDS_PATCH
    for name, expected in PUBLISHED[machine].items():
        before = load(wheel.before[name], tmp_path / name, machine)
        after = load(wheel.after[name], tmp_path / name, machine)
        code = 209 if expected.startswith("UNPROVEN") else 0
        better = "SASS sm_121" if name in NEEDS_PATCH else expected
        for done, outcome, error in ((before, expected, code), (after, better, 0)):
            assert [(one.kernel, one.outcome, one.code) for one in done.launches] == [(KERNEL, outcome, error)], name
            # The library itself ends the process when a launch fails.
            assert (done.code, "NoKernelImage" in done.errors) == ((1, True) if error else (0, False)), name


@pytest.mark.parametrize("machine", MACHINES)
def test_everything_registered_is_in_the_image(
    machine: str, unpacked: Callable[[str], Unpacked], tmp_path: Path
) -> None:
    """Names as handed to the runtime by the process; variables with their size, too."""
    wheel = unpacked(runnable(machine))
    for name, library in wheel.after.items():
        (module,) = load(library, tmp_path / name, machine).modules
        assert (module.version, len(module.prelinked)) == (2, 6)
        assert (len(module.kernels), len(module.variables)) == (202, VARIABLES[name])
        arch = "121" if name in NEEDS_PATCH else PUBLISHED[machine][name].rpartition("_")[2]
        symbols = container_symbols(module.image, arch)
        assert module.kernels <= symbols.kernels, (name, module.kernels - symbols.kernels)
        assert module.variables.items() <= symbols.variables.items(), name
        assert judge(module.image) is Choice.SASS
        # The file, read by itself, leads to the same bytes.
        assert [c.data for c in live_containers(library)] == [module.image]


def test_names_of_one_machine_are_those_of_the_other(unpacked: Callable[[str], Unpacked], tmp_path: Path) -> None:
    """Without an emulator: what a library registers here is found in the cubin of its twin for the other machine."""
    here, there = unpacked(platform.machine()), unpacked({"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()])
    for name in NEEDS_PATCH:
        (module,) = load(here.after[name], tmp_path / name, here.machine).modules
        (live,) = live_containers(there.after[name])
        symbols = container_symbols(live.data, "121")
        assert judge(live.data) is Choice.SASS
        assert common(module.kernels) <= common(symbols.kernels), name
        assert common(module.variables) <= common(symbols.variables), name
        assert (len(common(module.kernels)), len(common(module.variables))) == (202, VARIABLES[name])


def test_rejected_and_compiled_containers_before(unpacked: Callable[[str], Unpacked]) -> None:
    """NVIDIA's linker on the published bytes: the linked container has nothing for 12.1, CUDA 13 builds have."""
    wheel = unpacked(platform.machine())
    for name, library in wheel.before.items():
        (live,) = live_containers(library)
        assert judge(live.data) is (Choice.REJECT if name in NEEDS_PATCH else Choice.SASS), name


def test_wrappers_in_memory(unpacked: Callable[[str], Unpacked], tmp_path: Path) -> None:
    """Loaded without the fake's help but for its names: the array of the device link names its six parts."""
    wheel = unpacked(platform.machine())
    library = wheel.after["126"]
    folders = [build(cuda_major(library)).parent, neighbours(library, tmp_path / "needed", wheel.machine)]
    images = tmp_path / "images"
    images.mkdir()
    found = walk(library, images=images, environment={"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))})
    (linked,) = (wrapper for wrapper in found.wrappers if wrapper.version == 2)
    parts = [wrapper.sha256 for wrapper in found.wrappers if wrapper.version == 1]
    assert sorted(linked.prelinked) == sorted(parts)
    assert len(parts) == 6
    assert judge((images / f"{linked.sha256}.fatbin").read_bytes()) is Choice.SASS
