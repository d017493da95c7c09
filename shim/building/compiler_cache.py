"""sccache, where it is on PATH: objects are kept over `--again` and over versions of a package.

Each package has a cache of its own, as what a build puts there another would take. The server is started by the first
compiler, so it is under the build's limits too, and talks through a socket in the work folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from shim.store.folder import cache_root, private_folder

_SOCKET_LIMIT: Final = 100  # sun_path of Unix sockets has 108 bytes


def cache_settings(environ: Mapping[str, str], folder: Path, package: str, *, salt: str) -> dict[str, str]:
    """Variables that put sccache before the compilers of CMake and torch; {} when there is no sccache.

    Args:
        environ: of the build, with CUDA_HOME. folder: for the socket.
        salt: what the objects depend on and the command lines do not show.
    """
    program = shutil.which("sccache", path=environ.get("PATH"))
    socket = folder / "sccache.sock"
    if program is None or len(str(socket)) > _SOCKET_LIMIT:
        return {}
    kept = private_folder(cache_root() / "sccache") / canonicalize_name(package)
    return {
        "SCCACHE_DIR": str(private_folder(kept)),
        "SCCACHE_SERVER_UDS": str(socket),
        "SCCACHE_IDLE_TIMEOUT": "60",
        "SCCACHE_C_CUSTOM_CACHE_BUSTER": salt,
        "CMAKE_C_COMPILER_LAUNCHER": program,
        "CMAKE_CXX_COMPILER_LAUNCHER": program,
        "CMAKE_CUDA_COMPILER_LAUNCHER": program,
        "PYTORCH_NVCC": f"{program} {environ['CUDA_HOME']}/bin/nvcc",
    }


def stop_words(settings: Mapping[str, str]) -> list[str]:
    """The command that ends the server; [] without sccache."""
    return [settings["CMAKE_CXX_COMPILER_LAUNCHER"], "--stop-server"] if settings else []
