"""Runs two files of torch without torch: `cpp_extension.py` and `select_compute_arch.cmake`, before a made-up GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CPP_EXTENSION = "torch/utils/cpp_extension.py"
SELECT_ARCH = "torch/share/cmake/Caffe2/Modules_CUDA_fix/upstream/FindCUDA/select_compute_arch.cmake"

# Whatever else of torch the file imports is a module that has every name.
_CHILD = """\
import importlib.abc, importlib.machinery, importlib.util, json, sys, types

class Anything:
    def __init__(self, *args, **kwargs): pass
    def __call__(self, *args, **kwargs): return Anything()
    def __getattr__(self, name): return Anything()

class Loader(importlib.abc.Loader):
    def create_module(self, spec): return Module(spec.name)
    def exec_module(self, module): module.__path__ = []

class Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return Anything()

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "setuptools"):
            return importlib.machinery.ModuleSpec(name, Loader(), is_package=True)

file, capability, built = sys.argv[1], tuple(map(int, sys.argv[2].split("."))), sys.argv[3].split()
sys.meta_path.insert(0, Finder())
import importlib.metadata, setuptools.command.build_ext
import torch, torch.cuda, torch.xpu, torch.version, torch.torch_version
setuptools.command.build_ext.build_ext = type("build_ext", (), {})
torch.torch_version.TorchVersion = torch.torch_version.Version = str
torch.version.cuda, torch.version.hip, torch.__version__ = "12.8", None, "2"
torch.cuda._is_compiled = torch.xpu._is_compiled = lambda: False
torch.cuda.device_count = lambda: 1
torch.cuda.get_device_capability = lambda device=None: capability
torch.cuda.get_arch_list, torch.xpu.get_arch_list = lambda: built, lambda: []
spec = importlib.util.spec_from_file_location("torch.utils.cpp_extension", file)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
try:
    print(json.dumps({"flags": module._get_cuda_arch_flags()}))
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""

_SCRIPT = """\
cmake_minimum_required(VERSION 3.18)
set(CUDA_VERSION 13.0)
set(PROJECT_BINARY_DIR "${CMAKE_CURRENT_LIST_DIR}/build")
function(try_run run_result compile_result)
  set(${run_result} 0 PARENT_SCOPE)
  set(${compile_result} TRUE PARENT_SCOPE)
  set(compute_capabilities "@DEVICES@ " PARENT_SCOPE)
endfunction()
include("${CMAKE_CURRENT_LIST_DIR}/select.cmake")
cuda_select_nvcc_arch_flags(flags @ASKED@)
message("flags=${flags}")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`flags` for nvcc, or the `error`; `said` is all that was printed."""

    flags: tuple[str, ...] = ()
    error: str = ""
    said: str = ""


def extension_flags(
    source: bytes, arch_list: str | None, folder: Path, *, device: str = "12.1", built: str = "sm_90 sm_120"
) -> Answer:
    """What `_get_cuda_arch_flags` of this `cpp_extension.py` gives for a value of TORCH_CUDA_ARCH_LIST.

    Args:
        arch_list: None = the variable is not set, so that the function asks for the GPU.
        device: capability of the GPU it then finds.
        built: architectures this torch itself has.
    """
    file = folder / "cpp_extension.py"
    file.write_bytes(source)
    environ = {name: value for name, value in os.environ.items() if name != "TORCH_CUDA_ARCH_LIST"}
    if arch_list is not None:
        environ["TORCH_CUDA_ARCH_LIST"] = arch_list
    argv = [sys.executable, "-I", "-W", "ignore", "-c", _CHILD, str(file), device, built]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    return Answer(flags=tuple(seen.get("flags", ())), error=seen.get("error", ""), said=done.stdout)


def cmake_flags(source: bytes, folder: Path, *, asked: str = "Auto", devices: str = "12.1") -> Answer:
    """What `cuda_select_nvcc_arch_flags` of this module gives; a GPU of `devices` answers its test program."""
    (folder / "select.cmake").write_bytes(source)
    script = folder / "script.cmake"
    script.write_text(_SCRIPT.replace("@DEVICES@", devices).replace("@ASKED@", asked))
    done = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    flags = next((line.removeprefix("flags=") for line in said.splitlines() if line.startswith("flags=")), "")
    error = "" if done.returncode == 0 else " ".join(said.split())  # CMake wraps its messages
    return Answer(flags=tuple(filter(None, flags.split(";"))), error=error, said=said)
