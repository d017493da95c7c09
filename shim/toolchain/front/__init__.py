"""A stand-in for nvcc that lets a build of any kind reach the target's architecture, and logs what it changed.

`install` makes an overlay CUDA_HOME with the stand-in as `bin/nvcc`, `environment` says which variables lead a build
to it, `read_log` gives what happened.
"""

from shim.toolchain.front.install import environment, install
from shim.toolchain.front.log import NvccCall, read_log
from shim.toolchain.front.request import ArchRequest, Mode

__all__ = ["ArchRequest", "Mode", "NvccCall", "environment", "install", "read_log"]
