"""Small packages with a build backend of their own in the tree, so that nothing has to be fetched to build them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

BACKEND = '''"""Compiles one .cu file with the flags of setup.py, and zips it up as a wheel."""
import base64, hashlib, os, pathlib, subprocess, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    here = pathlib.Path.cwd()
    flags = (here / "setup.py").read_text().split("FLAGS = ")[1].splitlines()[0]
    out = here / "unit.so"
    nvcc = os.environ["CUDA_HOME"] + "/bin/nvcc"
    subprocess.run([nvcc, "-c", "-Xcompiler", "-fPIC", *eval(flags), "-o", "unit.o", "unit.cu"], check=True)
    subprocess.run([nvcc, "-shared", *eval(flags), "-o", str(out), "unit.o"], check=True)
    name = "tiny_cuda-1.0-py3-none-linux_x86_64.whl"
    info = "tiny_cuda-1.0.dist-info/"
    members = {"tiny_cuda/unit.so": out.read_bytes(),
        info + "METADATA": b"Metadata-Version: 2.1\\nName: tiny-cuda\\nVersion: 1.0\\n",
        info + "WHEEL": b"Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: false\\nTag: py3-none-linux_x86_64\\n"}
    rows = []
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}")
    members[info + "RECORD"] = ("\\n".join([*rows, info + "RECORD,,"]) + "\\n").encode()
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return name
'''

PYPROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny-cuda"
version = "1.0"
"""

KERNEL = "__global__ void twice(float *x) { x[threadIdx.x] *= 2; }\nvoid go(float *x) { twice<<<1, 32>>>(x); }\n"

TINY: Mapping[str, str] = {
    "pyproject.toml": PYPROJECT,
    "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-cuda\nVersion: 1.0\n",
    "backend.py": BACKEND,
    "setup.py": 'FLAGS = ["-gencode", "arch=compute_53,code=sm_53", "-gencode", "arch=compute_80,code=sm_80"]\n',
    "unit.cu": KERNEL,
}


def folder(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def sdist(path: Path, files: Mapping[str, str], *, top: str = "tiny_cuda-1.0") -> Path:
    """A .tar.gz; names are taken as they are when `top` is ""."""
    with (
        path.open("wb") as out,
        gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}" if top else name)
            data = text.encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def with_backend(body: str) -> dict[str, str]:
    """The tiny package with another `build_wheel`; `body` is its text, indented by four."""
    return {**TINY, "backend.py": f"import os, sys\ndef build_wheel(folder, c=None, m=None):\n{body}\n"}
