"""The fake runtime beside the published ones: names, and struct cudaDeviceProp as NVIDIA's own headers lay it out."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.c_code import compile_c
from tests.oracles.cudart_exports import LIST, SONAMES, WHEELS, exports, published, render
from tests.oracles.fake_cudart import build

pytestmark = pytest.mark.real

FIELDS = (
    "totalGlobalMem",
    "sharedMemPerBlock",
    "regsPerBlock",
    "warpSize",
    "memPitch",
    "maxThreadsPerBlock",
    "totalConstMem",
    "major",
    "minor",
    "textureAlignment",
    "texturePitchAlignment",
    "multiProcessorCount",
    "integrated",
    "surfaceAlignment",
    "concurrentKernels",
    "asyncEngineCount",
    "unifiedAddressing",
    "memoryBusWidth",
    "l2CacheSize",
    "maxThreadsPerMultiProcessor",
    "streamPrioritiesSupported",
    "sharedMemPerMultiprocessor",
    "regsPerMultiprocessor",
    "managedMemory",
    "pageableMemoryAccess",
    "concurrentManagedAccess",
    "cooperativeLaunch",
    "sharedMemPerBlockOptin",
    "maxBlocksPerMultiProcessor",
    "reservedSharedMemPerBlock",
)
PROBE = """
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>
int main(void) {
  struct { struct cudaDeviceProp at; unsigned char guard[64]; } p;
  memset(&p, 77, sizeof p);
  if (cudaGetDeviceProperties(&p.at, 0)) return 1;
  for (unsigned n = 0; n < sizeof p.guard; n++) if (p.guard[n] != 77) return 2;
  printf("name=%%s\\n", p.at.name);
%s
  struct cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, &p) != cudaErrorInvalidDeviceFunction;
}
"""
SPARK = {"major": 12, "minor": 1, "warpSize": 32, "multiProcessorCount": 48, "regsPerBlock": 65536, "integrated": 1}
SPARK |= {"sharedMemPerBlock": 49152, "sharedMemPerBlockOptin": 101376, "sharedMemPerMultiprocessor": 102400}
SPARK |= {"maxThreadsPerMultiProcessor": 1536, "surfaceAlignment": 512, "reservedSharedMemPerBlock": 1024}
SPARK |= {"maxBlocksPerMultiProcessor": 24, "cooperativeLaunch": 1, "totalGlobalMem": 119 << 30}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_list_is_that_of_the_published_libraries(machine: str) -> None:
    found = {major: published(major, machine) for major in SONAMES}
    # A release newer than the list may add names; none may be missing from it.
    for major, names in found.items():
        assert frozenset(exports(major)) <= names
    if all(len(names) == len(exports(major)) for major, names in found.items()):
        assert render(found) == LIST.read_text()


@pytest.mark.parametrize("major", SONAMES)
def test_properties_as_a_program_reads_them(major: int, tmp_path: Path) -> None:
    """Compiled against NVIDIA's headers of that CUDA major, linked with the fake library."""
    wheels = [WHEELS[major], *(["nvidia-cuda-crt"] if major >= 13 else [f"nvidia-cuda-nvcc-cu{major}"])]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    subprocess.run([*pip, *wheels], check=True, capture_output=True)
    includes = sorted({path.parent for path in (tmp_path / "site").rglob("cuda_runtime_api.h")})
    includes += sorted({path.parent.parent for path in (tmp_path / "site").rglob("crt/host_defines.h")})
    lines = "".join(f'  printf("{name}=%lld\\n", (long long)p.at.{name});\n' for name in FIELDS)
    (tmp_path / "probe.c").write_text(PROBE % lines)
    library = build(major)
    options = [*(f"-isystem{path}" for path in includes), str(library), f"-Wl,-rpath,{library.parent}"]
    program = compile_c(tmp_path / "probe", [tmp_path / "probe.c"], machine=platform.machine(), options=options)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    found = dict(line.split("=") for line in done.stdout.splitlines())
    assert found.pop("name") == "Fake GB10 (test oracle)"
    assert {name: int(found[name]) for name in SPARK} == SPARK
