"""Small libraries and wheels that `shim patch` has work with: PTX of a few kernels, made without nvcc."""

from __future__ import annotations

from pathlib import Path

from tests.builders import fatbin, hostfile
from tests.builders.kernels import ptx_text
from tests.builders.wheels import make_wheel


def ptx_image(
    name: str = "kernel", *, target: str = "80", steps: int = 1, compression: int = fatbin.ZSTD
) -> fatbin.Image:
    """One PTX entry; `steps` makes it larger."""
    text = ptx_text([name], target=f"sm_{target}", steps=steps) + b"\0"
    return fatbin.Image(kind=fatbin.PTX, arch=int(target.rstrip("af")), payload=text, compression=compression)


def library(*names: str, **options: object) -> hostfile.HostFile:
    """A shared library with one container of PTX for each kernel name."""
    codes = [hostfile.Code(data=fatbin.container(ptx_image(name))) for name in names or ("kernel",)]
    return hostfile.shared(codes, **options)  # type: ignore[arg-type]


def wheel(folder: Path, *, name: str = "demo", extra: dict[str, bytes | str] | None = None) -> Path:
    """A wheel with a library of two containers, and other files."""
    folder.mkdir(parents=True, exist_ok=True)
    members: dict[str, bytes | str] = {
        "demo/__init__.py": "VALUE = 41\n",
        "demo/lib.so": library("first", "second").data,
        "demo/data.txt": "x" * 5000,
        **(extra or {}),
    }
    return make_wheel(folder, members, name=name, tag="py3-none-linux_x86_64", modes={"demo/lib.so": 0o755})
