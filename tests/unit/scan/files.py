"""Real files for tests: shared libraries with GPU code, and wheels around them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.builders.cubin import Symbol, cubin
from tests.builders.fatbin import CUBIN, PTX, ZSTD, Image, compat, container, ptx
from tests.builders.hostfile import Code, shared

TAGS = "cp312-cp312-manylinux_2_28_aarch64"
FASTPATH = compat((0x0B, (0x50).to_bytes(8, "little")))


def sass(arch: str, kernels: Mapping[str, int] | None = None) -> Image:
    """Machine code with kernels of so many bytes: sass("120f", {"add": 256})."""
    number, feature = (int(arch[:-1]), arch[-1]) if arch[-1] in "af" else (int(arch), "")
    symbols = tuple(Symbol(name=name, size=size) for name, size in (kernels or {"kernel": 256}).items())
    payload = cubin(number, abi=8 if number >= 100 else 7, symbols=symbols)
    return Image(kind=CUBIN, arch=number, feature=feature, payload=payload, compat=FASTPATH if number >= 100 else b"")


def text(arch: str, kernels: tuple[str, ...] = ("kernel",), *, isa: str = "9.0", body: str = "add; ret;") -> Image:
    """PTX, compressed as nvcc does it."""
    major, minor = isa.split(".")
    payload = ptx(arch, version=isa, kernels=kernels, body=body)
    return Image(kind=PTX, arch=int(arch), payload=payload, compression=ZSTD, version=(int(major), int(minor)))


def library(*containers: tuple[Image, ...], machine: str = "aarch64", needed: tuple[str, ...] = ()) -> bytes:
    """A shared library with these containers, each with its wrapper; one without any is plain host code."""
    codes = [Code(data=container(*images)) for images in containers]
    return shared(codes, machine=machine, needed=needed).data


def wheel(
    folder: Path,
    members: Mapping[str, bytes | str],
    *,
    name: str = "demo",
    version: str = "1.0",
    tags: str = TAGS,
    requires: tuple[str, ...] = (),
    record: bytes | None = None,
) -> Path:
    """A wheel with METADATA, WHEEL and a right RECORD (or the given one)."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = {path: data.encode() if isinstance(data, str) else data for path, data in members.items()}
    files[f"{info}/METADATA"] = "\n".join([*metadata, ""]).encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tags}\n".encode()
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode() if record is None else record
    path = folder / f"{name}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return path


def install(prefix: Path, path: Path) -> Path:
    """Unpack a wheel into a prefix the way installers do; returns site-packages."""
    site = prefix / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(site)
    return site


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
