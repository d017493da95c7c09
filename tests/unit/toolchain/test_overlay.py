"""A CUDA_HOME made of links."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from builders.fake_tools import banner, program
from builders.kernels import tool

from shim.errors import ToolError
from shim.toolchain.overlay import make_overlay, toolkit_root, wheel_parts


def fill(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{root.name}:{name}")
    return root


def toolkit(root: Path, version: str = "13.0.88", *, top: Path | None = None) -> Path:
    fill(root, "include/cuda_runtime.h", "include/crt/host.h", "include/nv/target", "lib64/libcudart.so.13")
    fill(root, "lib64/stubs/libcuda.so", "nvvm/bin/cicc", "bin/ptxas", "bin/nvcc.profile", "bin/crt/link.stub")
    text = f"#!/bin/sh\n[ \"$1\" = -v ] && {{ echo '#$ TOP={top or root}' >&2; exit 1; }}\ncat <<'E'\n"
    program(root / "bin" / "nvcc", f"{text}{banner(version, 'nvcc')}E\n")
    return root


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_wheels_fill_in_what_the_toolkit_lacks(tmp_path):
    root = toolkit(tmp_path / "toolkit")
    site = tmp_path / "site"
    fill(site / "nvidia" / "cu13", "include/cublas.h", "include/cuda_runtime.h", "include/crt/more.h")
    fill(site / "nvidia" / "cu13", "lib/libcublas.so.13", "lib/libcudart.so.13", "lib/libnvrtc.alt.so.13.0")
    fill(site / "nvidia" / "cublas", "include/of_cuda_12.h")
    before = snapshot(root), snapshot(site)
    home = make_overlay(tmp_path / "home", toolkit=root, wheels=[site])

    def text(name: str) -> str:
        return (home / name).read_text()

    assert text("include/cublas.h") == "cu13:include/cublas.h"
    assert text("include/cuda_runtime.h") == "toolkit:include/cuda_runtime.h"
    assert text("include/crt/more.h") == "cu13:include/crt/more.h"
    assert text("include/crt/host.h") == "toolkit:include/crt/host.h"
    assert text("lib64/libcublas.so") == text("lib64/libcublas.so.13") == "cu13:lib/libcublas.so.13"
    assert text("lib/libcudart.so") == "toolkit:lib64/libcudart.so.13"
    assert text("lib64/libnvrtc.alt.so") == "cu13:lib/libnvrtc.alt.so.13.0"
    assert text("lib64/stubs/libcuda.so") == "toolkit:lib64/stubs/libcuda.so"
    assert text("nvvm/bin/cicc") == "toolkit:nvvm/bin/cicc"
    assert text("bin/crt/link.stub") == "toolkit:bin/crt/link.stub"
    assert not (home / "include" / "of_cuda_12.h").exists()
    assert not (home / "bin" / "nvcc").is_symlink()
    assert os.access(home / "bin" / "nvcc", os.X_OK)
    assert (snapshot(root), snapshot(site)) == before


def test_the_wheels_of_cuda_12_have_a_folder_each(tmp_path):
    site = tmp_path / "site"
    fill(site / "nvidia", "cublas/include/cublas.h", "cusparse/lib/libcusparse.so.12", "cu13/include/no.h", "x/y")
    assert [path.name for path in wheel_parts(site, 12)] == ["cublas", "cusparse"]
    assert [path.name for path in wheel_parts(site, 13)] == ["cu13"]
    assert list(wheel_parts(tmp_path / "none", 12)) == []
    home = make_overlay(tmp_path / "home", toolkit=toolkit(tmp_path / "toolkit", "12.9.86"), wheels=[site])
    assert (home / "include" / "cublas.h").exists()
    assert (home / "lib64" / "libcusparse.so").exists()
    assert not (home / "include" / "no.h").exists()


def test_a_toolkit_of_wheels_keeps_its_libraries_in_lib(tmp_path):
    root = toolkit(tmp_path / "toolkit")
    (root / "lib64").rename(root / "lib")
    home = make_overlay(tmp_path / "home", toolkit=root)
    assert (home / "lib64" / "libcudart.so").exists()


def test_a_script_is_asked_where_its_toolkit_lies(tmp_path):
    real = toolkit(tmp_path / "real")
    front = tmp_path / "usr"
    program(front / "bin" / "nvcc", f'#!/bin/sh\nexec {real}/bin/nvcc "$@"\n')
    assert toolkit_root(front) == real
    silent = tmp_path / "silent"
    program(silent / "bin" / "nvcc", "#!/bin/sh\n")
    with pytest.raises(ToolError, match="no TOP"):
        toolkit_root(silent)


def test_refusals(tmp_path):
    with pytest.raises(ToolError, match="no nvcc in"):
        make_overlay(tmp_path / "home", toolkit=tmp_path / "none")
    root = toolkit(tmp_path / "toolkit")
    used = tmp_path / "used"
    fill(used, "file")
    with pytest.raises(ToolError, match="not empty"):
        make_overlay(used, toolkit=root)
    with pytest.raises(ToolError, match="cannot write"):
        make_overlay(used / "file" / "x", toolkit=root)


def test_this_machines_nvcc_compiles_and_links_from_it(tmp_path):
    home = make_overlay(tmp_path / "home", toolkit=tool("nvcc").path.parent.parent)
    (tmp_path / "k.cu").write_text("#include <cuda_fp16.h>\n__global__ void k() {}\nint main() { k<<<1, 1>>>(); }\n")
    words = [home / "bin" / "nvcc", "k.cu", "-o", "k", "-arch=sm_121", "--dryrun"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert f"_HERE_={home}/bin" in said
    subprocess.run(words[:-1], cwd=tmp_path, check=True)
    assert (tmp_path / "k").stat().st_size > 10_000
