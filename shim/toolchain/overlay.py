"""A CUDA_HOME made of links: a toolkit, completed with the headers and libraries of NVIDIA's wheels.

A toolkit that holds the compiler alone lacks `cusparse.h` and `libcublas.so`, which torch's headers and CMake's
FindCUDAToolkit want; the wheels that torch brings hold them, but in no folder that a compiler looks into, and their
libraries have no unversioned name to link with. nvcc finds its parts beside the name it is called by (`_HERE_` in
`nvcc --dryrun`, measured with 13.0.88), and its wheels put libraries in `lib`, while it looks in `lib64`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from shim.errors import ToolError
from shim.process import run
from shim.toolchain.tool import ask_version

_DEEPEST = 8
_VERSIONED = re.compile(r"(lib[\w.+-]+\.so)\.[\d.]+")
_TOP = re.compile(r"^#\$ TOP=(.+)$", re.MULTILINE)
_SECONDS = 60.0


def make_overlay(folder: Path, *, toolkit: Path, wheels: Sequence[Path] = ()) -> Path:
    """Make a CUDA_HOME in `folder` and return it (absolute). The originals are linked to and stay as they are.

    `bin/nvcc` is a copy, because CMake follows links to find a toolkit's root. What the toolkit has itself is taken
    from there; the wheels fill in what it lacks.

    Args:
        folder: made if missing, else empty.
        toolkit: CUDA_HOME, of a system or of NVIDIA's wheels (`site-packages/nvidia/cu13`).
        wheels: `site-packages` folders. Of their `nvidia` folder the parts of the toolkit's CUDA major are used.

    Raises:
        ToolError: there is no nvcc that runs, or the folder cannot be written or is not empty.
    """
    home = folder.absolute()
    root = toolkit_root(toolkit.absolute())
    major = ask_version(root / "bin" / "nvcc", name="nvcc", origin="--toolkit").version[0]
    parts = [part for site in wheels for part in wheel_parts(site.absolute(), major)]
    try:
        home.mkdir(parents=True, exist_ok=True)
        if any(home.iterdir()):
            raise ToolError(f"{home} is not empty", hint="name a new folder for the overlay")
        _merge(home / "bin", [root / "bin"])
        (home / "bin" / "nvcc").unlink()
        shutil.copy2(root / "bin" / "nvcc", home / "bin" / "nvcc")
        for name in ("nvvm", "nvvm-prev", "extras", "compute-sanitizer"):
            if (root / name).is_dir():
                (home / name).symlink_to(root / name)
        for name in ("version.json", "version.txt"):
            if (root / name).is_file():
                (home / name).symlink_to(root / name)
        _merge(home / "include", [_first(root, ("include",)), *(part / "include" for part in parts)])
        _merge(home / "lib64", [_first(root, ("lib64", "lib")), *(part / "lib" for part in parts)])
        _name_plainly(home / "lib64")
        (home / "lib").symlink_to("lib64")
    except OSError as err:
        raise ToolError(f"cannot write {err.filename or home}: {err.strerror}") from err
    return home


def toolkit_root(toolkit: Path) -> Path:
    """Return the folder a toolkit really lies in: `bin/nvcc` may be a script that starts it from elsewhere.

    Raises:
        ToolError: there is no nvcc, or it does not say where it lies.
    """
    nvcc = toolkit / "bin" / "nvcc"
    if not nvcc.is_file():
        raise ToolError(
            f"no nvcc in {toolkit / 'bin'}", hint="name a CUDA toolkit of 12.9 or newer (the folder that holds bin/)"
        )
    with nvcc.open("rb") as file:
        if file.read(4) == b"\x7fELF":
            return toolkit
    said = run([nvcc, "-v", "__shim"], timeout=_SECONDS).stderr
    found = _TOP.search(said)
    root = Path(found[1]).resolve() if found else toolkit
    if found and (root / "bin" / "nvcc").is_file():
        return root
    raise ToolError(f"{nvcc} is a script that does not say where its toolkit lies (no TOP in `nvcc -v`)")


def wheel_parts(site: Path, major: int) -> Iterable[Path]:
    """The folders with `include` or `lib` of NVIDIA's wheels under a `site-packages`, for one CUDA major.

    From CUDA 13 on they share one folder, `nvidia/cu13`; those of CUDA 12 have one each: `nvidia/cublas` ...
    """
    nvidia = site / "nvidia"
    if (nvidia / f"cu{major}").is_dir():
        return [nvidia / f"cu{major}"]
    if major > 12 or not nvidia.is_dir():
        return []
    found = sorted(path for path in nvidia.iterdir() if not re.fullmatch(r"cu\d+", path.name))
    return [path for path in found if (path / "include").is_dir() or (path / "lib").is_dir()]


def _first(root: Path, names: Iterable[str]) -> Path:
    return next((root / name for name in names if (root / name).is_dir()), root / "none")


def _merge(target: Path, sources: Iterable[Path], depth: int = 0) -> None:
    """Link every entry of the sources; of equal names the first wins, folders of equal names are merged."""
    target.mkdir()
    entries: dict[str, list[Path]] = {}
    for source in sources:
        if source.is_dir():
            for path in sorted(source.iterdir()):
                if path.name not in ("__pycache__", "__init__.py"):
                    entries.setdefault(path.name, []).append(path)
    for name, paths in entries.items():
        folders = [path for path in paths if path.is_dir()]
        if len(folders) > 1 and paths[0].is_dir() and depth < _DEEPEST:
            _merge(target / name, folders, depth + 1)
        else:
            (target / name).symlink_to(paths[0])


def _name_plainly(folder: Path) -> None:
    """Give `libcublas.so.13` the name `libcublas.so` beside its own, as `-lcublas` asks for that."""
    for path in sorted(folder.iterdir()):
        found = _VERSIONED.fullmatch(path.name)
        if found and not (folder / found[1]).exists():
            (folder / found[1]).symlink_to(path.name)
