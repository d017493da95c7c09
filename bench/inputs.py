"""The wheels that are measured on: exact files from the package index, kept in a folder outside the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from measure import BenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One file of the index."""

    file: str
    sha256: str

    @property
    def requirement(self) -> str:
        """name==version"""
        name, version = self.file.split("-")[:2]
        return f"{name}=={version}"

    @property
    def label(self) -> str:
        """Name, version and machine, for the table."""
        return f"{self.requirement.replace('==', ' ')} {'aarch64' if 'aarch64' in self.file else 'x86_64'}"


CUFFT = Wheel(
    file="nvidia_cufft-12.3.0.29-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256="edb25c0626bd202ee5acc035b5dd361a3b89ed3b75a81a52df72c89150cb57c2",
)
VLLM = Wheel(
    file="vllm-0.33.0-cp38-abi3-manylinux_2_28_aarch64.whl",
    sha256="e9e404f52c8494b69bd83fe99fe7ecfa9f6b89fbd156d2a9639c24ea41d6d606",
)
TORCH = Wheel(
    file="torch-2.9.1-cp312-cp312-manylinux_2_28_x86_64.whl",
    sha256="27331cd902fb4322252657f3902adf1c4f6acad9dcad81d8df3ae14c7c4f07c4",
)
SGL = Wheel(
    file="sgl_kernel-0.3.21-cp310-abi3-manylinux2014_aarch64.whl",
    sha256="bafdcc26e9ce1e9102b99e4186d652fefbafe5c22ea2cbb5ffe07b331e83be1f",
)
CTRANSLATE2 = Wheel(
    file="ctranslate2-4.8.5-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256="86876e8b579ef61e4d1402002f7728fca40967fe79ac2ef71a65d1b8dc5a18ee",
)

TRANSFORMER_ENGINE = Wheel(
    file="transformer_engine_cu12-2.20.2-py3-none-manylinux_2_28_x86_64.whl",
    sha256="7e745539686166790cb9fe2133e7c187edf6fe8627c7f7d46597888299c3f4cf",
)

CUFFT_LIBRARY = "nvidia/cu13/lib/libcufft.so.12"
FA2_LIBRARY = "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so"
TRANSFORMER_ENGINE_LIBRARY = "transformer_engine/wheel_lib/libtransformer_engine.so"
CTRANSLATE2_LIBRARY = "ctranslate2.libs/libctranslate2-a7a60d30.so.4.8.5"


def cache() -> Path:
    """The folder for wheels and what is unpacked of them: SHIM_BENCH_CACHE, else one in the user's cache folder."""
    named = os.environ.get("SHIM_BENCH_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else base / "sm121-shim-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def fetch(wheel: Wheel) -> Path:
    """The wheel on disk, downloaded by pip when it is not there. Raises BenchError."""
    path = cache() / wheel.file
    if path.exists():
        return path
    python, abi, platforms = wheel.file.removesuffix(".whl").split("-")[-3:]
    version = None if abi == "abi3" else re.fullmatch(r"cp3(\d+)", python)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        argv += ["--python-version", f"3.{version[1]}" if version else "3.12", "--dest", folder]
        argv += [f"--platform={platform}" for platform in platforms.split(".")]
        done = subprocess.run([*argv, "-r", wanted], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"pip could not fetch {wheel.requirement}: {done.stderr.strip()[-300:]}")
        (Path(folder) / wheel.file).replace(path)
    return path


def unpacked(wheel: Wheel, member: str) -> Path:
    """One member of a wheel as a file."""
    dest = cache() / "unpacked" / wheel.sha256[:12] / Path(member).name
    if not dest.exists():
        dest.parent.mkdir(parents=True, exist_ok=True)
        partial = dest.with_name(dest.name + ".partial")
        with zipfile.ZipFile(fetch(wheel)) as archive, archive.open(member) as source, partial.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        partial.replace(dest)
    return dest
