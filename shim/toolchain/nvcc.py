"""What nvcc needs in its environment when it comes from wheels."""

from __future__ import annotations

import os
from collections.abc import Mapping

from shim.toolchain.tool import Tool

_FLAGS = "NVCC_APPEND_FLAGS"


def nvcc_environment(nvcc: Tool, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a whole environment in which this nvcc compiles and links.

    NVIDIA's wheels put `libcudart_static.a` and `libcudadevrt.a` in `lib`, while the nvcc in them looks in
    `lib64` only (`nvcc.profile`, 13.0.88); one `-L` more cures it, for the host linker and for nvlink.
    Everything else is found from nvcc's own path. A host compiler (g++) must be on PATH.

    Args:
        environ: the environment to add to; None = the present one.
    """
    environ = dict(os.environ if environ is None else environ)
    home = nvcc.path.parent.parent
    static = "libcudart_static.a"
    if (home / "lib" / static).is_file() and not (home / "lib64" / static).is_file():
        environ[_FLAGS] = f"{environ.get(_FLAGS, '')} -L{home / 'lib'}".strip()
    return environ
