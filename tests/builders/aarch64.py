"""An aarch64 Python with shim in it, run by qemu-user: what of shim is pure must give the same bytes there.

CPython, the C library and their headers are Debian's arm64 packages, unpacked into a folder (`dpkg -x`; an apt state of
its own, the system stays as it is). The libraries of other people are their aarch64 wheels of the versions that run
here. `_core` is compiled for aarch64 by the `ziglang` wheel. All is kept under SHIM_TEST_CACHE, or in pytest's cache.

Needs qemu-user-static, apt-get and dpkg; `missing()` names what a machine lacks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = "3.11"  # of Debian 12, whose packages are taken
_MIRROR = "http://deb.debian.org/debian"
_SUITE = "bookworm"
_PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libpython3.11-dev"),
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "liblzma5", "libbz2-1.0"),
)
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
# Run-time requirements, and those of theirs that are imported; pybind11 for its headers.
_LIBRARIES = (
    *("packaging", "click", "rich", "markdown-it-py", "mdurl", "pygments"),
    *("libcst", "pyyaml", "isal", "zstandard", "lz4"),
)


def missing() -> str:
    """Which programs this machine lacks, in words; "" when nothing does."""
    lacking = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if qemu() is None:
        lacking.append("qemu-aarch64-static (Debian package qemu-user-static)")
    return ", ".join(lacking)


def qemu() -> str | None:
    """The emulator of one program at a time."""
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


def command(*words: str | Path) -> list[str]:
    """A command line that runs an aarch64 program of the unpacked Debian."""
    emulator = qemu()
    assert emulator is not None, missing()
    return [emulator, "-L", str(debian()), *map(str, words)]


def python() -> list[str]:
    """The command line of the aarch64 Python, with shim and what it needs on its path (`environment`)."""
    return command(debian() / "usr/bin/python3.11")


def environment() -> dict[str, str]:
    """Variables for `python()`."""
    return {**os.environ, "PYTHONPATH": f"{shim()}:{libraries()}", "PYTHONDONTWRITEBYTECODE": "1"}


def _folder() -> Path:
    if chosen := os.environ.get("SHIM_TEST_CACHE"):
        return Path(chosen).absolute() / "aarch64"
    return ROOT / ".pytest_cache" / "shim-aarch64"


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder made once: `make` fills an empty one, which is then renamed."""
    place = _folder() / name
    if not place.exists():
        _folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_folder()) as work:
            new = Path(work) / "new"
            new.mkdir()
            make(new)
            if not place.exists():
                new.rename(place)
    return place


def _run(words: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")


@cache
def debian() -> Path:
    """Debian's arm64 Python, unpacked."""
    return _kept(f"debian-{_SUITE}", _unpack_debian)


def _unpack_debian(place: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        for part in ("lists/partial", "archives/partial", "debs"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        signed = f"[signed-by={keyring}] " if keyring.exists() else ""
        (state / "sources.list").write_text(f"deb {signed}{_MIRROR} {_SUITE} main\n")
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "root",
            "Dir::State": name,
            "Dir::State::lists": f"{name}/lists",
            "Dir::State::status": f"{name}/status",
            "Dir::Cache": name,
            "Dir::Cache::archives": f"{name}/archives",
            "Dir::Etc::sourcelist": f"{name}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        _run(["apt-get", *options, "update"], state)
        _run(["apt-get", *options, "download", *_PACKAGES], state / "debs")
        for package in sorted((state / "debs").glob("*.deb")):
            _run(["dpkg", "-x", package, place], state)


@cache
def libraries() -> Path:
    """Run-time requirements of shim for aarch64, unpacked, in the versions that run here."""
    wanted = [f"{name}=={metadata.version(name)}" for name in _LIBRARIES if _installed(name)]
    mark = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]

    def make(place: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            platforms = [word for tag in _PLATFORMS for word in ("--platform", tag)]
            options = ["--quiet", "--only-binary=:all:", "--no-deps", *platforms, "--python-version", VERSION]
            _run([sys.executable, "-m", "pip", "download", *options, "--dest", name, *wanted], place)
            for wheel in Path(name).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(place)

    return _kept(f"libraries-{mark}", make)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _headers() -> Path:
    """pybind11's headers."""

    def make(place: Path) -> None:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--target", place]
        _run([sys.executable, "-m", "pip", "install", *options, "pybind11>=3.0"], place)

    return _kept("pybind11", make) / "pybind11" / "include"


@cache
def shim() -> Path:
    """A folder with the package `shim`, its `_core` compiled for aarch64."""
    sources = sorted((*(ROOT / "cpp/core").glob("*.[ch]pp"), *(ROOT / "cpp/bindings").glob("*.[ch]pp")))
    texts = sorted(path for top in ("shim", "patches") for path in (ROOT / top).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in (*sources, *(path for path in texts if path.suffix not in (".so", ".pyc"))):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    core_digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    core = _kept(f"core-{core_digest}", _compile_core)

    def make(place: Path) -> None:
        ignore = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / "shim", place / "shim", ignore=ignore)
        shutil.copytree(ROOT / "patches", place / "patches", ignore=ignore)
        shutil.copy(core / "_core.so", place / "shim" / "_core.abi3.so")

    return _kept(f"shim-{digest.hexdigest()[:12]}", make)


def _compile_core(place: Path) -> None:
    target = ["-target", "aarch64-linux-gnu.2.28", "-std=c++20", "-O2", "-g0", "-fPIC", "-fvisibility=hidden"]
    include = debian() / "usr/include"
    paths = [ROOT / "cpp/core", _headers(), include / "python3.11", include, include / "aarch64-linux-gnu"]
    # The system's own headers only where zig has none (pyconfig.h), and last.
    flags = [*(f"-I{path}" for path in paths[:3]), *(f"-idirafter{path}" for path in paths[3:])]
    bindings = [ROOT / "cpp/bindings/core.cpp", ROOT / "cpp/bindings/rewrite.cpp"]
    objects = []
    for source in (*sorted((ROOT / "cpp/core").glob("*.cpp")), *bindings):
        objects.append(place / f"{source.parent.name}-{source.stem}.o")
        _run([sys.executable, "-m", "ziglang", "c++", *target, *flags, "-c", source, "-o", objects[-1]], place)
    _run([sys.executable, "-m", "ziglang", "c++", *target, "-shared", *objects, "-o", place / "_core.so"], place)
    for path in objects:
        path.unlink()
