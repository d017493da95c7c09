"""Published wheels, fetched with pip's own configuration: what people install, judged, patched and imported."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from oracles.cuobjdump import count_images
from oracles.live import live_containers
from oracles.nvjitlink import Choice, choose, judge
from oracles.reference_reader import read_container
from oracles.selector import Outcome, select
from oracles.symbols import container_symbols
from oracles.wrapper_walk import walk

from shim.applying.mapping import by_loading, by_names
from shim.devicecode import read_path

pytestmark = pytest.mark.real

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Downloads and compiled code, kept for the session (or in SHIM_TEST_CACHE from run to run)."""
    kept = os.environ.get("SHIM_TEST_CACHE")
    return Path(kept) / "real" if kept else tmp_path_factory.mktemp("cache")


def shim(cache: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "shim", *map(str, arguments), "--format", "json"],
        capture_output=True,
        text=True,
        env={**os.environ, "SHIM_CACHE_DIR": str(cache)},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def verdict(cache: Path, *arguments: object) -> tuple[str, dict[str, Any]]:
    report = shim(cache, "scan", *arguments)["reports"][0]
    return report["verdict"]["grade"], report


def unpack(wheel: str, pattern: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if pattern in name)
        return Path(archive.extract(name, folder))


def _without_first(container: bytes) -> bytes:
    """The container as it was: the new image stands first."""
    (header,) = struct.unpack_from("<I", container, 16 + 4)
    (payload,) = struct.unpack_from("<Q", container, 16 + 8)
    rest = container[16 + header + payload :]
    return container[:8] + struct.pack("<Q", len(rest)) + rest


def pip_install(wheel: str, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)


def test_ctranslate2_is_patched_loaded_and_imported(cache: Path, tmp_path: Path) -> None:
    result = shim(
        cache, "patch", "ctranslate2==4.8.5", "--platform", "x86_64", "--python", HERE, "--load", "-o", tmp_path
    )
    (library,) = result["libraries"]
    assert (library["before"], library["after"], library["images"], library["kernels"]) == ("jit", "native", 34, 540)
    assert library["load"] == "loads"

    # NVIDIA's own selector on the containers a process really has after dlopen.
    path = unpack(result["path"], "libctranslate2-", tmp_path / "lib")
    code = read_path(path)
    live = {wrapper.target for wrapper in code.wrappers}
    data = path.read_bytes()
    after = [data[c.offset : c.offset + c.size] for c in code.containers if c.offset in live]
    assert len(after) == 34
    assert {choose(container, "121a") for container in after} == {Choice.SASS}
    assert library["layout"]["name"] == "move"
    assert len(code.containers) == 34, "the old ones are gone"
    assert {choose(_without_first(container), "121a") for container in after[:3]} == {Choice.JIT}
    assert count_images(path)[("ELF", "121")] == 34

    site = tmp_path / "site"
    pip_install(result["path"], site)
    probe = (
        "import ctranslate2; print(ctranslate2.__version__, *sorted(ctranslate2.get_supported_compute_types('cpu')))\n"
        "try: ctranslate2.Translator('/nonexistent')\n"
        "except RuntimeError: print('C++ exception caught')"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    if "No module named 'numpy'" in done.stderr or "No module named 'yaml'" in done.stderr:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "numpy", "pyyaml"],
            check=True,
            capture_output=True,
        )
        done = subprocess.run(
            [sys.executable, "-c", probe], env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4.8.5 float32 int16 int8 int8_float32")
    assert "C++ exception caught" in done.stdout


def test_wrappers_of_ctranslate2_in_memory(cache: Path, tmp_path: Path) -> None:
    """What a process hands to the CUDA runtime: relocated pointers to containers with an sm_121 image first."""
    result = shim(cache, "patch", "ctranslate2==4.8.5", "--platform", "x86_64", "--python", HERE, "-o", tmp_path)
    with zipfile.ZipFile(result["path"]) as archive:
        archive.extractall(tmp_path / "all", [n for n in archive.namelist() if ".so" in n])
    path = next((tmp_path / "all").rglob("libctranslate2-*"))
    images = tmp_path / "images"
    images.mkdir()
    loaded = walk(path, images=images)
    live = live_containers(path)
    assert len(live) == 34
    # nvcc's version-2 wrapper is in every library; nothing registers it here.
    found = [wrapper.sha256 for wrapper in loaded.wrappers if wrapper.version == 1]
    assert found == [hashlib.sha256(container.data).hexdigest() for container in live]
    for name in found:
        container = (images / f"{name}.fatbin").read_bytes()
        assert judge(container) is Choice.SASS
        # What was there before, put together from the old entries: the same selector would have it compiled.
        new, *old = read_container(container)
        assert (new.kind, new.arch) == ("cubin", "121")
        before = b"".join(entry.raw for entry in old)
        whole = container[:8] + len(before).to_bytes(8, "little") + before
        words = {select(whole, 121).outcome, select(container, 121).outcome}
        assert words == {Outcome.PTX, Outcome.CUBIN}
        # Code for 8.6, the architecture of the PTX, has the same kernels; older code lacks some.
        assert container_symbols(container, "121").kernels == container_symbols(container, "86").kernels


def test_bitsandbytes_for_aarch64_on_any_host(cache: Path, tmp_path: Path) -> None:
    grade, report = verdict(cache, "bitsandbytes==0.50.2", "--platform", "aarch64", "--python", "3.12")
    assert grade == "native"
    assert len(report["libraries"]) == 7
    result = shim(cache, "patch", "bitsandbytes==0.50.2", "--platform", "aarch64", "--python", "3.12", "-o", tmp_path)
    assert result["outcome"] == "patched"
    assert [(lib["after"], lib["images"], lib["kernels"]) for lib in result["libraries"]] == [("native", 1, 202)] * 5
    assert Path(result["path"]).name == "bitsandbytes-0.50.2-1sm121-py3-none-manylinux_2_24_aarch64.whl"
    again = shim(
        cache, "patch", "bitsandbytes==0.50.2", "--platform", "aarch64", "--python", "3.12", "-o", tmp_path / "b"
    )
    assert again["work"]["compiled"] == 0
    assert Path(again["path"]).read_bytes() == Path(result["path"]).read_bytes()


def test_xformers_is_patched_and_imported(cache: Path, tmp_path: Path) -> None:
    result = shim(cache, "patch", "xformers==0.0.35", "--platform", "x86_64", "--python", "3.12", "-o", tmp_path)
    (library,) = result["libraries"]
    assert (library["before"], library["after"], library["images"], library["kernels"]) == ("jit", "native", 8, 50)
    path = unpack(result["path"], "_C.so", tmp_path / "lib")
    assert count_images(path)[("ELF", "121")] == 8


def test_cupy_needs_nothing_and_says_so(cache: Path, tmp_path: Path) -> None:
    grade, _ = verdict(cache, "cupy-cuda13x==14.2.0", "--platform", "aarch64", "--python", "3.12")
    assert grade == "family"
    result = shim(cache, "patch", "cupy-cuda13x==14.2.0", "--platform", "aarch64", "--python", "3.12", "-o", tmp_path)
    assert result["outcome"] == "nothing-to-do"
    assert list(tmp_path.glob("*.whl")) == []


def test_ctranslate2_for_aarch64_has_no_gpu_code(cache: Path) -> None:
    grade, _ = verdict(cache, "ctranslate2==4.8.5", "--platform", "aarch64", "--python", "3.12")
    assert grade == "cpu-only"


@pytest.mark.slow
def test_torch_291_is_unproven(cache: Path) -> None:
    grade, report = verdict(cache, "torch==2.9.1", "--platform", "x86_64", "--python", "3.12")
    assert grade == "same-major-unproven"
    assert sum(lib["fits"].get("same-major-unproven", 0) for lib in report["libraries"]) > 400


@pytest.mark.slow
def test_vllm_flash_attention_is_patched_in_part(cache: Path, tmp_path: Path) -> None:
    where = ("--platform", "aarch64", "--python", "3.12")
    grade, _ = verdict(cache, "vllm==0.33.0", *where)
    assert grade == "jit"
    only = "flash_fwd_sparse_kernel.*Li128E.*half_t"
    result = shim(cache, "patch", "vllm==0.33.0", *where, "--only", only, "-o", tmp_path)
    (library,) = result["libraries"]
    assert (library["images"], library["after"]) == (2, "jit")


@pytest.mark.slow
def test_all_of_vllm_flash_attention_is_planned_in_bounded_memory(cache: Path, tmp_path: Path) -> None:
    """682 MB of PTX are hashed; two containers are in the cache, and there is no time for the other 74."""
    fetched = ("vllm==0.33.0", "--platform", "aarch64", "--python", "3.12")
    shim(cache, "patch", *fetched, "--only", "flash_fwd_sparse_kernel.*Li128E.*half_t", "-o", tmp_path / "two")
    argv = [sys.executable, "-m", "shim", "patch", *fetched, "--only", "Flash_fwd_kernel_traits", "--budget", "1e-9"]
    environment = {**os.environ, "SHIM_CACHE_DIR": str(cache)}
    with (tmp_path / "out.json").open("wb") as out:
        process = subprocess.Popen([*argv, "--format", "json", "-o", tmp_path / "all"], stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    result = json.loads((tmp_path / "out.json").read_bytes())
    work = result["work"]
    assert (work["compiled"], work["cached"], work["left_out"]) == (0, 2, 74)
    assert {refusal["code"] for refusal in result["refusals"]} == {"left-out-by-budget"}
    assert usage.ru_maxrss * 1024 < 300e6


def test_names_tell_the_links_of_nccl_as_its_start_up_code_does(tmp_path: Path) -> None:
    """The one library found with two device links, 128 modules and 1. It is NVIDIA's: read, never changed."""
    options = ["--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_27_x86_64", "--dest", tmp_path]
    wanted = "nvidia-nccl-cu13==2.32.3"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *map(str, options), wanted], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    path = unpack(str(wheel), "libnccl.so", tmp_path / "lib")
    code = read_path(path)
    named = by_names(code, path)
    assert sorted(len(modules) for modules in named.modules.values()) == [1, 128]
    if platform.machine() == "x86_64":
        assert by_loading(code, path).modules == named.modules
