"""The environment of a build: what is named here, what the rebuild sets, and nothing else, so that secrets stay out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from shim.errors import UsageError

ALLOWED: Final = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH"),
        *("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH", "PKG_CONFIG_PATH"),
        *("CUDA_HOME", "CUDA_PATH", "CUDACXX", "CUDAHOSTCXX", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN"),
        *("CMAKE_PREFIX_PATH", "CMAKE_GENERATOR", "CUDNN_PATH", "NCCL_HOME", "CUTLASS_PATH"),
    }
)
_NETWORK: Final = frozenset(
    f(name)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "ssl_cert_file", "ssl_cert_dir")
    for f in (str.lower, str.upper)
)


def build_environment(
    folder: Path,
    *,
    passed: Iterable[str] = (),
    network: bool = False,
    present: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Variables of the present environment that a build may see, with a home and temporary folder of its own.

    Args:
        folder: work folder; `home` and `tmp` are made in it.
        passed: names that the user allows (`--pass-env`).
        network: keep the user's proxies.

    Raises:
        UsageError: a name that is to be passed is not set.
    """
    present = os.environ if present is None else present
    missing = [name for name in passed if name not in present]
    if missing:
        raise UsageError(f"--pass-env: {', '.join(missing)} is not set", hint="export it first")
    names = ALLOWED | frozenset(passed) | (_NETWORK if network else frozenset())
    kept = {name: present[name] for name in sorted(names) if name in present}
    home, temporary = folder / "home", folder / "tmp"
    for path in (home, temporary):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return kept | {
        "PATH": kept.get("PATH", os.defpath),
        "LC_ALL": kept.get("LC_ALL", "C.UTF-8"),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "TERM": "dumb",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
